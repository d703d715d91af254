"""REX (Chen et al. 2021): slow decay at first, then increasingly fast."""

from __future__ import annotations

from typing import Any

from scaling_laws.models.schedules.family import (
    COMMON_KEYS,
    END,
    Family,
    SearchBox,
    Values,
    end_between,
    with_warmup,
)

__all__ = ["REX"]


def lr_after_warmup(values: Values, step: Any, xp: Any) -> Any:
    """Rates from the warm-up on."""
    peak, end, steps, warmup = (values[key] for key in ("peak", "end", "steps", "warmup"))
    remaining = (steps - step) / (steps - warmup)
    return end + (peak - end) * (remaining / (0.5 + 0.5 * remaining))


REX = Family(
    name="rex",
    formula="end + (peak - end)·(1 - z)/(1/2 + (1 - z)/2), z = (t - W)/(T - W)",
    citation="Chen et al. 2021, arXiv 2107.04197",
    keys=(*COMMON_KEYS, END),
    build=with_warmup(lr_after_warmup),
    shapes=(SearchBox("rex", (0.0,), (1.0,), end_between),),
    lr_after_warmup=lr_after_warmup,
)
