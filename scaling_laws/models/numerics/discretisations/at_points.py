"""Chosen steps of a schedule only: the logged losses of a fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from scaling_laws.models.numerics.compression.discrete_gauss import changes
from scaling_laws.models.numerics.compression.tree import compress_history
from scaling_laws.models.numerics.discretisations.discretisation import RunInputs
from scaling_laws.models.numerics.discretisations.every_step import derived, numbers
from scaling_laws.models.numerics.grids.quadratic_cells import QuadraticCells
from scaling_laws.models.numerics.history import Events, EventStreams, History, bucket

__all__ = ["AtPoints"]

Array = Any
Rates = NDArray[np.float64]
NODES = 3  # of a compressed range of events: error of a memory at most 2e-6


@dataclass(frozen=True, eq=False)
class AtPoints:
    """Chosen steps; a `Discretisation` in NumPy and float64.

    Its histories are stacks, to be mapped over with `jax.vmap`: with events, of one history per
    point, each with its own few events in place of all before it; with a time grid, of one history
    with all points. Either way the points, flattened, are those chosen.

    Attributes:
        points: increasing steps below len(lr): (points,).
    """

    points: NDArray[np.int64]

    def with_events(self, run: RunInputs, rate: Array, *, noise: bool) -> History:
        """See `Discretisation`; lr and rate are those of every step, (steps,)."""
        lr, points = np.asarray(rate), self.points
        clock = np.cumsum(lr)
        every = np.arange(len(lr), dtype=np.float64)
        count = len(points)
        cuts = [int(step) for step in run.break_steps]

        def column(values: Any) -> Rates:
            return np.asarray(values, dtype=np.float64).reshape(count, 1, 1)

        def events(per_step: Rates) -> Events:
            past = compress_history(per_step, lr, points, nodes=NODES, cuts=cuts)
            counts = np.bincount(past.point, minlength=count)
            index = np.arange(len(past.point)) - np.repeat(np.cumsum(counts) - counts, counts)
            width = bucket(max(1, int(counts.max(initial=0))))  # few widths, few compilations

            def fill(values: Rates, empty: Any) -> Rates:
                table = np.broadcast_to(column(empty), (count, 1, width)).copy()
                table[past.point, 0, index] = values
                return table

            return Events(
                step=fill(past.position, points),
                clock=fill(_clock_at(past.position, clock, lr), clock[points]),
                lr=fill(np.interp(past.position, every, lr), np.full(count, lr.max())),
                weight=fill(past.weight, np.zeros(count)),
                min_distance=clock[points],
            )

        def repeated(value: Any) -> Rates:
            return np.full(count, float(value))

        return History(
            step=column(points),
            clock=column(clock[points]),
            lr=column(lr[points]),
            peak_lr=repeated(lr.max()),
            facts={name: repeated(value) for name, value in run.facts.items()},
            traces={name: column(row[points]) for name, row in derived(run).items()},
            events=EventStreams(events(changes(lr)), events(lr**2) if noise else None),
        )

    def with_grid(self, run: RunInputs, decay: Array, norm: Array | None) -> History:
        """See `Discretisation`; lr, decay and norm are those of every step, (steps,)."""
        lr, points = np.asarray(run.lr), self.points
        history = History(
            step=points[None].astype(np.float64),
            clock=np.cumsum(lr)[points][None],
            lr=lr[points][None],
            peak_lr=np.float64(lr.max()),
            facts=numbers(run),
            traces={name: row[points][None] for name, row in derived(run).items()},
            time_grid=QuadraticCells.of(lr, decay, points, norm),
        )
        stacked: History = jax.tree.map(lambda leaf: np.asarray(leaf)[None], history)
        return stacked


def _clock_at(position: Rates, clock: Rates, lr: Rates) -> Rates:
    """The clock at fractional steps: a parabola between steps, since the LR itself changes there.

    Of the two parabolas the flatter is taken: the other may be distorted by an abrupt change.
    """
    step = np.minimum(position.astype(np.int64), len(lr) - 1)
    share = position - step
    following = np.minimum(step + 1, len(lr) - 1)
    change_before = lr[following] - lr[step]
    change_after = lr[np.minimum(step + 2, len(lr) - 1)] - lr[following]
    change = np.where(np.abs(change_before) < np.abs(change_after), change_before, change_after)
    at = clock[step] + share * lr[following] - 0.5 * share * (1.0 - share) * change
    return np.asarray(at)
