"""Stacks of histories from `AtPoints`: padded to few shapes and gathered, for few compilations.

A stack has a leading axis on every leaf, over which a law is mapped; its points, flattened, follow
one after another. With events it is one history per point, with a time grid one per run: only this
module depends on which.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import LawError
from scaling_laws.models.numerics.grids.quadratic_cells import QuadraticCells
from scaling_laws.models.numerics.history import Events, EventStreams, History, bucket

__all__ = ["pad_points", "stack_histories"]

Array = NDArray[np.float64]
Index = NDArray[np.int64]
GROUPS = 2  # widths of the stacks: fewer compile sooner, more waste less


def pad_points(history: History, points: int, cells: int = 1) -> History:
    """A stack with more points, copies of the last one.

    Args:
        history: from `AtPoints`.
        points: at least as many as there are.
        cells: least number of cells of a time grid, which is filled up with empty ones to a
            bucket; of no effect on events.
    """
    if history.time_grid is None:
        last = np.minimum(np.arange(points), len(history.step) - 1)
        copied: History = jax.tree.map(lambda leaf: leaf[last], history)
        return copied
    grid = _quadratic(history)
    last = np.minimum(np.arange(points), history.step.shape[-1] - 1)
    return replace(
        history,
        step=history.step[..., last],
        clock=history.clock[..., last],
        lr=history.lr[..., last],
        traces={name: row[..., last] for name, row in history.traces.items()},
        time_grid=grid.padded(points, max(cells, bucket(grid.lr.shape[-1]))),
    )


def stack_histories(histories: Sequence[History]) -> tuple[tuple[History, ...], list[Index]]:
    """Histories of runs as a few stacks of few shapes.

    Args:
        histories: of each run, from `AtPoints`, all of one law.

    Returns:
        The stacks, and for each run the indices of its points among those of all stacks, one stack
        after the other: (points of the run,).
    """
    if histories[0].time_grid is None:
        return _stack_points(histories)
    return _stack_runs(histories)


def _stack_points(histories: Sequence[History]) -> tuple[tuple[History, ...], list[Index]]:
    """One history per point: points with similarly many events together."""
    widths = np.concatenate([_event_counts(history) for history in histories])
    edges = _sizes(widths)
    group = np.searchsorted(edges, widths)
    starts = np.cumsum([0] + [len(history.peak_lr) for history in histories])
    stacks: list[History] = []
    index, before = np.empty(len(widths), dtype=np.int64), 0
    for number, width in enumerate(edges.tolist()):
        parts = [
            _narrow(history, group[start:stop] == number, width)
            for history, start, stop in zip(histories, starts[:-1], starts[1:], strict=True)
        ]
        members = np.flatnonzero(group == number)
        index[members] = before + np.arange(len(members))
        joined: History = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
        # few sizes, few compilations
        stacks.append(pad_points(joined, bucket(len(members))))
        before += bucket(len(members))
    bounds = itertools.pairwise(starts.tolist())
    return tuple(stacks), [index[start:stop] for start, stop in bounds]


def _stack_runs(histories: Sequence[History]) -> tuple[tuple[History, ...], list[Index]]:
    """One history per run: runs with similarly many points together."""
    counts = np.array([history.step.shape[-1] for history in histories])
    sizes = _sizes(counts)
    group = np.searchsorted(sizes, counts)
    stacks: list[History] = []
    start, before = np.empty(len(counts), dtype=np.int64), 0
    for number, size in enumerate(sizes.tolist()):
        members = np.flatnonzero(group == number)
        chosen = [histories[member] for member in members.tolist()]
        cells = bucket(max(_quadratic(history).lr.shape[-1] for history in chosen))
        padded = [pad_points(history, size, cells) for history in chosen]
        padded += padded[-1:] * (_round_up(len(members)) - len(members))  # nobody reads the copies
        stacks.append(jax.tree.map(lambda *leaves: np.concatenate(leaves), *padded))
        start[members] = before + size * np.arange(len(members))
        before += size * len(padded)
    return tuple(stacks), [
        first + np.arange(count) for first, count in zip(start, counts, strict=True)
    ]


def _sizes(counts: Index) -> Index:
    """The few sizes that counts are padded to, increasing."""
    share = np.arange(1, GROUPS + 1) / GROUPS
    sizes = np.array([bucket(int(size)) for size in np.quantile(counts, share)])
    sizes[-1] = bucket(int(counts.max()))
    return np.unique(sizes)


def _round_up(runs: int) -> int:
    """The next of 1, 1.5 times a power of two: few compilations, little to waste."""
    power = 1 << (runs - 1).bit_length()
    return 3 * power // 4 if power >= 4 and runs <= 3 * power // 4 else power


def _quadratic(history: History) -> QuadraticCells:
    if not isinstance(history.time_grid, QuadraticCells):
        raise LawError("only histories from AtPoints can be padded and stacked")
    return history.time_grid


def _event_counts(history: History) -> Index:
    """Number of events before each point; at least one."""
    assert history.events is not None  # checked by the caller
    counts = [
        np.sum(stream.weight[:, 0] != 0, axis=1)
        for stream in (history.events.changes, history.events.noise)
        if stream is not None
    ]
    return np.asarray(np.maximum(1, np.max(counts, axis=0)))


def _narrow(history: History, chosen: NDArray[np.bool_], width: int) -> History:
    """Some of the points, with tables of events of a width; a point's events come first."""

    def resize(table: Array) -> Array:
        kept = table[..., :width]
        return np.pad(kept, ((0, 0), (0, 0), (0, width - kept.shape[-1])), mode="edge")

    def events(stream: Events) -> Events:
        weight = np.pad(stream.weight, ((0, 0), (0, 0), (0, width)))[..., :width]
        return replace(
            stream,
            step=resize(stream.step),
            clock=resize(stream.clock),
            lr=resize(stream.lr),
            weight=weight,
        )

    part: Any = jax.tree.map(lambda leaf: leaf[chosen], history)
    noise = part.events.noise
    streams = EventStreams(events(part.events.changes), None if noise is None else events(noise))
    narrowed: History = replace(part, events=streams)
    return narrowed
