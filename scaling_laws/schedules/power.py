"""Power decay over the whole run after warm-up: linear at power 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_laws.schedules.base import (
    COMMON,
    END,
    Family,
    Frame,
    Key,
    Shape,
    Values,
    positive,
    warm_up,
)

__all__ = ["POWER_DECAY"]


def build(values: Values) -> NDArray[np.float64]:
    """Learning rates of shape (steps,)."""
    peak, end, steps, warmup = (values[key] for key in ("peak", "end", "steps", "warmup"))

    def after(step: NDArray[np.float64]) -> NDArray[np.float64]:
        left = (steps - step) / (steps - warmup)
        return np.asarray(end + (peak - end) * left ** values["power"])

    return warm_up(values, after)


def _values(free: Sequence[float], frame: Frame) -> dict[str, Any]:
    return {"end": frame.end_min, "power": free[0]}


POWER_DECAY = Family(
    name="power",
    formula="end + (peak - end)·((T - t)/(T - W))^power",
    citation="Li et al. 2026, arXiv 2602.06797 (power = 2β - 1)",
    keys=(*COMMON, END, Key("power", positive, "exponent; 1 is linear", required=True)),
    build=build,
    shapes=(Shape("power", (0.05,), (4.0,), _values),),
)
