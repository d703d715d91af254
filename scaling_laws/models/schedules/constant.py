"""Constant learning rate after warm-up."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_laws.models.schedules.family import COMMON_KEYS, Family, SearchBox, Values, warm_up

__all__ = ["CONSTANT"]


def lr_after_warmup(values: Values, step: Any, xp: Any) -> Any:
    """Rates from the warm-up on."""
    return values["peak"] * xp.ones_like(step)


def build(values: Values) -> NDArray[np.float64]:
    """Learning rates of shape (steps,)."""
    return warm_up(values, lambda step: lr_after_warmup(values, step, np))


CONSTANT = Family(
    name="constant",
    formula="peak",
    citation="standard",
    keys=COMMON_KEYS,
    build=build,
    shapes=(SearchBox("constant", (), (), lambda free, frame, xp: {}),),
    lr_after_warmup=lr_after_warmup,
)
