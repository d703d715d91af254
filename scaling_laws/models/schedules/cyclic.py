"""Triangular cycles (Smith 2017), from the peak down and back up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import ScheduleError
from scaling_laws.models.schedules.family import (
    COMMON_KEYS,
    Family,
    Key,
    Values,
    count,
    nonnegative,
    warm_up,
)

__all__ = ["CYCLIC"]


def build(values: Values) -> NDArray[np.float64]:
    """Learning rates of shape (steps,)."""
    peak, low, warmup, period = (values[key] for key in ("peak", "low", "warmup", "period"))
    if period < 2:
        raise ScheduleError(f"period={period} must be at least 2 steps")
    if low > peak:
        raise ScheduleError(f"low={low:g} is above peak={peak:g}")

    def lr_after_warmup(step: NDArray[np.float64]) -> NDArray[np.float64]:
        phase = np.mod(step - warmup, period) / period
        return np.asarray(low + (peak - low) * np.abs(1.0 - 2.0 * phase))

    return warm_up(values, lr_after_warmup)


CYCLIC = Family(
    name="cyclic",
    formula="low + (peak - low)·|1 - 2·frac((t - W)/period)|",
    citation="Smith 2017, arXiv 1506.01186 (triangular)",
    keys=(
        *COMMON_KEYS,
        Key("low", nonnegative, "learning rate half a period after a peak", default=0.0),
        Key("period", count, "steps from peak to peak", required=True),
    ),
    build=build,
)
