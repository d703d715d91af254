"""Fit a tabular law to a table of measurements, one row per finished run."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares

from scaling_laws.common import (
    ConvergenceWarning,
    FitError,
    IdentifiabilityWarning,
    LawError,
    UsageError,
    report_progress,
)
from scaling_laws.inference.fitting.notes import Note, issue_warnings
from scaling_laws.inference.fitting.objective import (
    HUBER_DELTA,
    Huber,
    curvature,
    huber_objective,
    root,
)
from scaling_laws.inference.fitting.starts import box, draw_starts
from scaling_laws.inference.metrics import log_errors, metrics
from scaling_laws.inference.results import (
    FitRecord,
    FittedPoints,
    InputRange,
    PointFit,
    Uncertainty,
)
from scaling_laws.inference.results.point_prediction import (
    check_inputs,
    check_output,
    predict_points,
)
from scaling_laws.models import PointLaw, get_law, in_float64

__all__ = ["DEFAULT_STARTS", "fit_points"]

Array = NDArray[np.float64]
DEFAULT_STARTS = 64
FOLDS = 6
LOSS_FLOOR = 1e-6  # of the observed value
FLAT = 1e-4  # ratio of singular values of a flat direction; well-posed tables have 1e-3 and more


@dataclass(frozen=True, eq=False)
class TableData:
    """Inputs and observed outputs, all (rows,)."""

    inputs: Mapping[str, Array]
    observed: Array

    def rows(self, keep: NDArray[Any]) -> TableData:
        """A subset of the rows."""
        return TableData(
            {name: row[keep] for name, row in self.inputs.items()}, self.observed[keep]
        )


@in_float64
def fit_points(
    law: str | PointLaw,
    table: Mapping[str, ArrayLike],
    *,
    starts: int = DEFAULT_STARTS,
    seed: int = 0,
    hold_out: bool = True,
    source: str = "table",
) -> PointFit:
    """Fit a tabular law.

    Minimises the sum over rows of Huber(δ) of log(observed / predicted), δ = 1e-3 unless the law
    says otherwise, by a trust-region solver from many starts, all parameters in unconstrained form.

    Args:
        law: a point law or its name.
        table: a mapping (or data frame) with a column for each input of the law and one for its
            output, such as model_params, tokens and loss.
        starts: how many starts; the first is the middle of each parameter's start range.
        seed: of the other starts and of the folds.
        hold_out: measure held-out errors, for intervals, by refitting without some rows.
        source: origin of the table, for the law file.

    Returns:
        The law with its parameters, held-out uncertainty, range of inputs and record.

    Raises:
        LawError: if the law is unknown or one of schedules, or a column is missing or out of range.
        UsageError: if `starts` is not positive.
        FitError: if there are too few rows, or no start succeeded.

    >>> law = PointFit.published("chinchilla", "hoffmann_rounded")
    >>> sizes, tokens = np.meshgrid([1e8, 1e9, 1e10], [1e9, 1e10, 1e11])
    >>> table = {"model_params": sizes.ravel(), "tokens": tokens.ravel()}
    >>> fitted = fit_points("chinchilla", {**table, "loss": law.at(**table).value})
    >>> round(fitted.params["alpha"], 3)
    0.34
    """
    start_time = time.perf_counter()
    point_law = get_law(law) if isinstance(law, str) else law
    if not isinstance(point_law, PointLaw):
        raise LawError(f"{point_law.name} is a law of schedules; fit it to runs, not to a table")
    if starts < 1:
        raise UsageError(f"starts={starts} must be >= 1")
    columns = [str(name) for name in table]
    stars = [input_.name[:-1] for input_ in point_law.inputs if input_.name.endswith("*")]
    point_law = point_law.expand_for_columns(columns) if point_law.has_wildcards else point_law
    data = _table(point_law, table, columns)
    delta = point_law.huber_delta or HUBER_DELTA
    unconstrained, outcomes = _solve(
        point_law, data, draw_starts(point_law.parameters, starts, seed)
    )
    params = _params(point_law, unconstrained)
    predicted = predict_points(point_law, params, data.inputs)
    best = min(outcomes)
    return PointFit(
        point_law,
        params,
        _hold_out(point_law, data, unconstrained, seed) if hold_out else None,
        InputRange.of(data.inputs, stars),
        FitRecord(
            objective=huber_objective(data.observed, predicted, delta),
            huber_delta=delta,
            n_points=len(data.observed),
            starts=starts,
            starts_at_best=sum(outcome <= 1.001 * best + 1e-15 for outcome in outcomes),
            seconds=time.perf_counter() - start_time,
            seed=seed,
            from_step=0,
            runs={source: metrics(data.observed, predicted)},
            sources={source: source},
            warnings=issue_warnings(_doubts(point_law, data, unconstrained)),
            log_error=float(np.sqrt(np.mean(log_errors(data.observed, predicted) ** 2))),
            effective_points=float(len(data.observed)),
        ),
        points=FittedPoints(
            np.full(len(data.observed), source),
            np.arange(len(data.observed)),
            data.observed,
            predicted,
        ),
    )


def _table(law: PointLaw, table: Mapping[str, ArrayLike], columns: list[str]) -> TableData:
    for name in (*law.input_names, law.output):
        if name not in columns:
            raise LawError(f"{law.name} needs a column {name}; the table has {', '.join(columns)}")
    inputs = check_inputs(law, {name: table[name] for name in law.input_names})
    observed = check_output(law, inputs, table[law.output])
    if len(observed) <= len(law.parameters):
        raise FitError(
            f"{law.name} has {len(law.parameters)} parameters and the table has {len(observed)} "
            "rows; it needs more rows than parameters"
        )
    return TableData(inputs, observed)


def _params(law: PointLaw, unconstrained: Array) -> dict[str, float]:
    return {
        parameter.name: float(parameter.transform.forward(float(number)))
        for parameter, number in zip(law.parameters, unconstrained, strict=True)
    }


@cache
def _compiled(law: PointLaw) -> tuple[Any, Any]:
    """Log values and their Jacobian, of (unconstrained parameters, inputs, observed)."""

    def log_value(unconstrained: Any, inputs: Mapping[str, Any], observed: Any) -> Any:
        values = {
            parameter.name: parameter.transform.forward(unconstrained[index], jnp)
            for index, parameter in enumerate(law.parameters)
        }
        # lower bound on predictions, so that the log is finite
        return jnp.log(jnp.maximum(law.value(values, inputs), LOSS_FLOOR * observed))

    return jax.jit(log_value), jax.jit(jax.jacfwd(log_value))


def _residual(law: PointLaw, data: TableData, unconstrained: Array) -> Array:
    """Roots of the costs, in units of δ: (rows,)."""
    log_value = np.asarray(_compiled(law)[0](unconstrained, dict(data.inputs), data.observed))
    delta = law.huber_delta or HUBER_DELTA
    return root(Huber(delta), np.log(data.observed) - log_value) / delta


def _jacobian(law: PointLaw, data: TableData, unconstrained: Array) -> Array:
    """Derivatives of the residuals: (rows, parameters)."""
    arguments = (unconstrained, dict(data.inputs), data.observed)
    log_value, jacobian = _compiled(law)
    delta = law.huber_delta or HUBER_DELTA
    residual = np.log(data.observed) - np.asarray(log_value(*arguments))
    slope = np.sqrt(curvature(Huber(delta), residual)) / delta
    return np.asarray(-slope[:, None] * np.asarray(jacobian(*arguments)))


def _solve(law: PointLaw, data: TableData, starts: Array) -> tuple[Array, list[float]]:
    """The best unconstrained parameters, and the objective of every start."""
    low, high = box(law.parameters)
    best_objective, best_point, outcomes = math.inf, starts[0], []
    for index, start in enumerate(np.clip(starts, low, high)):
        try:
            result = least_squares(
                partial(_residual, law, data),
                start,
                jac=partial(_jacobian, law, data),
                bounds=(low, high),
                x_scale="jac",
                ftol=1e-12,
                xtol=1e-12,
                gtol=1e-9,
                max_nfev=500,
            )
            objective, end = float(result.cost), result.x
        except ValueError:  # the residuals were not finite
            objective, end = math.inf, start
        outcomes.append(objective)
        if objective < best_objective:
            best_objective, best_point = objective, end
        report_progress(f"{law.name}: starts", index + 1, len(starts))
    if not math.isfinite(best_objective):
        raise FitError(f"{law.name}: none of {len(starts)} starts gave a finite objective")
    return best_point, outcomes


def _doubts(law: PointLaw, data: TableData, unconstrained: Array) -> list[Note]:
    notes = []
    for parameter, number in zip(law.parameters, unconstrained, strict=True):
        for bound in parameter.bounds:
            if abs(number - parameter.transform.inverse(bound)) < 1e-3:
                message = f"{parameter.name} ended on its bound {bound:g}"
                notes.append(Note(f"{message}: the table does not identify it", ConvergenceWarning))
    jacobian = _jacobian(law, data, unconstrained)
    norm = np.linalg.norm(jacobian, axis=0)
    columns = jacobian / np.where(norm > 0, norm, 1.0)
    _, singular, directions = np.linalg.svd(columns, full_matrices=False)
    if singular[-1] < FLAT * singular[0]:
        flat = [
            parameter.name
            for parameter, share in zip(law.parameters, directions[-1], strict=True)
            if abs(share) > 0.1
        ]
        message = f"{', '.join(flat)} are not identified separately"
        notes.append(Note(f"{message}: other values fit the table as well", IdentifiabilityWarning))
    return notes


def _hold_out(
    law: PointLaw, data: TableData, unconstrained: Array, seed: int
) -> Uncertainty | None:
    """Errors of `FOLDS` refits that each omit one part of the rows."""
    rows = len(data.observed)
    order = np.random.default_rng(seed).permutation(rows)
    squares = []
    for fold in range(min(FOLDS, rows)):
        held_out = np.zeros(rows, dtype=bool)
        held_out[order[fold :: min(FOLDS, rows)]] = True
        if np.sum(~held_out) <= len(law.parameters):
            return None
        refit, _ = _solve(law, data.rows(~held_out), unconstrained[None])
        left_out = data.rows(held_out)
        predicted = predict_points(law, _params(law, refit), left_out.inputs)
        squares.append(float(np.mean(log_errors(left_out.observed, predicted) ** 2)))
    return Uncertainty.plain("leave_rows_out", float(np.sqrt(np.mean(squares))), len(squares))
