"""Differences between runs of one schedule: the error that no law of the schedule can remove.

Runs whose facts agree, and whose learning rates agree up to some step, would have equal losses up
to that step but for seeds, data order and hardware. Two such runs differ √2 times as much as either
differs from the mean of all such runs, which is the best possible prediction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scaling_laws.data import Run

__all__ = ["Repeats", "repeats_of"]

SAME_LR = 1e-3  # of the higher rate: learning rates that differ by no more count as equal
MIN_STEPS = 20  # common logged steps; short runs agree during the warm-up in any case


@dataclass(frozen=True)
class Repeats:
    """Differences between the losses of runs whose schedules are the same.

    Attributes:
        pairs: number of pairs of runs that share no logged prefix.
        points: common logged steps of all pairs.
        difference: mean of |log(loss / other loss)| over them.
    """

    pairs: int
    points: int
    difference: float

    @property
    def floor(self) -> float:
        """PredE of a prediction equal to the mean of all repeats."""
        return self.difference / math.sqrt(2.0)

    def __str__(self) -> str:
        pairs = "one pair" if self.pairs == 1 else f"{self.pairs} pairs"
        return (
            f"Runs with the same schedule up to some step ({pairs}) differ by "
            f"{self.difference:.5f} on average, relative: predicting their mean would "
            f"have PredE {self.floor:.5f}."
        )

    def as_json(self) -> dict[str, float]:
        """All numbers."""
        return {**asdict(self), "floor": self.floor}


class _Pair(NamedTuple):
    one: NDArray[np.float64]  # losses at the common steps
    other: NDArray[np.float64]


def repeats_of(runs: Sequence[Run]) -> Repeats | None:
    """Differences between runs with the same schedule and facts; None if there are no such runs.

    Runs that share a logged prefix, as branches of a trunk do, count as one run: of each pair of
    such groups the longest common prefix is used.

    Args:
        runs: with the points that count.
    """
    pairs = {
        (first, second): pair
        for first, second in combinations(range(len(runs)), 2)
        if (pair := _common(runs[first], runs[second])) is not None
    }
    group = list(range(len(runs)))
    for (first, second), pair in pairs.items():
        if pair.one[0] == pair.other[0]:  # two trainings never agree to the last bit
            old, new = group[second], group[first]
            group = [new if index == old else index for index in group]
    longest: dict[tuple[int, int], _Pair] = {}
    for (first, second), pair in pairs.items():
        if group[first] == group[second]:
            continue
        low, high = sorted((group[first], group[second]))
        if (low, high) not in longest or len(pair.one) > len(longest[low, high].one):
            longest[low, high] = pair
    if not longest:
        return None
    apart = np.concatenate([np.abs(np.log(pair.one / pair.other)) for pair in longest.values()])
    return Repeats(len(longest), len(apart), float(np.mean(apart)))


def _common(one: Run, other: Run) -> _Pair | None:
    """Losses at the steps that both logged before their schedules differ."""
    if dict(one.facts) != dict(other.facts) or one.window != other.window:
        return None
    last = int(min(one.steps[-1], other.steps[-1])) + 1
    same = np.ones(last, dtype=bool)
    for row, other_row in (
        (one.schedule.lr, other.schedule.lr),
        (one.traces.get("weight_decay"), other.traces.get("weight_decay")),
    ):
        if (row is None) != (other_row is None):
            return None
        if row is not None and other_row is not None:
            higher = np.maximum(row[:last], other_row[:last])
            same &= np.abs(row[:last] - other_row[:last]) <= SAME_LR * higher
    until = last if same.all() else int(np.argmin(same))
    steps, of_one, of_other = np.intersect1d(one.steps, other.steps, return_indices=True)
    count = int(np.searchsorted(steps, until))
    if count < MIN_STEPS:
        return None
    return _Pair(one.loss[of_one[:count]], other.loss[of_other[:count]])
