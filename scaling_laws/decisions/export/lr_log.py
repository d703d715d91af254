"""Logged learning rates, and the search for a number with which a hypothesis explains them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "Fault", "LrLog", "Steps", "best_number", "rates_at"]

Array = NDArray[np.float64]
Steps = NDArray[np.int64]
MAX_ROWS = 4000  # a longer log is subsampled


@dataclass(frozen=True, eq=False)
class LrLog:
    """Logged rates.

    Attributes:
        step: increasing steps: (rows,).
        lr: logged rates: (rows,).
        slack: tolerance, in LR.
    """

    step: Steps
    lr: Array = field(repr=False)
    slack: float

    def agrees(self, expected: Array) -> bool:
        """Whether every row agrees with a hypothesis."""
        return bool((np.abs(self.lr - expected) <= self.slack).all())

    def distance(self, expected: Array) -> float:
        """Sum of squares between the log and a hypothesis."""
        return float(np.square(self.lr - expected).sum())

    def thinned(self, keep: int) -> LrLog:
        """At most about `MAX_ROWS` of the rows, including those around row `keep`."""
        if self.step.size <= MAX_ROWS:
            return self
        spread = np.linspace(0, self.step.size - 1, MAX_ROWS).round().astype(int)
        near = np.arange(max(keep - 50, 0), min(keep + 50, self.step.size))
        chosen = np.union1d(spread, near)
        return LrLog(self.step[chosen], self.lr[chosen], self.slack)


@dataclass(frozen=True)
class Fault:
    """A fault that explains a log: its name and a sentence."""

    name: str
    sentence: str


def rates_at(lr: Array, steps: NDArray[Any]) -> Array:
    """Rates at steps, including fractional ones; constant before the start and after the end."""
    last = lr.size - 1
    inside = np.clip(steps, 0, last)
    if np.issubdtype(inside.dtype, np.integer):
        return np.asarray(lr[inside.astype(np.int64)])
    below = np.floor(inside).astype(np.int64)
    share = inside - below
    return np.asarray(lr[below] * (1 - share) + lr[np.minimum(below + 1, last)] * share)


def best_number(log: LrLog, hypothesis: Callable[[float], Array], trials: Array) -> float | None:
    """The number for which a hypothesis agrees with the whole log, or None."""
    if trials.size == 0:
        return None
    index = int(np.argmin([log.distance(hypothesis(float(value))) for value in trials]))
    best = float(trials[index])
    low, high = float(trials[max(index - 1, 0)]), float(trials[min(index + 1, trials.size - 1)])
    for _ in range(4):  # twenty times finer every time
        finer = np.linspace(low, high, 41)
        best = float(finer[np.argmin([log.distance(hypothesis(float(value))) for value in finer])])
        spacing = (high - low) / 40
        low, high = best - spacing, best + spacing
    for value in (float(round(best)), best):  # integers first: settings usually are
        if log.agrees(hypothesis(value)):
            return value
    return None
