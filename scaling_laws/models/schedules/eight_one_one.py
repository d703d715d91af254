"""8-1-1: two drops by √10, at 80 % and at 90 % of the steps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scaling_laws.models.schedules.family import (
    COMMON_KEYS,
    Family,
    Values,
    warm_up,
)

__all__ = ["EIGHT_ONE_ONE"]


def build(values: Values) -> NDArray[np.float64]:
    """Learning rates of shape (steps,)."""
    peak, steps = values["peak"], values["steps"]
    drop_steps = np.array([round(0.8 * steps), round(0.9 * steps)])
    rates = peak * 10.0 ** np.array([0.0, -0.5, -1.0])
    return warm_up(values, lambda step: rates[np.searchsorted(drop_steps, step, side="right")])


EIGHT_ONE_ONE = Family(
    name="eight_one_one",
    formula="peak; peak/√10 from 0.8 T on; peak/10 from 0.9 T on",
    citation="DeepSeek LLM 2024, arXiv 2401.02954 (as 8-1-1 in later fits of it)",
    keys=COMMON_KEYS,
    build=build,
)
