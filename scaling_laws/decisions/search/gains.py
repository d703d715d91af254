"""The predicted gain of one schedule over another, with an interval.

The errors of a law at the ends of two schedules are correlated: both depend on the same parameters,
and most of the law's error is common to similar schedules. The parameter variance is therefore that
of the difference, draw by draw, and the law's errors are correlated by ρ:

    law² = scale_a² + scale_b² - 2·ρ·scale_a·scale_b,   ρ = max(0, 1 - distance/0.3)

with the mean absolute difference of the rates, as a share of the peak, as the distance. This
describes the final errors of pairs of held-out runs in six data sets: for the Multi-Power Law the
correlation is 0.8 up to a distance of 0.15, 0.4 up to 0.3 and zero beyond; it is lower for the norm
clock, whose errors are close to the noise (docs/log.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_laws.decisions.search.evaluator import ScoredSchedule
from scaling_laws.inference import (
    CurveFit,
    Uncertainty,
    VarianceInputs,
    drawn_log_losses,
    robust_sd,
)
from scaling_laws.models import Schedule

__all__ = ["Gain", "gains_on", "shared_error"]

Array = NDArray[np.float64]
UNCORRELATED_DISTANCE = 0.3  # as a share of the peak: the law's errors are independent from here


@dataclass(frozen=True)
class Gain:
    """The gain of a schedule over a baseline.

    Attributes:
        gain: predicted loss of the baseline minus that of the schedule, in nats.
        interval_90: 90 % interval of `gain`, or None if the law has no uncertainty.
    """

    gain: float
    interval_90: tuple[float, float] | None

    @property
    def distinguishable(self) -> bool | None:
        """Whether the interval excludes 0; None without one."""
        return None if self.interval_90 is None else self.interval_90[0] > 0

    def as_json(self) -> dict[str, Any]:
        """The gain as a JSON-able mapping."""
        return {
            "gain": self.gain,
            "interval_90": self.interval_90,
            "distinguishable": self.distinguishable,
        }


def gains_on(
    fitted: CurveFit,
    best: ScoredSchedule,
    baselines: Sequence[ScoredSchedule],
    facts: Mapping[str, float],
    decay: Array | None = None,
) -> dict[str, Gain]:
    """The gains of a schedule over baselines, by their specs.

    Args:
        fitted: the law.
        best: the schedule.
        baselines: the schedules that it is compared with.
        facts: known facts of the runs.
        decay: weight decay of the schedule per step, if it differs from the fact: (steps,).
    """
    gain_of = {scored.schedule.spec: scored.final_loss - best.final_loss for scored in baselines}
    uncertainty = fitted.uncertainty
    if uncertainty is None:
        return {spec: Gain(gain, None) for spec, gain in gain_of.items()}
    traces = {} if decay is None else {"weight_decay": decay}
    best_log_losses = _log_final_losses(fitted, best.schedule, facts, traces)
    first = _law_error(uncertainty, best.schedule)
    gains = {}
    for baseline in baselines:
        plan = baseline.schedule
        differences = _log_final_losses(fitted, plan, facts, {}) - best_log_losses
        parameter_sd = float(robust_sd(differences[:, None])[0])
        second = _law_error(uncertainty, plan)
        shared = shared_error(best.schedule.lr, plan.lr)
        law_variance = first**2 + second**2 - 2.0 * shared * first * second
        sd = float(np.sqrt(law_variance + parameter_sd**2))
        half_width, gain = uncertainty.final_90 * sd * best.final_loss, gain_of[plan.spec]
        gains[plan.spec] = Gain(gain, (gain - half_width, gain + half_width))
    return gains


def shared_error(lr: Array, other: Array) -> float:
    """Correlation of the law's errors at the ends of two schedules, both (steps,)."""
    distance = float(np.abs(lr - other).mean()) / float(lr.max())
    return max(0.0, 1.0 - distance / UNCORRELATED_DISTANCE)


def _law_error(uncertainty: Uncertainty, plan: Schedule) -> float:
    """The law's error in log loss at the end of a schedule."""
    return float(uncertainty.scale(VarianceInputs.of(plan.lr, np.array([plan.steps - 1])))[0])


def _log_final_losses(
    fitted: CurveFit, plan: Schedule, facts: Mapping[str, float], traces: Mapping[str, Array]
) -> Array:
    """Log final losses under the draws: (draws,)."""
    if not fitted.draw_count:
        return np.zeros(1)
    law, last = fitted.law, np.array([plan.steps - 1])
    return drawn_log_losses(law, fitted.draws, plan.lr, last, facts, traces)[:, 0]
