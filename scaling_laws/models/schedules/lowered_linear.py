"""Lowered linear cooldown (Dremov et al. 2025): jump to a share of the peak, then linear to zero.

The interpretation of `lower` (0.7 is the paper's best) is not checked against the paper's text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_laws.models.schedules.family import (
    COMMON_KEYS,
    Family,
    Key,
    SearchFrame,
    Values,
    count,
    decay_start,
    fraction,
    warm_up,
)

__all__ = ["LOWERED_LINEAR"]


def build(values: Values) -> NDArray[np.float64]:
    """Learning rates of shape (steps,)."""
    peak, steps, lower = (values[key] for key in ("peak", "steps", "lower"))
    start = decay_start(values)
    return warm_up(
        values,
        lambda step: np.where(
            step < start, peak, np.minimum(lower * peak * ((steps - step) / (steps - start)), peak)
        ),
    )


def _values(free: Sequence[float], frame: SearchFrame) -> dict[str, Any]:
    span = frame.steps - frame.warmup
    return {"decay_start": frame.steps - max(1, round(free[0] * span)), "lower": free[1]}


LOWERED_LINEAR = Family(
    name="lowered_linear",
    formula="peak; from decay_start d on lower·peak·(T - t)/(T - d)",
    citation="Dremov et al. 2025, arXiv 2508.01483",
    keys=(
        *COMMON_KEYS,
        Key("decay_start", count, "first step of the cooldown"),
        Key("decay_fraction", fraction, "cooldown steps over total steps"),
        Key("lower", fraction, "share of the peak that the cooldown starts from", default=0.7),
    ),
    build=build,
)
