"""Fits of tabular laws: of model sizes, tokens or mixtures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from numpy.typing import ArrayLike

from scaling_laws.common import ExtrapolationWarning, LawError, warn
from scaling_laws.inference.results.evaluation import (
    Evaluation,
    evaluate_points,
    points_of_table,
)
from scaling_laws.inference.results.fit_result import FitResult, published_params
from scaling_laws.inference.results.point_prediction import PointPrediction, at
from scaling_laws.inference.results.ranges import InputRange
from scaling_laws.models import AnyLaw, PointLaw, get_law

__all__ = ["PointFit"]


@dataclass(frozen=True, eq=False, repr=False)
class PointFit(FitResult[PointLaw, InputRange]):
    """A tabular law, of model sizes, tokens or mixtures, with its parameters.

    >>> fitted = PointFit.published("chinchilla", "hoffmann_rounded")
    >>> round(float(fitted.at(model_params=70e9, tokens=1.4e12).value), 3)
    1.937
    """

    def __post_init__(self) -> None:
        if not isinstance(self.law, PointLaw):
            raise LawError(needs_schedule(self.law))
        super().__post_init__()

    @classmethod
    def of(cls, law: str | PointLaw, params: Mapping[str, float]) -> PointFit:
        """A tabular law, or its name, with given parameters.

        Raises:
            LawError: if the law is unknown or takes a schedule, or a parameter is missing or out of
                range.
        """
        return cls(_point_law(law).expand_for_parameters(list(params)), params)

    @classmethod
    def published(cls, law: str | PointLaw, label: str) -> PointFit:
        """A tabular law, or its name, with parameters from the literature.

        Args:
            law: the law.
            label: one of `LAW.published`.

        Raises:
            LawError: if the law is unknown or takes a schedule, or has no such parameters.
        """
        chosen = _point_law(law)
        return cls.of(chosen, published_params(chosen, label))

    def at(self, **inputs: ArrayLike) -> PointPrediction:
        """The value of the law at some inputs.

        Issues an ExtrapolationWarning where an input leaves what the fitted rows covered; the
        prediction's `notes` contain the same.

        Args:
            inputs: numbers or arrays that broadcast together, by name.

        Raises:
            LawError: for missing, unknown or out-of-range inputs.
        """
        prediction = at(self, inputs)
        if prediction.notes:
            notes = "; ".join(prediction.notes)
            warn(f"{self.law.name}: this prediction extrapolates: {notes}", ExtrapolationWarning)
        return prediction

    def evaluate(self, table: Mapping[str, ArrayLike], *, source: str = "table") -> Evaluation:
        """Compare predicted with measured values.

        Args:
            table: a column for each input of the law and one for its output, each (rows,).
            source: the name of the table in the result.

        Returns:
            Metrics of the table; `final_error` is that of its last row.

        Raises:
            LawError: if a column is missing or out of range.
        """
        return evaluate_points(self, table, source)

    def with_points(self, table: Mapping[str, ArrayLike], *, source: str = "table") -> PointFit:
        """The same fit with `observed`, `fittedvalues` and `resid` of a table.

        Raises:
            LawError: if a column is missing or out of range.
        """
        return replace(self, points=points_of_table(self, table, source))


def _point_law(law: str | PointLaw) -> PointLaw:
    chosen = get_law(law) if isinstance(law, str) else law
    if not isinstance(chosen, PointLaw):
        raise LawError(needs_schedule(chosen))
    return chosen


def needs_schedule(law: AnyLaw) -> str:
    """The message for a law of schedules where a tabular law is needed."""
    return f"{law.name} predicts from a schedule; use CurveFit and .predict(schedule)"
