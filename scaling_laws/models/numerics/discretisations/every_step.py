"""All steps of a schedule, in blocks of consecutive steps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_laws.models.numerics.compression.discrete_gauss import changes
from scaling_laws.models.numerics.discretisations.discretisation import RunInputs
from scaling_laws.models.numerics.grids.single_steps import SingleSteps
from scaling_laws.models.numerics.history import Events, EventStreams, History, bucket

__all__ = ["BLOCK", "EVERY_STEP", "EveryStep", "derived", "numbers"]

Array = Any
Rates = NDArray[np.float64]
BLOCK = 32  # steps per block


@dataclass(frozen=True)
class EveryStep:
    """All steps; a `Discretisation` in NumPy and float64.

    The points of its histories, flattened, are steps 0, 1, 2, ...; entries from len(lr) on are
    padding.

    Attributes:
        steps: pad to this many steps, so that schedules of similar length share one compilation.
        block: steps per block.
    """

    steps: int | None = None
    block: int = BLOCK

    def with_events(self, run: RunInputs, rate: Array, *, noise: bool) -> History:
        """See `Discretisation`; lr and rate are those of every step, (steps,)."""
        lr = np.asarray(rate)
        size = max(len(lr), self.steps or 0)
        padded = _extend(lr, size, 0.0)
        change = changes(padded)
        change[len(lr) :] = 0.0
        points = self._blocks(np.cumsum(padded))
        step, level = self._step(size), self._blocks(padded, 0.0)

        def events(weight: Rates) -> Events:
            table = self._blocks(weight, 0.0)
            return Events(step, points, level, table, **_range(points, points, level, table))

        return self._history(
            run, lr, size, EventStreams(events(change), events(padded**2) if noise else None), None
        )

    def with_grid(self, run: RunInputs, decay: Array, norm: Array | None) -> History:
        """See `Discretisation`; lr, decay and norm are those of every step, (steps,)."""
        lr = np.asarray(run.lr)
        size = max(len(lr), self.steps or 0)
        padded = _extend(lr, size, 0.0)
        change = changes(padded)
        change[len(lr) :] = 0.0
        points, level = self._blocks(np.cumsum(padded)), self._blocks(padded, 0.0)
        clock_range = _range(points, points, level, self._blocks(change, 0.0))

        def row(values: Array, fill: float | None = 0.0) -> Rates:
            return _extend(np.asarray(values), points.size, fill)

        grid = SingleSteps(
            lr=row(lr)[None],
            count=row(np.ones_like(lr)),
            decay_to_next=row(decay),
            lr_squared_to_next=row(lr * lr),
            residual_decay=row(0.5 * np.asarray(decay)),
            norm=None if norm is None else row(norm, None)[None],
            block=self.block,
            points=self.block,
            log2_range=clock_range["log2_range"],
        )
        return self._history(run, lr, size, None, grid)

    def _history(
        self,
        run: RunInputs,
        rate: Rates,
        size: int,
        events: EventStreams | None,
        grid: SingleSteps | None,
    ) -> History:
        padded = _extend(rate, size, 0.0)
        return History(
            step=self._step(size),
            clock=self._blocks(np.cumsum(padded)),
            lr=self._blocks(padded),
            peak_lr=np.float64(rate.max()),
            facts=numbers(run),
            traces={
                name: self._blocks(_extend(values, size, None))
                for name, values in derived(run).items()
            },
            events=events,
            time_grid=grid,
        )

    def _step(self, size: int) -> Rates:
        return self._blocks(np.arange(size, dtype=np.float64))

    def _blocks(self, row: Rates, fill: float | None = None) -> Rates:
        """Cut a row into blocks, the last one filled up: by its last entry, or by `fill`."""
        return _extend(row, -(-len(row) // self.block) * self.block, fill).reshape(-1, self.block)


EVERY_STEP = EveryStep()


def derived(run: RunInputs) -> dict[str, Rates]:
    """Derived traces at every step, by name: (steps,) each."""
    padded = _extend(np.asarray(run.lr), bucket(len(run.lr)), 0.0)  # few lengths, few compilations
    return {
        name: np.asarray(trace(padded))[: len(run.lr)] for name, trace in run.derived_traces.items()
    }


def numbers(run: RunInputs) -> dict[str, Any]:
    """The facts as NumPy numbers."""
    return {name: np.float64(value) for name, value in run.facts.items()}


def _extend(row: Rates, size: int, fill: float | None) -> Rates:
    """A row made `size` long: with a number, or with its last entry."""
    return np.concatenate([row, np.full(size - len(row), row[-1] if fill is None else fill)])


def _range(points: Rates, position: Rates, lr: Rates, weight: Rates) -> dict[str, Any]:
    """The clock distances that the exponentials across blocks must resolve.

    A kernel counts distances from before an event's own step or from after it: both.
    """
    longest = max(float(points[-1, -1]), np.finfo(float).tiny)
    shortest = longest
    if len(points) > 1:
        shortest = min(
            longest, *(_min_distance(points, start, weight) for start in (position - lr, position))
        )
    log2_range = 8 * math.ceil(math.log2(longest / shortest) / 8)
    return {"min_distance": np.float64(shortest), "log2_range": log2_range}


def _min_distance(points: Rates, position: Rates, weight: Rates) -> float:
    """Shortest distance > 0 from an event to the first later point in another block.

    A distance of zero is exact by construction. Events too small to matter (1e-10 of all together)
    do not count.
    """
    row = points.ravel()
    following = np.arange(1, len(points) + 1)[:, None] * points.shape[1]
    later = np.maximum(np.searchsorted(row, position, side="right"), following)
    distance = np.append(row, np.inf)[np.minimum(later, len(row))] - position
    # rounding leaves distances of 1e-16 where the clock does not advance
    counted = (distance > 1e-14 * row[-1]) & np.isfinite(distance) & (weight != 0)
    near, size = distance[counted], np.abs(weight[counted])
    if near.size == 0:
        return math.inf
    reach, enough = float(near.min()), 1e-10 * float(np.abs(weight).sum())
    while float(size[near <= 2.0 * reach].sum()) <= enough:  # doubling: no need to sort them all
        reach *= 2.0
        if reach > row[-1]:
            return math.inf
    return reach
