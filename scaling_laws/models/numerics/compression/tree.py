"""Tree compression of the event history of chosen points (Barnes and Hut 1986).

A smooth schedule makes thousands of small changes. At a distance, a range of them equals a Gauss
quadrature of the discrete measure they form, and the larger the distance, the longer the range may
be: ten to a hundred weighted events then replace all steps before a point. The nodes depend on the
schedule only, never on a law's parameters.

Ranges come from repeated halving of the run. A range is compressed as a whole if it is at least its
own length away, in steps and in summed LR, from the point and, in summed LR, from the start of the
run, and if the LR is nearly a parabola over it; otherwise its halves are tried, down to single
steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scaling_laws.models.numerics.compression.discrete_gauss import discrete_gauss

__all__ = ["CompressedHistory", "compress_history"]

Array = NDArray[np.float64]
Index = NDArray[np.int64]
CURVATURE = 0.01  # largest distance of the LR from a parabola, as a share of its highest


class CompressedHistory(NamedTuple):
    """Events before each of P points, one point after the other.

    Attributes:
        point: which point an event belongs to, increasing: (events,).
        position: step of the event, fractional where it represents several: (events,).
        weight: its size: (events,).
    """

    point: Index
    position: Array
    weight: Array


def _ranges(starts: Index, stops: Index) -> tuple[Index, Index]:
    """All integers of many ranges, and the index of the range of each."""
    sizes = stops - starts
    owner = np.repeat(np.arange(len(starts)), sizes)
    before = np.cumsum(sizes) - sizes
    return np.arange(int(sizes.sum())) - before[owner] + starts[owner], owner


def _smooth(lr: Array, size: int, barred: Array) -> NDArray[np.bool_]:
    """Whether the LR is near a parabola and within a factor of two over each range of a size."""
    ranges = -(-len(lr) // size)
    rows = np.pad(lr, (0, ranges * size - len(lr)), mode="edge").reshape(ranges, size)
    share = np.linspace(0.0, 1.0, size)
    first, last, middle = rows[:, 0], rows[:, -1], rows[:, size // 2]
    at = share[size // 2]
    curvature = (
        (middle - first - at * (last - first)) / max(at * (at - 1.0), -1.0) if size > 2 else 0.0
    )
    line = first[:, None] + share * (last - first)[:, None]
    parabola = line + np.reshape(curvature, (-1, 1)) * (share * (share - 1.0))
    highest = rows.max(axis=1)
    near = np.abs(rows - parabola).max(axis=1) <= CURVATURE * highest
    edges = np.minimum(np.arange(ranges + 1) * size, len(lr))
    return np.asarray(
        near & (highest <= 2.0 * rows.min(axis=1)) & (barred[edges[1:]] == barred[edges[:-1]])
    )


def _nodes(position: Array, weight: Array, group: Index, nodes: int) -> tuple[Array, Array, Index]:
    """Gauss nodes of groups of events; groups of few are kept. Sorted by group."""
    # events of either sign apart: a quadrature needs a positive measure
    label = 2 * group + (weight > 0)
    order = np.lexsort((position, label))
    position, weight, label = position[order], weight[order], label[order]
    _, inverse, counts = np.unique(label, return_inverse=True, return_counts=True)
    many = (counts > nodes)[inverse]
    parts = [(position[~many], weight[~many], label[~many])]
    if many.any():
        chosen = label[many]
        starts = np.flatnonzero(np.append(True, np.diff(chosen) > 0)).astype(np.int64)
        where, mass = discrete_gauss(position[many], np.abs(weight[many]), starts, nodes)
        sign = np.sign(weight[many][starts])
        parts.append(
            (where.ravel(), (mass * sign[:, None]).ravel(), np.repeat(chosen[starts], nodes))
        )
    where, mass, label = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(label, kind="stable")
    return where[order], mass[order], label[order] // 2


def compress_history(
    per_step: Array, lr: Array, points: Index, *, nodes: int, cuts: Sequence[int] = ()
) -> CompressedHistory:
    """The events before each point, compressed.

    Args:
        per_step: weight of the event at every step, such as the change of LR: (steps,).
        lr: learning rate of every step: (steps,).
        points: increasing steps at which a sum over the events so far is wanted.
        nodes: nodes that represent the events of one sign in a range.
        cuts: steps that no range crosses.
    """
    steps = int(points[-1]) + 1
    lr, per_step = lr[:steps], per_step[:steps]
    clock = np.cumsum(lr)
    atoms = np.flatnonzero(per_step)
    events_before = np.searchsorted(atoms, np.arange(steps + 1))
    barred = np.zeros(steps + 1)
    barred[[cut for cut in cuts if 0 < cut < steps]] = 1.0
    barred = np.cumsum(barred)
    level = max(0, (steps - 1).bit_length())
    point, segment = np.arange(len(points)), np.zeros(len(points), dtype=np.int64)
    parts: list[tuple[Index, Array, Array]] = []
    while point.size:
        size = 1 << level
        start = segment * size
        stop = np.minimum(start + size, steps)
        count = events_before[stop] - events_before[start]
        at = points[point]
        few = (count <= nodes) | (level == 0)
        away = (at - (stop - 1) >= size) & (
            clock[at] - clock[stop - 1] >= clock[stop - 1] - clock[start]
        )
        # a decay from the start of the run, as a power of the clock, is most curved there
        away &= clock[start] >= clock[stop - 1] - clock[start]
        taken = away & ~few
        if taken.any():
            taken &= _smooth(lr, size, barred)[segment]
        if few.any():
            index, owner = _ranges(events_before[start[few]], events_before[stop[few]])
            owner = point[few][owner]
            past = atoms[index] <= points[owner]
            step = atoms[index[past]]
            parts.append((owner[past], step.astype(np.float64), per_step[step]))
        if taken.any():
            cells, cell = np.unique(segment[taken], return_inverse=True)
            index, owner = _ranges(
                events_before[cells * size], events_before[np.minimum((cells + 1) * size, steps)]
            )
            step = atoms[index]
            where, mass, group = _nodes(step.astype(np.float64), per_step[step], owner, nodes)
            ends = np.searchsorted(group, np.arange(len(cells) + 1))
            index, owner = _ranges(ends[cell], ends[cell + 1])
            parts.append((point[taken][owner], where[index], mass[index]))
        split = ~few & ~taken
        point = np.repeat(point[split], 2)
        segment = (2 * segment[split][:, None] + np.array([0, 1])).ravel()
        level -= 1
        inside = (segment << max(level, 0)) <= points[point]
        point, segment = point[inside], segment[inside]
    if not parts:
        return CompressedHistory(np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0))
    owner, position, weight = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((position, owner))
    return CompressedHistory(owner[order], position[order], weight[order])
