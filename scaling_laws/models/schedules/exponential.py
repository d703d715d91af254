"""Exponential decay over the whole run after warm-up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scaling_laws.models.schedules.family import (
    COMMON_KEYS,
    Family,
    Key,
    SearchBox,
    SearchFrame,
    Values,
    positive,
    with_warmup,
)

__all__ = ["EXPONENTIAL"]


def lr_after_warmup(values: Values, step: Any, xp: Any) -> Any:
    """Rates from the warm-up on."""
    peak, end, steps, warmup = (values[key] for key in ("peak", "end", "steps", "warmup"))
    return peak * (end / peak) ** ((step - warmup) / (steps - warmup))


def _values(free: Sequence[Any], frame: SearchFrame, xp: Any) -> dict[str, Any]:
    lowest = xp.maximum(frame.end_min, 1e-4 * frame.peak)
    return {"end": xp.minimum(lowest * (frame.peak / lowest) ** free[0], frame.peak)}


EXPONENTIAL = Family(
    name="exponential",
    formula="peak·(end/peak)^((t - W)/(T - W))",
    citation="standard",
    keys=(*COMMON_KEYS, Key("end", positive, "learning rate at step `steps`, > 0", required=True)),
    build=with_warmup(lr_after_warmup),
    shapes=(SearchBox("exponential", (0.0,), (1.0,), _values),),
    lr_after_warmup=lr_after_warmup,
)
