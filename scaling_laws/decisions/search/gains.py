"""What one schedule gains on another, and how sure that is.

The errors of a law at the ends of two schedules go together: both rest on the same parameters, and
what the law gets wrong of one it mostly gets wrong of the other. So the interval of a difference is
not that of two losses. The spread over the draws is that of the difference, draw by draw; the law's
own error counts with the share that two schedules do not have in common,

    own² = scale_a² + scale_b² - 2·ρ·scale_a·scale_b,   ρ = max(0, 1 - distance/0.3)

with the mean distance of their rates as a share of the peak. Final errors of held-out runs of six
sets, in pairs, are correlated like that: 0.8 up to 0.15, 0.4 up to 0.3 and not beyond, for the
Multi-Power Law; less for the norm clock, whose errors are near the noise (docs/log.md).
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
REACH = 0.3  # distance of two schedules, as a share of the peak, at which errors share nothing


@dataclass(frozen=True)
class Gain:
    """What a schedule gains on a baseline.

    Attributes:
        gain: predicted loss of the baseline less that of the schedule, in nats.
        interval_90: 90 % interval of that, or None if the law has no uncertainty.
    """

    gain: float
    interval_90: tuple[float, float] | None

    @property
    def distinguishable(self) -> bool | None:
        """Whether the interval leaves 0 out; None without one."""
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
    """What a schedule gains on others, by their specs.

    Args:
        fitted: the law.
        best: the schedule.
        baselines: the others.
        facts: numbers known of the runs.
        decay: weight decay of the schedule at every step, where it is not the fact.
    """
    gain = {each.schedule.spec: each.final_loss - best.final_loss for each in baselines}
    uncertainty = fitted.uncertainty
    if uncertainty is None:
        return {spec: Gain(value, None) for spec, value in gain.items()}
    traces = {} if decay is None else {"weight_decay": decay}
    own = _ends(fitted, best.schedule, facts, traces)
    first = _scale(uncertainty, best.schedule)
    gains = {}
    for each in baselines:
        rows = _ends(fitted, each.schedule, facts, {}) - own
        spread = float(robust_sd(rows[:, None])[0])
        second = _scale(uncertainty, each.schedule)
        shared = shared_error(best.schedule.lr, each.schedule.lr)
        error = first**2 + second**2 - 2.0 * shared * first * second
        half = uncertainty.final_90 * float(np.sqrt(error + spread**2)) * best.final_loss
        value = gain[each.schedule.spec]
        gains[each.schedule.spec] = Gain(value, (value - half, value + half))
    return gains


def shared_error(lr: Array, other: Array) -> float:
    """Correlation of the law's own errors at the ends of two schedules, (steps,) each."""
    distance = float(np.abs(lr - other).mean()) / float(lr.max())
    return max(0.0, 1.0 - distance / REACH)


def _scale(uncertainty: Uncertainty, plan: Schedule) -> float:
    """The law's own error in log loss at the end of a schedule."""
    return float(uncertainty.scale(VarianceInputs.of(plan.lr, np.array([plan.steps - 1])))[0])


def _ends(
    fitted: CurveFit, plan: Schedule, facts: Mapping[str, float], traces: Mapping[str, Array]
) -> Array:
    """Log final losses under the draws: (draws,)."""
    if not fitted.draw_count:
        return np.zeros(1)
    law, last = fitted.law, np.array([plan.steps - 1])
    return drawn_log_losses(law, fitted.draws, plan.lr, last, facts, traces)[:, 0]
