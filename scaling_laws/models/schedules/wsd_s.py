"""WSD-S (Wen et al. 2024): several decays on one main branch, each resumed at the peak.

Every checkpoint in `decay_ends` is a finished model; training continues from it, not from before
its decay. Within a decay the inverse of the rate is linear.
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
    count,
    fraction,
    positive,
    row_of,
    warm_up,
)

__all__ = ["WSD_S"]


def build(values: Values) -> NDArray[np.float64]:
    """Learning rates of shape (steps,)."""
    peak, low, steps, warmup = (values[key] for key in ("peak", "end", "steps", "warmup"))
    ends = values["decay_ends"]
    lengths = [max(1, round(end * values["decay_fraction"])) for end in ends]
    first_free_step = warmup
    for end, length in zip(ends, lengths, strict=True):
        if end - length < first_free_step:
            raise ScheduleError(
                f"the decay that ends at {end} starts at {end - length}, before step "
                f"{first_free_step}, where the previous one (or the warm-up) ends; "
                "choose ends further apart"
            )
        first_free_step = end
    if first_free_step > steps:
        raise ScheduleError(f"the last decay ends at {first_free_step}, beyond steps={steps}")

    def lr_after_warmup(step: NDArray[np.float64]) -> NDArray[np.float64]:
        rate = np.full(step.shape, peak)
        for end, length in zip(ends, lengths, strict=True):
            done = (step - (end - length)) / length
            x = np.clip(done, 0.0, 1.0)
            decayed = 1.0 / (x / low + (1.0 - x) / peak)
            rate = np.where((done >= 0) & (done < 1), decayed, rate)
        return np.asarray(np.minimum(rate, peak))

    return warm_up(values, lr_after_warmup)


WSD_S = Family(
    name="wsd_s",
    formula="peak; over the last decay_fraction·e steps before each e in decay_ends "
    "1/(x/end + (1 - x)/peak)",
    citation="Wen et al. 2024, arXiv 2410.05192",
    keys=(
        *COMMON_KEYS,
        Key("end", positive, "learning rate that a decay would reach at its end", required=True),
        Key(
            "decay_ends", row_of(count), "step just past each decay, separated by /", required=True
        ),
        Key("decay_fraction", fraction, "steps of a decay over the step it ends at", default=0.1),
    ),
    build=build,
)
