"""Warm-up, stable, decay (Hu et al. 2024, MiniCPM) with the common cooldown shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import ScheduleError
from scaling_laws.models.schedules.family import (
    COMMON_KEYS,
    END,
    Family,
    Key,
    SearchBox,
    SearchFrame,
    Values,
    choice,
    count,
    decay_start,
    fraction,
    positive,
    warm_up,
)

__all__ = ["WSD"]

Array = NDArray[np.float64]


# x in [0, 1) is the completed share of the cooldown; each function returns the learning rate, with
# numpy or jax.numpy last. Exponential: this form never rounds to above the peak.
DECAYS: dict[str, Callable[[Any, Any, Any, Any, Any], Any]] = {
    "linear": lambda x, peak, end, power, xp: end + (peak - end) * (1.0 - x),
    "exponential": lambda x, peak, end, power, xp: peak * (end / peak) ** x,
    "1-sqrt": lambda x, peak, end, power, xp: end + (peak - end) * (1.0 - xp.sqrt(x)),
    "cosine": lambda x, peak, end, power, xp: end + 0.5 * (peak - end) * (1.0 + xp.cos(xp.pi * x)),
    "power": lambda x, peak, end, power, xp: end + (peak - end) * (1.0 - x) ** power,
}


def lr_after_warmup(values: Values, step: Any, xp: Any) -> Any:
    """Rates from the warm-up on; needs `decay_start`."""
    peak, end, steps, start = (values[key] for key in ("peak", "end", "steps", "decay_start"))
    power = 1.0 if values["power"] is None else values["power"]
    x = xp.clip((step - start) / (steps - start), 0.0, 1.0)
    return xp.where(step < start, peak, DECAYS[values["decay"]](x, peak, end, power, xp))


def build(values: Values) -> Array:
    """Learning rates of shape (steps,)."""
    end, decay, power = (values[key] for key in ("end", "decay", "power"))
    start = decay_start(values)
    if (power is None) == (decay == "power"):
        raise ScheduleError(
            "decay=power needs power=, e.g. power=1.5"
            if power is None
            else f"power={power:g} goes with decay=power, not with decay={decay}"
        )
    if decay == "exponential" and end == 0:
        raise ScheduleError("decay=exponential never reaches end=0; give an end above 0")
    return warm_up(values, lambda step: lr_after_warmup({**values, "decay_start": start}, step, np))


def _cooldown(decay: str) -> Callable[[Sequence[Any], SearchFrame, Any], dict[str, Any]]:
    def values(free: Sequence[Any], frame: SearchFrame, xp: Any) -> dict[str, Any]:
        lowest = frame.end_min
        if decay == "exponential":
            lowest = xp.maximum(lowest, 1e-4 * frame.peak)
        span = frame.steps - frame.warmup
        start = frame.steps - xp.maximum(1.0, xp.round(free[0] * span))
        # the square spends half of the box below a quarter of the peak, where optima lie
        decoded = {
            "end": xp.minimum(lowest + free[1] ** 2 * (frame.peak - lowest), frame.peak),
            "decay": decay,
            "decay_start": start,
        }
        if decay == "power":
            decoded["power"] = free[2]
        return decoded

    return values


WSD = Family(
    name="wsd",
    formula="peak, then from decay_start d, x = (t - d)/(T - d): linear end + (peak - end)(1 - x); "
    "exponential peak^(1-x)·end^x; 1-sqrt end + (peak - end)(1 - √x); "
    "cosine; power end + (peak - end)(1 - x)^power",
    citation="Hu et al. 2024, arXiv 2404.06395; cooldown shapes: Hägele et al. 2024, "
    "arXiv 2405.18392; power 1.5: Luo et al. 2025, arXiv 2503.12811",
    keys=(
        *COMMON_KEYS,
        END,
        Key("decay", choice(*DECAYS), "shape of the cooldown", default="linear"),
        Key("decay_start", count, "first step of the cooldown"),
        Key("decay_fraction", fraction, "cooldown steps over total steps"),
        Key("power", positive, "exponent of decay=power"),
    ),
    build=build,
    shapes=tuple(
        SearchBox(
            f"wsd {decay}",
            (0.02, 0.0) + ((0.5,) if decay == "power" else ()),
            (1.0, 1.0) + ((4.0,) if decay == "power" else ()),
            _cooldown(decay),
        )
        for decay in DECAYS
    ),
    lr_after_warmup=lr_after_warmup,
    breakpoints=lambda values: (values["decay_start"],),
)
