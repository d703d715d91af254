"""Power scheduler (Shen et al. 2024): a power of the tokens so far, independent of the length.

The rate is min(peak, batch_size·amplitude·n^exponent), with n = (t + 1)·tokens_per_step the number
of tokens after update t. The warm-up rises to the rate at its end, and the optional final decay
falls exponentially from the rate at its start to `end`.

Not checked against the paper's text: the factor batch_size and its unit, the defaults, and that the
decay is exponential. The batch is counted in sequences: counted in tokens, with 4e6 of them, the
rate would stay at the default peak for 3e17 tokens (with 1024 sequences it is for 26e9). Give
batch_size=tokens_per_step for the other interpretation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import ScheduleError
from scaling_laws.models.schedules.family import (
    COMMON_KEYS,
    PEAK,
    Family,
    Key,
    Values,
    count,
    decay_start,
    fraction,
    negative,
    positive,
    warm_up,
)

__all__ = ["POWER_SCHEDULER"]


def build(values: Values) -> NDArray[np.float64]:
    """Learning rates of shape (steps,)."""
    peak, end, steps = (values[key] for key in ("peak", "end", "steps"))
    decays = values["decay_start"] is not None or values["decay_fraction"] is not None
    if decays != (end is not None):
        raise ScheduleError(
            "a final decay needs end=, the learning rate it reaches, above 0"
            if decays
            else f"end={end:g} needs a final decay: give decay_fraction=SHARE or decay_start=STEP"
        )
    start = decay_start(values) if decays else steps

    def power(step: NDArray[np.float64]) -> NDArray[np.float64]:
        scale = values["batch_size"] * values["amplitude"]
        with np.errstate(over="ignore", invalid="ignore"):  # Schedule rejects non-finite rates
            tokens = (step + 1.0) * values["tokens_per_step"]
            return np.asarray(np.minimum(peak, scale * tokens ** values["exponent"]))

    def lr_after_warmup(step: NDArray[np.float64]) -> NDArray[np.float64]:
        if not decays:
            return power(step)
        start_rate = float(power(np.array([start], dtype=np.float64))[0])
        if end > start_rate:
            raise ScheduleError(f"end={end:g} is above {start_rate:g}, the rate at step {start}")
        x = np.clip((step - start) / (steps - start), 0.0, 1.0)
        return np.asarray(np.where(step < start, power(step), start_rate * (end / start_rate) ** x))

    # `end` is compared with the rate where the decay starts; warm_up would compare None
    return warm_up({**values, "end": 0.0}, lr_after_warmup, to_peak=False)


POWER_SCHEDULER = Family(
    name="power_scheduler",
    formula="min(peak, batch_size·amplitude·n^exponent), n = (t + 1)·tokens_per_step; "
    "from decay_start d on r·(end/r)^((t - d)/(T - d)), r the rate at d",
    citation="Shen et al. 2024, arXiv 2408.13359 (batch factor unchecked)",
    keys=(
        Key(PEAK.name, PEAK.convert, "highest learning rate that is allowed", default=0.02),
        *(key for key in COMMON_KEYS if key is not PEAK),
        Key("tokens_per_step", positive, "tokens in a batch", required=True),
        Key("batch_size", positive, "sequences in a batch", required=True),
        Key("amplitude", positive, "a of the paper", default=4.0),
        Key("exponent", negative, "b of the paper, < 0", default=-0.51),
        Key("decay_start", count, "first step of the final decay; default no decay"),
        Key("decay_fraction", fraction, "steps of the final decay over total steps"),
        Key("end", positive, "learning rate at step `steps`, > 0, of the final decay"),
    ),
    build=build,
)
