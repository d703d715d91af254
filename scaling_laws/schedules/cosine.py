"""Cosine decay (Loshchilov and Hutter 2017, arXiv 1608.03983, one cycle)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scaling_laws.schedules.base import COMMON, END, Family, Shape, Values, end_between, warm_up

__all__ = ["COSINE"]


def build(values: Values) -> NDArray[np.float64]:
    """Learning rates of shape (steps,)."""
    peak, end, steps, warmup = (values[key] for key in ("peak", "end", "steps", "warmup"))
    return warm_up(
        values,
        lambda step: (
            end + 0.5 * (peak - end) * (1.0 + np.cos(np.pi * (step - warmup) / (steps - warmup)))
        ),
    )


COSINE = Family(
    name="cosine",
    formula="end + (peak - end)·(1 + cos(π(t - W)/(T - W)))/2",
    citation="Loshchilov & Hutter 2017, arXiv 1608.03983",
    keys=(*COMMON, END),
    build=build,
    shapes=(Shape("cosine", (0.0,), (1.0,), end_between),),
)
