"""Sensitivity of a predicted final loss to smoothing of the schedule."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_ROUGHNESS", "roughness"]

Array = NDArray[np.float64]
MAX_ROUGHNESS = 1e-4  # nats


def roughness(final_loss: Callable[[Array], float], lr: Array, begin: int) -> float:
    """Absolute change of the predicted final loss under a moving average from step `begin` on.

    The window is 101 steps for schedules of at least 20,000 steps, half a percent of shorter ones,
    and at least 3 steps. A law is a smooth approximation: a gain that such a small change of the
    schedule removes is an artefact of the law.

    Args:
        final_loss: of a schedule's learning rates, in nats.
        lr: learning rates: (steps,).
        begin: first step that is smoothed.

    Returns:
        The change in nats.
    """
    half = max(1, min(50, len(lr) // 400))
    after = np.pad(lr[begin:], half, mode="edge")
    sums = np.concatenate([[0.0], np.cumsum(after)])
    smooth = (sums[2 * half + 1 :] - sums[: -2 * half - 1]) / (2 * half + 1)
    smooth = np.clip(smooth, 0.0, after.max())  # cumulative sums have rounding errors
    averaged = np.concatenate([lr[:begin], smooth])
    return abs(final_loss(averaged) - final_loss(lr))
