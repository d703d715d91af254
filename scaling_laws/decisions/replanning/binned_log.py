"""The log of a run so far, gathered to as few points as a law's smooth curve needs.

Means of many losses carry less noise than a choice of as many.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import UsageError
from scaling_laws.data import Run
from scaling_laws.decisions.replanning.batched_losses import POINTS

__all__ = ["BinnedLog", "gather", "settled_step"]

Array = NDArray[np.float64]
EARLY = 12  # the first such part of the log is left out: laws know least about it


@dataclass(frozen=True, eq=False)
class BinnedLog:
    """Means over stretches of a log.

    Attributes:
        steps: the middle step of each: (points,).
        log_loss: mean log loss: (points,).
        weight: mean weight: (points,).
        logged: how many logged losses they rest on.
    """

    steps: NDArray[np.int64] = field(repr=False)
    log_loss: Array = field(repr=False)
    weight: Array = field(repr=False)
    logged: int


def settled_step(run: Run, now: int) -> int:
    """The step before which a log is left out unless asked: its warm-up, and its first twelfth."""
    return max(run.schedule.warmup, now // EARLY)


def gather(run: Run, first: int, now: int) -> BinnedLog:
    """The points of a run from step `first` to before step `now`.

    A loss that averages several steps counts as that of the middle one.

    Raises:
        UsageError: if too few are left.
    """
    assert run.weight is not None  # set on construction
    place = np.flatnonzero((run.steps >= first) & (run.steps < now) & (run.weight > 0))
    if len(place) < 4:
        raise UsageError(
            f"run {run.name!r}: {len(place)} losses are logged in steps {first}..{now - 1}; a "
            "forecast needs 4 at least: wait for more, or take earlier ones with --from-step"
        )
    parts = np.array_split(place, min(POINTS, len(place)))
    middle = np.array([np.mean(run.steps[part]) for part in parts]) - 0.5 * (run.window - 1)
    weight = [run.weight[part] for part in parts]
    return BinnedLog(
        np.maximum(np.floor(middle + 0.5), 0).astype(np.int64),
        np.array(
            [
                float(np.average(np.log(run.loss[part]), weights=each))
                for part, each in zip(parts, weight, strict=True)
            ]
        ),
        np.array([float(np.mean(each)) for each in weight]),
        len(place),
    )
