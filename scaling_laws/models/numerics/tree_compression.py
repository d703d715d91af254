"""The past of chosen points, each seen from its own distance.

A smooth schedule makes thousands of small changes. From far away a stretch of them equals a Gauss
quadrature of the discrete measure they form, and the farther away, the longer the stretch may be:
a point then sees some ten to a hundred weighted events in place of all steps before it. The nodes
depend on the schedule only, never on a law's parameters.

Stretches come from halving the run again and again (a tree code, Barnes and Hut 1986). One is
taken whole when it is at least its own length away, in steps and in summed LR, from the point and,
in summed LR, from the start of the run, and the LR bends little over it; else its halves are tried,
down to single steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scaling_laws.models.numerics.discrete_gauss import discrete_gauss

__all__ = ["Pasts", "pasts_of"]

Array = NDArray[np.float64]
Index = NDArray[np.int64]
BEND = 0.01  # how far the LR may be from a parabola over a stretch, as a share of its highest


class Pasts(NamedTuple):
    """Events before each of P points, one point after the other.

    Attributes:
        point: which point an event belongs to, increasing: (events,).
        position: step of the event, fractional where it stands for several: (events,).
        weight: its size: (events,).
    """

    point: Index
    position: Array
    weight: Array


def _ranges(starts: Index, stops: Index) -> tuple[Index, Index]:
    """All whole numbers of many ranges, and which range each belongs to."""
    sizes = stops - starts
    owner = np.repeat(np.arange(len(starts)), sizes)
    before = np.cumsum(sizes) - sizes
    return np.arange(int(sizes.sum())) - before[owner] + starts[owner], owner


def _smooth(lr: Array, size: int, barred: Array) -> NDArray[np.bool_]:
    """Whether the LR is near a parabola, within a factor of two, over each stretch of a size."""
    stretches = -(-len(lr) // size)
    rows = np.pad(lr, (0, stretches * size - len(lr)), mode="edge").reshape(stretches, size)
    share = np.linspace(0.0, 1.0, size)
    first, last, middle = rows[:, 0], rows[:, -1], rows[:, size // 2]
    at = share[size // 2]
    bend = (middle - first - at * (last - first)) / max(at * (at - 1.0), -1.0) if size > 2 else 0.0
    line = first[:, None] + share * (last - first)[:, None]
    parabola = line + np.reshape(bend, (-1, 1)) * (share * (share - 1.0))
    highest = rows.max(axis=1)
    near = np.abs(rows - parabola).max(axis=1) <= BEND * highest
    edges = np.minimum(np.arange(stretches + 1) * size, len(lr))
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


def pasts_of(
    per_step: Array, lr: Array, points: Index, *, nodes: int, cuts: Sequence[int] = ()
) -> Pasts:
    """What each point sees of the events so far.

    Args:
        per_step: weight of the event at every step, such as the change of LR: (steps,).
        lr: learning rate of every step: (steps,).
        points: increasing steps at which a sum over the events so far is wanted.
        nodes: nodes that stand for the events of one sign in a stretch.
        cuts: steps that no stretch reaches across.
    """
    steps = int(points[-1]) + 1
    lr, per_step = lr[:steps], per_step[:steps]
    clock = np.cumsum(lr)
    atoms = np.flatnonzero(per_step)
    seen = np.searchsorted(atoms, np.arange(steps + 1))  # events before each step
    barred = np.zeros(steps + 1)
    barred[[cut for cut in cuts if 0 < cut < steps]] = 1.0
    barred = np.cumsum(barred)
    level = max(0, (steps - 1).bit_length())
    point, stretch = np.arange(len(points)), np.zeros(len(points), dtype=np.int64)
    found: list[tuple[Index, Array, Array]] = []
    while point.size:
        size = 1 << level
        start = stretch * size
        stop = np.minimum(start + size, steps)
        count = seen[stop] - seen[start]
        at = points[point]
        few = (count <= nodes) | (level == 0)
        away = (at - (stop - 1) >= size) & (
            clock[at] - clock[stop - 1] >= clock[stop - 1] - clock[start]
        )
        # what fades from the start of the run on, as a power of the clock, bends most there
        away &= clock[start] >= clock[stop - 1] - clock[start]
        taken = away & ~few
        if taken.any():
            taken &= _smooth(lr, size, barred)[stretch]
        if few.any():
            index, owner = _ranges(seen[start[few]], seen[stop[few]])
            owner = point[few][owner]
            past = atoms[index] <= points[owner]
            step = atoms[index[past]]
            found.append((owner[past], step.astype(np.float64), per_step[step]))
        if taken.any():
            cells, cell = np.unique(stretch[taken], return_inverse=True)
            index, owner = _ranges(seen[cells * size], seen[np.minimum((cells + 1) * size, steps)])
            step = atoms[index]
            where, mass, group = _nodes(step.astype(np.float64), per_step[step], owner, nodes)
            ends = np.searchsorted(group, np.arange(len(cells) + 1))
            index, owner = _ranges(ends[cell], ends[cell + 1])
            found.append((point[taken][owner], where[index], mass[index]))
        rest = ~few & ~taken
        point = np.repeat(point[rest], 2)
        stretch = (2 * stretch[rest][:, None] + np.array([0, 1])).ravel()
        level -= 1
        inside = (stretch << max(level, 0)) <= points[point]
        point, stretch = point[inside], stretch[inside]
    if not found:
        return Pasts(np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0))
    owner, position, weight = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.lexsort((position, owner))
    return Pasts(owner[order], position[order], weight[order])
