"""Infinite schedule (Ibrahim et al. 2024): cooldown to a constant rate, then optional annealing.

A run can be stopped or continued from any step of the constant phase.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import ScheduleError
from scaling_laws.models.schedules.family import (
    COMMON_KEYS,
    Family,
    Key,
    Values,
    choice,
    count,
    positive,
    warm_up,
)

__all__ = ["INFINITE"]


def build(values: Values) -> NDArray[np.float64]:
    """Learning rates of shape (steps,)."""
    peak, constant_lr, end, steps, warmup = (
        values[key] for key in ("peak", "constant_lr", "end", "steps", "warmup")
    )
    cooled, start = warmup + values["cooldown"], values["anneal_start"]
    start = steps if start is None else start
    if not end <= constant_lr <= peak:
        raise ScheduleError(
            f"end={end:g} <= constant_lr={constant_lr:g} <= peak={peak:g} is required"
        )
    if not warmup < cooled <= start <= steps:
        raise ScheduleError(
            f"the cooldown ends at step {cooled} and the annealing starts at {start}: they must "
            f"be in this order between warmup={warmup} and steps={steps}"
        )

    def lr_after_warmup(step: NDArray[np.float64]) -> NDArray[np.float64]:
        x = np.clip((step - warmup) / (cooled - warmup), 0.0, 1.0)
        if values["shape"] == "cosine":
            rate = constant_lr + 0.5 * (peak - constant_lr) * (1.0 + np.cos(np.pi * x))
        else:  # inverse square root of time, scaled to meet the constant rate
            rate = peak / np.sqrt(1.0 + ((peak / constant_lr) ** 2 - 1.0) * x)
        annealed = constant_lr * (end / constant_lr) ** ((step - start) / max(steps - start, 1))
        return np.asarray(np.where(step >= start, annealed, rate))

    return warm_up(values, lr_after_warmup)


INFINITE = Family(
    name="infinite",
    formula="cooldown from peak to constant_lr, constant, then constant_lr·(end/constant_lr)^x",
    citation="Ibrahim et al. 2024, arXiv 2403.08763",
    keys=(
        *COMMON_KEYS,
        Key("constant_lr", positive, "rate of the constant phase", required=True),
        Key("cooldown", count, "steps from the peak to it", required=True),
        Key("shape", choice("cosine", "inverse_sqrt"), "of the cooldown", default="cosine"),
        Key("anneal_start", count, "first step of the annealing; default none"),
        Key("end", positive, "learning rate at step `steps`, > 0", required=True),
    ),
    build=build,
)
