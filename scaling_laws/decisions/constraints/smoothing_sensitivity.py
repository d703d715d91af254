"""How sensitive a predicted loss is to slight smoothing of the schedule."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_SMOOTHING_SENSITIVITY", "smoothing_sensitivity"]

Array = NDArray[np.float64]
MAX_SMOOTHING_SENSITIVITY = 1e-4  # nats


def smoothing_sensitivity(
    final_loss: Callable[[Array], float], lr: Array, first_step: int
) -> float:
    """Change of the predicted final loss under a moving average, in nats.

    The window is 101 steps at 20,000 steps and more, 0.5 % of shorter runs, and at least 3 steps. A
    law is a smooth approximation: a gain that so small a change removes is not in the data.

    Args:
        final_loss: learning rates (steps,) -> nats.
        lr: the schedule: (steps,).
        first_step: first step that is averaged.
    """
    half = max(1, min(50, len(lr) // 400))
    after = np.pad(lr[first_step:], half, mode="edge")
    sums = np.concatenate([[0.0], np.cumsum(after)])
    smooth = (sums[2 * half + 1 :] - sums[: -2 * half - 1]) / (2 * half + 1)
    smooth = np.clip(smooth, 0.0, after.max())  # sums of rates carry rounding
    averaged = np.concatenate([lr[:first_step], smooth])
    return abs(final_loss(averaged) - final_loss(lr))
