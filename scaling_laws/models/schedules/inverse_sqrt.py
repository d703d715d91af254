"""Inverse square root decay (Vaswani et al. 2017): has no end, so a run can always be continued."""

from __future__ import annotations

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
    positive,
    warm_up,
)

__all__ = ["INVERSE_SQRT"]


def lr_after_warmup(values: Values, step: Any, xp: Any) -> Any:
    """Rates from the warm-up on."""
    return values["peak"] / xp.sqrt(1.0 + (step - values["warmup"]) / values["timescale"])


def build(values: Values) -> NDArray[np.float64]:
    """Learning rates of shape (steps,)."""
    timescale = values["timescale"] or float(values["warmup"])
    if timescale == 0:
        raise ScheduleError(
            "without a warm-up, give timescale=STEPS: it determines how fast the rate falls"
        )
    return warm_up(
        values, lambda step: lr_after_warmup({**values, "timescale": timescale}, step, np)
    )


def _values(free: Sequence[Any], frame: SearchFrame, xp: Any) -> dict[str, Any]:
    span, ratio = frame.steps - frame.warmup, frame.end_min / frame.peak
    # the shortest timescale whose last rate is still the lowest allowed one
    shortest = span * ratio**2 / (1.0 - ratio**2)
    # a little longer than that: the rounding of a spec must not undercut it
    return {"timescale": xp.maximum(span * 10.0 ** free[0], 1.001 * shortest)}


INVERSE_SQRT = Family(
    name="inverse_sqrt",
    formula="peak·sqrt(timescale/(timescale + t - W))",
    citation="Vaswani et al. 2017, arXiv 1706.03762 (timescale = W)",
    keys=(
        *COMMON_KEYS,
        Key("timescale", positive, "steps until the rate is peak/√2; default warmup"),
    ),
    build=build,
    shapes=(SearchBox("inverse_sqrt", (-4.0,), (2.0,), _values),),
    lr_after_warmup=lr_after_warmup,
)
