"""Constant learning rate after warm-up."""

from __future__ import annotations

from typing import Any

from scaling_laws.models.schedules.family import COMMON_KEYS, Family, SearchBox, Values, with_warmup

__all__ = ["CONSTANT"]


def lr_after_warmup(values: Values, step: Any, xp: Any) -> Any:
    """Rates from the warm-up on."""
    return values["peak"] * xp.ones_like(step)


CONSTANT = Family(
    name="constant",
    formula="peak",
    citation="standard",
    keys=COMMON_KEYS,
    build=with_warmup(lr_after_warmup),
    shapes=(SearchBox("constant", (), (), lambda free, frame, xp: {}),),
    lr_after_warmup=lr_after_warmup,
)
