"""Power decay over the whole run after warm-up: linear at power 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scaling_laws.models.schedules.family import (
    COMMON_KEYS,
    END,
    Family,
    Key,
    SearchBox,
    SearchFrame,
    Values,
    positive,
    with_warmup,
)

__all__ = ["POWER_DECAY"]


def lr_after_warmup(values: Values, step: Any, xp: Any) -> Any:
    """Rates from the warm-up on."""
    peak, end, steps, warmup = (values[key] for key in ("peak", "end", "steps", "warmup"))
    return end + (peak - end) * ((steps - step) / (steps - warmup)) ** values["power"]


def _values(free: Sequence[Any], frame: SearchFrame, xp: Any) -> dict[str, Any]:
    return {"end": frame.end_min, "power": free[0]}


POWER_DECAY = Family(
    name="power",
    formula="end + (peak - end)·((T - t)/(T - W))^power",
    citation="Li et al. 2026, arXiv 2602.06797 (power = 2β - 1)",
    keys=(*COMMON_KEYS, END, Key("power", positive, "exponent; 1 is linear", required=True)),
    build=with_warmup(lr_after_warmup),
    shapes=(SearchBox("power", (0.05,), (4.0,), _values),),
    lr_after_warmup=lr_after_warmup,
)
