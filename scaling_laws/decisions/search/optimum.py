"""The result of a search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_laws.decisions.search.evaluator import ScoredSchedule
from scaling_laws.decisions.search.gains import Gain
from scaling_laws.inference import (
    Uncertainty,
    VarianceInputs,
    interval_of_end,
    interval_phrase,
)
from scaling_laws.models import Schedule

__all__ = ["Optimum"]

Array = NDArray[np.float64]
FINAL_LOSS = "final loss"
RESOLVED = 1e-3  # nats: a difference that a law can resolve, if its errors were not measured


@dataclass(frozen=True, eq=False, repr=False)
class Optimum:
    """The result of a search.

    Attributes:
        schedule: the best schedule found; its spec is ``free form`` or the spec of a family.
        final_loss: its predicted final loss, in nats.
        objective: what was minimised, in words.
        value: the objective of the schedule.
        baselines: predicted final losses of common schedules, by spec.
        baseline_values: values of the objective for them.
        broken: the constraint that a baseline violates, in words, for those that do.
        gains: gain over each baseline, with an interval.
        family: the best smooth member of the families; see `smoothing_sensitivity`.
        gain_over_family: gain over it in final loss, with an interval.
        fragile: schedules with a lower objective that were rejected, because a short moving
            average removes their advantage: an artefact of the law.
        horizons: predicted loss of the schedule per requested step count.
        weight_decay: the weight decay per step, if it was searched: (steps,); else None.
        smoothing_sensitivity: change of the final loss under a short moving average of the
            schedule, in nats.
        start_objectives: final objective per start of the gradient search, best first.
        frank_wolfe_gap: Frank-Wolfe gap at the end of the gradient search, in nats; 0 at a
            stationary point.
        distance: how far the schedule lies outside the fitted range; see `range_distance`.
        notes: where it leaves the range of the fit, and other caveats.
        seconds: wall time.
        uncertainty: of the law, if it was measured.
        exposure: inputs of the predictive variance of the final loss.
    """

    schedule: Schedule
    final_loss: float
    objective: str
    value: float
    baselines: Mapping[str, float]
    baseline_values: Mapping[str, float]
    broken: Mapping[str, str]
    gains: Mapping[str, Gain]
    family: ScoredSchedule
    gain_over_family: Gain
    fragile: tuple[ScoredSchedule, ...]
    horizons: Mapping[int, float]
    weight_decay: Array | None = field(repr=False)
    smoothing_sensitivity: float
    start_objectives: tuple[float, ...]
    frank_wolfe_gap: float
    distance: Mapping[str, float]
    notes: tuple[str, ...]
    seconds: float
    uncertainty: Uncertainty | None = None
    exposure: VarianceInputs | None = None

    def interval(self, level: float = 0.9) -> tuple[float, float] | None:
        """Interval for the final loss, or None if the law has no uncertainty."""
        if self.uncertainty is None:
            return None
        return interval_of_end(self.final_loss, self.uncertainty, level, self.exposure)

    def __repr__(self) -> str:
        return (
            f"Optimum({self.schedule.spec}: {self.schedule.steps} steps, final loss "
            f"{self.final_loss:.4f}{interval_phrase(self.interval())}; best baseline "
            f"{min(self.baselines.values()):.4f})"
        )

    @property
    def family_suffices(self) -> bool:
        """Whether a free form was found whose gain over the best family member is only noise."""
        measured = self.gain_over_family.distinguishable
        small = self.gain_over_family.gain < RESOLVED if measured is None else not measured
        searched_more = self.objective != FINAL_LOSS or self.weight_decay is not None
        return small and not searched_more and self.family.schedule.spec != self.schedule.spec

    @property
    def starts_at_best(self) -> int:
        """How many starts of the gradient search ended within 1e-5 nats of the best."""
        return sum(value <= self.start_objectives[0] + 1e-5 for value in self.start_objectives)

    def _decay_ends(self) -> dict[str, float] | None:
        decay = self.weight_decay
        if decay is None:
            return None
        return {
            "first": float(decay[0]),
            "lowest": float(decay.min()),
            "highest": float(decay.max()),
            "last": float(decay[-1]),
        }

    def as_json(self) -> dict[str, Any]:
        """The result as a JSON-able mapping."""
        return {
            "spec": self.schedule.spec,
            "final_loss": self.final_loss,
            "interval_90": self.interval(0.9),
            "objective": self.objective,
            "value": self.value,
            "baselines": dict(self.baselines),
            "baseline_values": dict(self.baseline_values),
            "broken": dict(self.broken),
            "gains": {spec: gain.as_json() for spec, gain in self.gains.items()},
            "family": {
                "spec": self.family.schedule.spec,
                "final_loss": self.family.final_loss,
                "gain_over_it": self.gain_over_family.as_json(),
                "suffices": self.family_suffices,
            },
            "family_value": self.family.value,
            "passed_over": {scored.schedule.spec: scored.final_loss for scored in self.fragile},
            "horizons": {str(steps): loss for steps, loss in self.horizons.items()},
            "weight_decay": self._decay_ends(),
            "roughness": self.smoothing_sensitivity,
            "starts": list(self.start_objectives),
            "starts_at_best": self.starts_at_best,
            "steepest_gain": self.frank_wolfe_gap,
            "distance": dict(self.distance),
            "notes": list(self.notes),
            "seconds": self.seconds,
        }
