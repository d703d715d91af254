"""PowerCool (modded-nanogpt): the peak, then a cooldown by a power of the remaining steps.

The README of modded-nanogpt writes min(peak, c·(T - t)^1.2). Here the first step of the cooldown is
a key instead of c, which follows from it: the two curves meet there. `end` above 0 is an addition.
With the same power and start it equals `wsd` with decay=power; it is a separate family because its
power has a default.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scaling_laws.models.schedules.family import (
    COMMON_KEYS,
    END,
    Family,
    Key,
    Values,
    count,
    decay_start,
    fraction,
    positive,
    warm_up,
)

__all__ = ["POWER_COOL"]


def build(values: Values) -> NDArray[np.float64]:
    """Learning rates of shape (steps,)."""
    peak, end, steps = (values[key] for key in ("peak", "end", "steps"))
    start = decay_start(values)

    def lr_after_warmup(step: NDArray[np.float64]) -> NDArray[np.float64]:
        # above 1 before the start, where the peak is lower
        remaining = (steps - step) / (steps - start)
        return np.asarray(np.minimum(peak, end + (peak - end) * remaining ** values["power"]))

    return warm_up(values, lr_after_warmup)


POWER_COOL = Family(
    name="power_cool",
    formula="min(peak, end + c·(T - t)^power), c = (peak - end)/(T - d)^power, d = decay_start",
    citation="Jordan et al. 2024, github.com/KellerJordan/modded-nanogpt (README)",
    keys=(
        *COMMON_KEYS,
        END,
        Key("decay_start", count, "first step of the cooldown"),
        Key("decay_fraction", fraction, "cooldown steps over total steps"),
        Key("power", positive, "exponent of the remaining steps", default=1.2),
    ),
    build=build,
)
