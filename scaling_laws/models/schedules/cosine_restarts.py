"""Cosine decay with warm restarts (SGDR, Loshchilov and Hutter 2017)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import ScheduleError
from scaling_laws.models.schedules.family import (
    COMMON_KEYS,
    END,
    Family,
    Key,
    Values,
    count,
    warm_up,
)

__all__ = ["COSINE_RESTARTS"]


def build(values: Values) -> NDArray[np.float64]:
    """Learning rates of shape (steps,)."""
    peak, end, steps, warmup = (values[key] for key in ("peak", "end", "steps", "warmup"))
    length, grow = values["cycle"], values["cycle_factor"]
    if length < 1 or grow < 1:
        raise ScheduleError(f"cycle={length} and cycle_factor={grow} must be at least 1")
    starts = [warmup]
    while starts[-1] + length < steps:
        starts.append(starts[-1] + length)
        length *= grow
    lengths = values["cycle"] * float(grow) ** np.arange(len(starts))

    def lr_after_warmup(step: NDArray[np.float64]) -> NDArray[np.float64]:
        cycle = np.searchsorted(np.array(starts), step, side="right") - 1
        done = (step - np.array(starts, dtype=np.float64)[cycle]) / lengths[cycle]
        return np.asarray(end + 0.5 * (peak - end) * (1.0 + np.cos(np.pi * done)))

    return warm_up(values, lr_after_warmup)


COSINE_RESTARTS = Family(
    name="cosine_restarts",
    formula="end + (peak - end)·(1 + cos(π·x))/2, x = share of the current cycle done",
    citation="Loshchilov & Hutter 2017, arXiv 1608.03983",
    keys=(
        *COMMON_KEYS,
        END,
        Key("cycle", count, "steps of the first cycle", required=True),
        Key("cycle_factor", count, "each cycle is this many times as long as the last", default=1),
    ),
    build=build,
)
