"""Unified budget-aware schedule (2025): from a flat rate over cosine to a fast decay by one number.

The formula is written from its known limits (phi = 2 is cosine, phi -> 0 flat, large phi a fast
decay), not checked against the paper's text.
"""

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

__all__ = ["UBA"]


def lr_after_warmup(values: Values, step: Any, xp: Any) -> Any:
    """Rates from the warm-up on."""
    peak, end, steps, warmup, phi = (
        values[key] for key in ("peak", "end", "steps", "warmup", "phi")
    )
    bow = 1.0 + xp.cos(xp.pi * (step - warmup) / (steps - warmup))
    return end + (peak - end) * (2.0 * bow / (2.0 * phi + (2.0 - phi) * bow))


def _values(free: Sequence[Any], frame: SearchFrame, xp: Any) -> dict[str, Any]:
    return {"end": frame.end_min, "phi": 10.0 ** free[0]}


UBA = Family(
    name="uba",
    formula="end + (peak - end)·2c/(2phi + (2 - phi)c), c = 1 + cos(π(t - W)/(T - W))",
    citation="UBA 2025, arXiv 2505.24452 (from its limits)",
    keys=(*COMMON_KEYS, END, Key("phi", positive, "2 is cosine; lower is flatter", required=True)),
    build=with_warmup(lr_after_warmup),
    shapes=(SearchBox("uba", (-3.0,), (1.0,), _values),),
    lr_after_warmup=lr_after_warmup,
)
