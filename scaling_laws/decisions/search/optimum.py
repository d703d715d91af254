"""What a search returns."""

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


@dataclass(frozen=True, eq=False, repr=False)
class Optimum:
    """The result of a search.

    Attributes:
        schedule: the best schedule found; its spec is ``free form`` or the spec of a family.
        final_loss: its predicted final loss, in nats.
        objective: what was minimised, in words.
        value: of the objective.
        baselines: predicted final losses of common schedules, by spec.
        baseline_values: values of the objective for them.
        broken: which constraint a baseline violates, in words, for those that do.
        gains: by how much its final loss is below each of theirs, with intervals.
        family: the best member of the families that is smooth; see `smoothing_sensitivity`.
        fragile: schedules with a lower objective that were rejected, because a short moving
            average removes their advantage: an artefact of the law.
        horizons: predicted loss of the schedule at each step count that was asked for.
        weight_decay: the weight decay of each step that was found with it, or None: (steps,).
        smoothing_sensitivity: change of the final loss under a short moving average of the
            schedule, in nats.
        start_objectives: objective that each start of the gradient search reached, best first.
        frank_wolfe_gap: Frank-Wolfe gap where the gradient search ended, in nats; 0 at a stationary
            point.
        distance: how far the schedule lies outside the fitted range; see `range_distance`.
        notes: where it leaves the range of the fit, and what else to know.
        seconds: wall time.
        uncertainty: of the law, if it was measured.
        exposure: what makes the final loss more or less certain.
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
    def starts_at_best(self) -> int:
        """How many starts of the gradient search ended within 1e-5 nats of the best."""
        return sum(each <= self.start_objectives[0] + 1e-5 for each in self.start_objectives)

    def _decay_ends(self) -> dict[str, float] | None:
        row = self.weight_decay
        if row is None:
            return None
        ends = {"first": row[0], "lowest": row.min(), "highest": row.max(), "last": row[-1]}
        return {name: float(value) for name, value in ends.items()}

    def as_json(self) -> dict[str, Any]:
        """The optimum as the keys of the interface."""
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
            "family": {"spec": self.family.schedule.spec, "final_loss": self.family.final_loss},
            "family_value": self.family.value,
            "passed_over": {each.schedule.spec: each.final_loss for each in self.fragile},
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
