"""Constant learning rate after warm-up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scaling_laws.schedules.base import COMMON, Family, Shape, Values, warm_up

__all__ = ["CONSTANT"]


def build(values: Values) -> NDArray[np.float64]:
    """Learning rates of shape (steps,)."""
    return warm_up(values, lambda step: values["peak"])


CONSTANT = Family(
    name="constant",
    formula="peak",
    citation="standard",
    keys=COMMON,
    build=build,
    shapes=(Shape("constant", (), (), lambda free, frame: {}),),
)
