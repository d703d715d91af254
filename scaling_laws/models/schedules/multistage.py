"""Piecewise constant learning rate: abrupt changes at given steps (DeepSeek, 8-1-1, two-stage)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import ScheduleError
from scaling_laws.models.schedules.family import (
    COMMON_KEYS,
    Family,
    Key,
    SearchBox,
    SearchFrame,
    Values,
    count,
    nonnegative,
    row_of,
    warm_up,
)

__all__ = ["MULTISTAGE"]


def lr_after_warmup(values: Values, step: Any, xp: Any) -> Any:
    """Rates from the warm-up on."""
    rate = values["peak"] * xp.ones_like(step)
    for start, level in zip(values["at"], values["to"], strict=True):
        rate = xp.where(step >= start, level, rate)
    return rate


def build(values: Values) -> NDArray[np.float64]:
    """Learning rates of shape (steps,)."""
    at, to = values["at"], values["to"]
    if len(at) != len(to):
        raise ScheduleError(
            f"at= has {len(at)} steps and to= has {len(to)} rates; give one rate per step"
        )
    if any(after <= before for before, after in itertools.pairwise(at)):
        raise ScheduleError(f"at={'/'.join(map(str, at))}: the steps must increase")
    if at[0] < values["warmup"] or at[-1] >= values["steps"]:
        raise ScheduleError(
            f"at={'/'.join(map(str, at))} must lie from warmup={values['warmup']} "
            f"to below steps={values['steps']}"
        )
    return warm_up(values, lambda step: lr_after_warmup(values, step, np))


def _two_drops(free: Sequence[Any], frame: SearchFrame, xp: Any) -> dict[str, Any]:
    """Two drops: the first at a share of the run, the second at a share of the remaining steps."""
    span = frame.steps - frame.warmup
    first_drop = xp.minimum(
        frame.warmup + xp.maximum(1.0, xp.round(free[0] * span)), frame.steps - 2.0
    )
    remaining = xp.maximum(1.0, xp.round(free[1] * (frame.steps - first_drop)))
    second_drop = xp.minimum(first_drop + remaining, frame.steps - 1.0)
    middle = frame.end_min + free[2] * (frame.peak - frame.end_min)
    last = frame.end_min + free[3] * (middle - frame.end_min)
    return {"at": (first_drop, second_drop), "to": (middle, last)}


MULTISTAGE = Family(
    name="multistage",
    formula="peak before at[0]; to[i] from step at[i] on",
    citation="DeepSeek LLM 2024, arXiv 2401.02954 (x0.316 at 80 %, x0.1 at 90 %)",
    keys=(
        *COMMON_KEYS,
        Key("at", row_of(count), "first step of each stage, separated by /", required=True),
        Key("to", row_of(nonnegative), "LR of each stage, separated by /", required=True),
    ),
    build=build,
    shapes=(
        SearchBox(
            "multistage, two drops", (0.1, 0.05, 0.0, 0.0), (0.98, 0.95, 1.0, 1.0), _two_drops
        ),
    ),
    lr_after_warmup=lr_after_warmup,
    breakpoints=lambda values: tuple(values["at"]),
)
