"""The log of a run so far, binned to as few points as a law's smooth curve needs.

Means over bins carry less noise than the same number of single losses.
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
LOG_PARTS = 12  # the first of so many parts of the log is omitted: laws describe it worst
MIN_LOSSES = 4


@dataclass(frozen=True, eq=False)
class BinnedLog:
    """Means over bins of a log.

    Attributes:
        steps: middle step per bin: (points,).
        log_loss: mean log loss: (points,).
        weight: mean weight: (points,).
        logged: number of logged losses in all bins.
    """

    steps: NDArray[np.int64] = field(repr=False)
    log_loss: Array = field(repr=False)
    weight: Array = field(repr=False)
    logged: int


def settled_step(run: Run, now: int) -> int:
    """First step used by default: after the warm-up and after the first twelfth of the log."""
    return max(run.schedule.warmup, now // LOG_PARTS)


def gather(run: Run, first: int, now: int) -> BinnedLog:
    """Bin the losses of a run from step `first` up to, but not including, step `now`.

    A loss that averages several steps is placed at the middle one.

    Raises:
        UsageError: if fewer than 4 losses remain.
    """
    assert run.weight is not None  # set on construction
    used = np.flatnonzero((run.steps >= first) & (run.steps < now) & (run.weight > 0))
    if len(used) < MIN_LOSSES:
        raise UsageError(
            f"run {run.name!r}: {len(used)} losses are logged in steps {first}..{now - 1}; a "
            f"forecast needs at least {MIN_LOSSES}: wait for more, or include earlier ones with "
            "--from-step"
        )
    bins = np.array_split(used, min(POINTS, len(used)))
    middle = np.array([np.mean(run.steps[rows]) for rows in bins]) - 0.5 * (run.window - 1)
    means = [float(np.average(np.log(run.loss[rows]), weights=run.weight[rows])) for rows in bins]
    return BinnedLog(
        np.maximum(np.floor(middle + 0.5), 0).astype(np.int64),
        np.array(means),
        np.array([float(np.mean(run.weight[rows])) for rows in bins]),
        len(used),
    )
