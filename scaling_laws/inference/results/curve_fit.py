"""Fits of laws of schedules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import ExtrapolationWarning, LawError, warn
from scaling_laws.data import Run
from scaling_laws.inference.results.evaluation import (
    Evaluation,
    evaluate_curves,
    points_of_runs,
)
from scaling_laws.inference.results.fit_result import FitResult, published_params
from scaling_laws.inference.results.prediction import (
    Prediction,
    needs_inputs,
    predict,
    range_notes,
)
from scaling_laws.inference.results.ranges import Range
from scaling_laws.models import Law, Schedule, get_schedule_law

__all__ = ["CurveFit"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class CurveFit(FitResult[Law, Range]):
    """A law of schedules with its parameters, and how far they can be trusted.

    >>> CurveFit.of("power", {"L0": 2.0, "A": 0.5, "alpha": 0.5})
    CurveFit(power: L0=2, A=0.5, alpha=0.5; parameters given)
    """

    def __post_init__(self) -> None:
        if not isinstance(self.law, Law):
            raise LawError(needs_inputs(self.law))
        super().__post_init__()

    @classmethod
    def of(cls, law: str | Law, params: Mapping[str, float]) -> CurveFit:
        """A law of schedules, or its name, with given parameters.

        Raises:
            LawError: if the law is unknown or tabular, or a parameter is missing or out of range.
        """
        return cls(get_schedule_law(law) if isinstance(law, str) else law, params)

    @classmethod
    def published(cls, law: str | Law, label: str) -> CurveFit:
        """A law of schedules, or its name, with parameters from the literature.

        Args:
            law: the law.
            label: one of `LAW.published`.

        Raises:
            LawError: if the law is unknown or tabular, or has no such parameters.
        """
        chosen = get_schedule_law(law) if isinstance(law, str) else law
        return cls(chosen, published_params(chosen, label))

    def predict(
        self,
        schedule: Schedule | str,
        steps: Sequence[int] | NDArray[np.int64] | None = None,
        *,
        facts: Mapping[str, float] | None = None,
        traces: Mapping[str, Array] | None = None,
    ) -> Prediction:
        """The loss under a schedule.

        Issues an ExtrapolationWarning where the schedule or a fact leaves what the fitted runs
        covered; the prediction's `notes` contain the same.

        Args:
            schedule: a schedule or its spec.
            steps: 0-based steps to predict, in increasing order; default every step.
            facts: numbers of the run that override those of the fit, such as
                ``{"model_params": 1e8}``.
            traces: quantities at every step that some laws need, each (steps of the schedule,).

        Returns:
            Losses in nats; the entry for step s is the loss after updates 0..s.

        Raises:
            ScheduleError: if the spec is malformed, every rate is 0, or a step lies outside.
            UsageError: if a fact is unknown or too small.
            LawError: if the law needs a fact or a trace that is missing.
        """
        prediction = predict(self, schedule, steps, facts=facts, traces=traces)
        if prediction.notes:
            spec, notes = prediction.schedule.spec, "; ".join(prediction.notes)
            warn(f"{spec}: this prediction extrapolates: {notes}", ExtrapolationWarning)
        return prediction

    def range_notes(self, schedule: Schedule, facts: Mapping[str, float]) -> tuple[str, ...]:
        """In words, where a schedule and facts leave what the fitted runs covered."""
        return range_notes(self, schedule, facts)

    def evaluate(
        self, runs: Iterable[Run] | Mapping[str, Run], *, from_step: int | str = 0
    ) -> Evaluation:
        """Compare predicted with logged losses.

        Args:
            runs: the runs, or a mapping to them.
            from_step: omit points before this step, or before ``"warmup"`` ends.

        Returns:
            Metrics by run, and their means.

        Raises:
            UsageError: if there are no runs, or `from_step` leaves one empty.
            LawError: if the law needs a fact or trace that a run lacks.
        """
        return evaluate_curves(self, runs, from_step)

    def with_points(
        self, runs: Iterable[Run] | Mapping[str, Run], *, from_step: int | str | None = None
    ) -> CurveFit:
        """The same fit with `observed`, `fittedvalues` and `resid` of some runs.

        Args:
            runs: the runs, or a mapping to them.
            from_step: omit points before this step; default as in the fit.

        Raises:
            UsageError, LawError: as `evaluate`.
        """
        if from_step is None:
            from_step = 0 if self.record is None else self.record.from_step
        return replace(self, points=points_of_runs(self, runs, from_step))
