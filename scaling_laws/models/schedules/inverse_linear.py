"""Inverse linear decay (Liu et al. 2025): after warm-up, 1/lr grows linearly.

The explicit form is from memory, not checked against the text of Neural Thermodynamic Laws; `end`
fixes the slope of 1/lr. It is the decay of `wsd_s` over the whole run.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scaling_laws.models.schedules.family import COMMON_KEYS, Family, Key, Values, positive, warm_up

__all__ = ["INVERSE_LINEAR"]


def build(values: Values) -> NDArray[np.float64]:
    """Learning rates of shape (steps,)."""
    peak, end, steps, warmup = (values[key] for key in ("peak", "end", "steps", "warmup"))

    def lr_after_warmup(step: NDArray[np.float64]) -> NDArray[np.float64]:
        x = (step - warmup) / (steps - warmup)
        # the same as 1/((1 - x)/peak + x/end), but never above the peak and without overflow
        return np.asarray(peak * (end / (end + (peak - end) * x)))

    return warm_up(values, lr_after_warmup)


INVERSE_LINEAR = Family(
    name="inverse_linear",
    formula="1/(1/peak + k(t - W)), k = (1/end - 1/peak)/(T - W)",
    citation="Liu et al. 2025, arXiv 2505.10559 (form from memory)",
    keys=(*COMMON_KEYS, Key("end", positive, "learning rate at step `steps`, > 0", required=True)),
    build=build,
)
