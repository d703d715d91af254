"""Metrics of a fit's predictions against measured losses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling_laws.common import LawError, UsageError
from scaling_laws.data import Run, run_list
from scaling_laws.inference.metrics import log_errors, mean_metrics, metrics
from scaling_laws.inference.results.drawn_losses import variance_inputs_of
from scaling_laws.inference.results.html import html_page, html_table
from scaling_laws.inference.results.point_prediction import at, check_output
from scaling_laws.inference.results.prediction import check_needs, predict_losses
from scaling_laws.inference.results.state import AnyState, CurveState, FittedPoints, PointState
from scaling_laws.inference.results.uncertainty import VarianceInputs
from scaling_laws.models import in_float64

__all__ = ["Evaluation", "evaluate_curves", "evaluate_points", "points_of_runs", "points_of_table"]

Array = NDArray[np.float64]


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Metrics by run and their mean; see `scaling_laws.inference.metrics.metrics`.

    Where the law has an uncertainty, ``coverage_90`` is the share of a run's points inside the
    90 % interval, and ``final_covered_90`` is 1 if its last point is, else 0.

    Attributes:
        runs: metrics by the run's name.
        mean: of the metrics that all runs have.
    """

    runs: Mapping[str, Mapping[str, float]]
    mean: Mapping[str, float]

    def as_json(self) -> dict[str, Any]:
        """The keys of ``scaling-laws evaluate --json``."""
        return {"runs": self.runs, "mean": self.mean}

    def to_frame(self) -> Any:
        """A pandas DataFrame with one row per run, and the mean last."""
        import pandas as pd

        return pd.DataFrame.from_dict({**self.runs, "mean": self.mean}, orient="index")

    def __repr__(self) -> str:
        return (
            f"Evaluation({len(self.runs)} run{'s' * (len(self.runs) != 1)}: "
            f"mean PredE {self.mean['pred_e']:.5f}, MAE {self.mean['mae']:.5f})"
        )

    def _repr_html_(self) -> str:
        rows = [
            [name, *(f"{run.get(key, np.nan):.4g}" for key in self.mean)]
            for name, run in {**self.runs, "mean": self.mean}.items()
        ]
        return html_page("Evaluation", [html_table(("run", *self.mean), rows)])


@in_float64
def evaluate_curves(
    fitted: CurveState, runs: Iterable[Run] | Mapping[str, Run], from_step: int | str = 0
) -> Evaluation:
    """Compare predicted with logged losses; see `CurveFit.evaluate`."""
    results = {}
    for run in run_list(runs):
        kept, predicted, facts = _predicted(fitted, run, from_step)
        inputs = variance_inputs_of(fitted, run.schedule.lr, kept.steps, facts, run.traces)
        results[run.name] = _score(fitted, kept.loss, predicted, inputs)
    if not results:
        raise UsageError("no runs to evaluate")
    return Evaluation(results, mean_metrics(list(results.values())))


@in_float64
def points_of_runs(
    fitted: CurveState, runs: Iterable[Run] | Mapping[str, Run], from_step: int | str = 0
) -> FittedPoints:
    """The logged points of runs, and what the fit predicts there."""
    names, steps, observed, predicted = [], [], [], []
    for run in run_list(runs):
        kept, losses, _ = _predicted(fitted, run, from_step)
        names.append(np.full(len(kept.steps), run.name))
        steps.append(kept.steps)
        observed.append(kept.loss)
        predicted.append(losses)
    if not names:
        raise UsageError("no runs to predict")
    return FittedPoints(*(np.concatenate(rows) for rows in (names, steps, observed, predicted)))


def _predicted(
    fitted: CurveState, run: Run, from_step: int | str
) -> tuple[Run, Array, dict[str, float]]:
    """A run from a step on, the predictions at its points, and the facts used."""
    kept = run.from_step(from_step)
    facts = {**fitted.facts, **run.facts}
    check_needs(fitted.law, facts, run.traces, f"run {run.name!r}")
    losses = predict_losses(fitted.law, fitted.params, run.schedule.lr, facts, run.traces)
    return kept, kept.averaged(losses), facts


def evaluate_points(
    fitted: PointState, table: Mapping[str, ArrayLike], source: str = "table"
) -> Evaluation:
    """Compare a tabular law with measured rows; see `PointFit.evaluate`."""
    points = points_of_table(fitted, table, source)
    result = _score(fitted, points.observed, points.fitted)
    return Evaluation({source: result}, mean_metrics([result]))


def points_of_table(
    fitted: PointState, table: Mapping[str, ArrayLike], source: str = "table"
) -> FittedPoints:
    """The measured rows of a table, and what the fit predicts there."""
    law = fitted.law
    if law.output not in table:
        raise LawError(f"{law.name} needs a column {law.output}", column=law.output)
    inputs = {name: table[name] for name in law.input_names if name in table}
    prediction = at(fitted, inputs)
    observed = check_output(law, prediction.inputs, table[law.output])
    rows = np.arange(len(observed))
    return FittedPoints(np.full(len(rows), source), rows, observed, prediction.value)


def _score(
    fitted: AnyState, observed: Array, predicted: Array, inputs: VarianceInputs | None = None
) -> dict[str, float]:
    """Metrics of one run or table, with the coverage where the fit has an uncertainty."""
    result = metrics(observed, predicted)
    if fitted.uncertainty is not None:
        width = fitted.uncertainty.half_width(0.9, inputs)
        inside = np.abs(log_errors(observed, predicted)) <= width
        result["coverage_90"] = float(np.mean(inside))
        result["final_covered_90"] = float(inside[-1])
    return result
