"""How far apart runs of one schedule are: what no law of the schedule can predict.

Runs whose learning rates agree up to some step, and whose facts do, should have the same losses up
to there; seeds, data order and machines make them differ. Two such runs are √2 times as far apart
as either is from the mean of all such runs, which is the best that a law could say.
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

ALIKE = 1e-3  # of the higher rate: learning rates that differ by no more are one
FEWEST = 20  # common logged steps; fewer say little, and short runs agree in their warm-up anyway


@dataclass(frozen=True)
class Repeats:
    """How far apart the losses of runs are where their schedules are the same.

    Attributes:
        pairs: of runs, no two of which share a logged past.
        points: common logged steps of all pairs.
        difference: mean of |log(loss / other loss)| over them.
    """

    pairs: int
    points: int
    difference: float

    @property
    def floor(self) -> float:
        """PredE of a law that knew the mean of all repeats."""
        return self.difference / math.sqrt(2.0)

    def __str__(self) -> str:
        pairs = "one pair" if self.pairs == 1 else f"{self.pairs} pairs"
        return (
            f"Runs of one schedule up to where they part ({pairs}) are {self.difference:.5f} apart "
            f"on average, relative: a law that knew their mean would have PredE {self.floor:.5f}."
        )

    def as_json(self) -> dict[str, float]:
        """All numbers."""
        return {**asdict(self), "floor": self.floor}


class _Pair(NamedTuple):
    one: NDArray[np.float64]  # losses at the common steps
    other: NDArray[np.float64]


def repeats_of(runs: Sequence[Run]) -> Repeats | None:
    """How far apart runs are where their schedules and facts are the same; None if none are.

    Runs that share a logged past, as branches of a trunk do, count as one run: of each pair of
    such groups the longest common past is taken.

    Args:
        runs: with the points that count.
    """
    pairs = {
        (first, second): found
        for first, second in combinations(range(len(runs)), 2)
        if (found := _common(runs[first], runs[second])) is not None
    }
    group = list(range(len(runs)))
    for (first, second), pair in pairs.items():
        if pair.one[0] == pair.other[0]:  # two trainings do not agree to the last bit
            old, new = group[second], group[first]
            group = [new if each == old else each for each in group]
    longest: dict[tuple[int, int], _Pair] = {}
    for (first, second), pair in pairs.items():
        if group[first] == group[second]:
            continue
        low, high = sorted((group[first], group[second]))
        if (low, high) not in longest or len(pair.one) > len(longest[low, high].one):
            longest[low, high] = pair
    if not longest:
        return None
    apart = np.concatenate([np.abs(np.log(each.one / each.other)) for each in longest.values()])
    return Repeats(len(longest), len(apart), float(np.mean(apart)))


def _common(one: Run, other: Run) -> _Pair | None:
    """Losses at the steps that both logged before their schedules part."""
    if dict(one.facts) != dict(other.facts) or one.window != other.window:
        return None
    last = int(min(one.steps[-1], other.steps[-1])) + 1
    same = np.ones(last, dtype=bool)
    for row, beside in (
        (one.schedule.lr, other.schedule.lr),
        (one.traces.get("weight_decay"), other.traces.get("weight_decay")),
    ):
        if (row is None) != (beside is None):
            return None
        if row is not None and beside is not None:
            higher = np.maximum(row[:last], beside[:last])
            same &= np.abs(row[:last] - beside[:last]) <= ALIKE * higher
    until = last if same.all() else int(np.argmin(same))
    steps, mine, its = np.intersect1d(one.steps, other.steps, return_indices=True)
    count = int(np.searchsorted(steps, until))
    if count < FEWEST:
        return None
    return _Pair(one.loss[mine[:count]], other.loss[its[:count]])
