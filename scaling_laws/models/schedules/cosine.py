"""Cosine decay (Loshchilov and Hutter 2017, arXiv 1608.03983, one cycle)."""

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

__all__ = ["COSINE"]


def lr_after_warmup(values: Values, step: Any, xp: Any) -> Any:
    """Rates from the warm-up on."""
    peak, end, steps, warmup = (values[key] for key in ("peak", "end", "steps", "warmup"))
    return end + 0.5 * (peak - end) * (1.0 + xp.cos(xp.pi * (step - warmup) / (steps - warmup)))


COSINE = Family(
    name="cosine",
    formula="end + (peak - end)·(1 + cos(π(t - W)/(T - W)))/2",
    citation="Loshchilov & Hutter 2017, arXiv 1608.03983",
    keys=(*COMMON_KEYS, END),
    build=with_warmup(lr_after_warmup),
    shapes=(SearchBox("cosine", (0.0,), (1.0,), end_between),),
    lr_after_warmup=lr_after_warmup,
)
