"""One cycle (Smith and Topin 2018), with the steps and defaults of PyTorch's `OneCycleLR`.

Cosine up from `start` to the peak, cosine down to `end`, which the last step reaches: the one
family here that reaches `end` within the run.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import ScheduleError
from scaling_laws.models.schedules.family import (
    PEAK,
    STEPS,
    Family,
    Key,
    Values,
    fraction,
    positive,
)

__all__ = ["ONE_CYCLE"]


def build(values: Values) -> NDArray[np.float64]:
    """Learning rates of shape (steps,)."""
    peak, steps, rise = (values[key] for key in ("peak", "steps", "rise_fraction"))
    start = peak / 25.0 if values["start"] is None else values["start"]
    end = start / 1e4 if values["end"] is None else values["end"]
    if steps < 3:
        raise ScheduleError(f"steps={steps}: one cycle needs at least 3")
    if max(start, end) > peak:
        raise ScheduleError(f"start={start:g} and end={end:g} must not be above peak={peak:g}")
    top = rise * steps - 1.0
    step = np.arange(steps, dtype=np.float64)
    if top <= 0:
        raise ScheduleError(f"rise_fraction={rise:g} leaves no step for the rise")
    up = np.clip(step / top, 0.0, 1.0)
    down = np.clip((step - top) / (steps - 1.0 - top), 0.0, 1.0)
    rising = peak + 0.5 * (start - peak) * (1.0 + np.cos(np.pi * up))
    falling = end + 0.5 * (peak - end) * (1.0 + np.cos(np.pi * down))
    return np.asarray(np.where(step <= top, rising, falling))


ONE_CYCLE = Family(
    name="one_cycle",
    formula="cosine from start up to peak at rise_fraction·T - 1, then cosine down to end at T - 1",
    citation="Smith & Topin 2018, arXiv 1708.07120",
    keys=(
        PEAK,
        STEPS,
        Key("rise_fraction", fraction, "share of the steps that rise", default=0.3),
        Key("start", positive, "first learning rate; default peak/25"),
        Key("end", positive, "last learning rate; default start/10000"),
    ),
    build=build,
)
