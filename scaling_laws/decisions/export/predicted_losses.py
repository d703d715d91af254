"""Predicted final losses of an exported schedule and of native schedules near it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from scaling_laws.decisions.export.target import PredictedLosses
from scaling_laws.inference import CurveFit, final_losses
from scaling_laws.models import Schedule

__all__ = ["losses_of", "outlook_of"]

Array = NDArray[np.float64]


def outlook_of(law: CurveFit, plan: Schedule, facts: Mapping[str, float] | None) -> PredictedLosses:
    """Predicted final loss of a schedule, with its 90 % interval where the law has one.

    Raises:
        LawError: if the law does not take a schedule or needs a fact that is missing.
    """
    predicted = law.predict(plan, [plan.steps - 1], facts=facts)
    interval = None
    if predicted.uncertainty is not None:
        low, high = predicted.interval(0.9)
        interval = (float(low[-1]), float(high[-1]))
    return PredictedLosses(law.law.name, predicted.final_loss, interval)


def losses_of(law: CurveFit, plan: Schedule, lr: Array, facts: Mapping[str, float] | None) -> Array:
    """Predicted final losses of alternatives to `plan`: lr (schedules, steps) -> (schedules,)."""
    joined = {"transfer_step": float(plan.joins[0])} if plan.joins else {}
    return final_losses(law, lr, facts={**joined, **(facts or {})})
