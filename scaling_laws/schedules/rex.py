"""REX (Chen et al. 2021): stays high for long, then falls ever faster."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scaling_laws.schedules.base import (
    COMMON,
    END,
    Family,
    Shape,
    Values,
    end_between,
    warm_up,
)

__all__ = ["REX"]


def build(values: Values) -> NDArray[np.float64]:
    """Learning rates of shape (steps,)."""
    peak, end, steps, warmup = (values[key] for key in ("peak", "end", "steps", "warmup"))

    def after(step: NDArray[np.float64]) -> NDArray[np.float64]:
        left = (steps - step) / (steps - warmup)
        return np.asarray(end + (peak - end) * (left / (0.5 + 0.5 * left)))

    return warm_up(values, after)


REX = Family(
    name="rex",
    formula="end + (peak - end)·(1 - z)/(1/2 + (1 - z)/2), z = (t - W)/(T - W)",
    citation="Chen et al. 2021, arXiv 2107.04197",
    keys=(*COMMON, END),
    build=build,
    shapes=(Shape("rex", (0.0,), (1.0,), end_between),),
)
