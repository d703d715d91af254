"""How well a fitted law predicts runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling_laws.common import LawError, UsageError
from scaling_laws.data import Run, run_list
from scaling_laws.inference.metrics import log_errors, mean_metrics, metrics
from scaling_laws.inference.results import Exposure, FittedLaw, predict_losses
from scaling_laws.inference.results.point_prediction import check_output
from scaling_laws.inference.results.prediction import check_needs, exposure_of
from scaling_laws.models import in_float64

__all__ = ["Evaluation", "evaluate", "evaluate_table"]


@dataclass(frozen=True)
class Evaluation:
    """Metrics by run and their mean; see `scaling_laws.inference.metrics.metrics`.

    Where the law has an uncertainty, ``coverage_90`` is the share of a run's points inside the
    90 % interval, and ``final_covered_90`` is 1 if its last point is, else 0.
    """

    runs: Mapping[str, Mapping[str, float]]
    mean: Mapping[str, float]

    def as_json(self) -> dict[str, Any]:
        """The keys of ``scaling-laws evaluate --json``."""
        return {"runs": self.runs, "mean": self.mean}

    def to_frame(self) -> Any:
        """A pandas DataFrame, a row a run and the mean last."""
        import pandas as pd

        return pd.DataFrame.from_dict({**self.runs, "mean": self.mean}, orient="index")


@in_float64
def evaluate(
    fitted: FittedLaw, runs: Iterable[Run] | Mapping[str, Run], *, from_step: int | str = 0
) -> Evaluation:
    """Compare predicted with logged losses.

    Args:
        fitted: the law.
        runs: the runs, or a mapping to them.
        from_step: leave out points before this step, or before ``"warmup"`` ends.

    Returns:
        Metrics by run, and their means.

    Raises:
        UsageError: if there are no runs, or `from_step` leaves one empty.
        LawError: if the law sees no schedule, or needs a fact or trace that a run lacks.
    """
    law = fitted.schedule_law
    results = {}
    for run in run_list(runs):
        kept = run.from_step(from_step)
        facts = {**fitted.facts, **run.facts}
        check_needs(law, facts, run.traces, f"run {run.name!r}")
        predicted = predict_losses(law, fitted.params, run.schedule.lr, facts, run.traces)
        exposure = exposure_of(fitted, run.schedule.lr, kept.steps, facts, run.traces)
        results[run.name] = _score(fitted, kept.loss, kept.averaged(predicted), exposure)
    if not results:
        raise UsageError("no runs to evaluate")
    return Evaluation(results, mean_metrics(list(results.values())))


def evaluate_table(
    fitted: FittedLaw, table: Mapping[str, ArrayLike], *, source: str = "table"
) -> Evaluation:
    """Compare a point law with measured rows.

    Args:
        fitted: the law.
        table: a column for each input of the law and one for its output, each (rows,).
        source: what the rows are called in the result.

    Returns:
        Metrics of the table; `final_error` is that of its last row.

    Raises:
        LawError: if the law is one of schedules, or a column is missing or out of range.
    """
    law = fitted.point_law
    if law.output not in table:
        raise LawError(f"{law.name} needs a column {law.output}")
    prediction = fitted.at(**{name: table[name] for name in law.input_names if name in table})
    observed = check_output(law, prediction.inputs, table[law.output])
    result = _score(fitted, observed, prediction.value)
    return Evaluation({source: result}, mean_metrics([result]))


def _score(
    fitted: FittedLaw,
    observed: NDArray[np.float64],
    predicted: NDArray[np.float64],
    exposure: Exposure | None = None,
) -> dict[str, float]:
    """Metrics of one run or table, with the coverage where the law has an uncertainty."""
    result = metrics(observed, predicted)
    if fitted.uncertainty is not None:
        width = fitted.uncertainty.half_width(0.9, exposure)
        inside = np.abs(log_errors(observed, predicted)) <= width
        result["coverage_90"] = float(np.mean(inside))
        result["final_covered_90"] = float(inside[-1])
    return result
