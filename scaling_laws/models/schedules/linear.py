"""Linear decay from the end of the warm-up; to zero it is D2Z (Bergsma et al. 2025)."""

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

__all__ = ["LINEAR"]


def lr_after_warmup(values: Values, step: Any, xp: Any) -> Any:
    """Rates from the warm-up on."""
    peak, end, steps, warmup = (values[key] for key in ("peak", "end", "steps", "warmup"))
    return end + (peak - end) * ((steps - step) / (steps - warmup))


LINEAR = Family(
    name="linear",
    formula="end + (peak - end)·(T - t)/(T - W)",
    citation="Bergsma et al. 2025, arXiv 2502.15938 (D2Z: end = 0)",
    keys=(*COMMON_KEYS, END),
    build=with_warmup(lr_after_warmup),
    shapes=(SearchBox("linear", (0.0,), (1.0,), end_between),),
    lr_after_warmup=lr_after_warmup,
)
