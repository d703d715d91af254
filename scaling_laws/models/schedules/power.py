"""Power decay over the whole run after warm-up: linear at power 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_laws.models.schedules.family import (
    COMMON_KEYS,
    END,
    Family,
    Key,
    SearchBox,
    SearchFrame,
    Values,
    positive,
    warm_up,
)

__all__ = ["POWER_DECAY"]


def lr_after_warmup(values: Values, step: Any, xp: Any) -> Any:
    """Rates from the warm-up on."""
    peak, end, steps, warmup = (values[key] for key in ("peak", "end", "steps", "warmup"))
    return end + (peak - end) * ((steps - step) / (steps - warmup)) ** values["power"]


def build(values: Values) -> NDArray[np.float64]:
    """Learning rates of shape (steps,)."""
    return warm_up(values, lambda step: lr_after_warmup(values, step, np))


def _values(free: Sequence[Any], frame: SearchFrame, xp: Any) -> dict[str, Any]:
    return {"end": frame.end_min, "power": free[0]}


POWER_DECAY = Family(
    name="power",
    formula="end + (peak - end)·((T - t)/(T - W))^power",
    citation="Li et al. 2026, arXiv 2602.06797 (power = 2β - 1)",
    keys=(*COMMON_KEYS, END, Key("power", positive, "exponent; 1 is linear", required=True)),
    build=build,
    shapes=(SearchBox("power", (0.05,), (4.0,), _values),),
    lr_after_warmup=lr_after_warmup,
)
