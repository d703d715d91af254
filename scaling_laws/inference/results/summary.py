"""The report of a fit, computed from its state: as one object, as text, as HTML and as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_laws.inference.metrics import information_criteria
from scaling_laws.inference.results.html import html_page, html_table
from scaling_laws.inference.results.record import FitRecord
from scaling_laws.inference.results.report_parts import (
    Correlation,
    IntervalReport,
    ParameterReport,
    Statistics,
)
from scaling_laws.inference.results.report_text import (
    correlation_lines,
    interval_lines,
    matched,
    parameter_lines,
    run_table,
    statistics_lines,
)
from scaling_laws.inference.results.state import AnyState
from scaling_laws.inference.results.uncertainty import Uncertainty, VarianceInputs, robust_sd
from scaling_laws.models import Parameter, PointLaw, Support

__all__ = ["FitReport", "criteria_of", "fitted_parameter_count", "report_of", "summary"]

Array = NDArray[np.float64]
STRONG = 0.9  # correlations of this size and above are reported
MIN_DRAWS = 10  # fewer do not determine a correlation
RUN_COLUMNS = ("run", "n", "mae", "rmse", "pred_e", "worst_e", "r2", "final_error")


@dataclass(frozen=True)
class FitReport:
    """Everything worth knowing about a fit; made by `report_of`.

    Attributes:
        law: name of the law.
        formula: its equation.
        citation: where it comes from.
        fit: statistics; None if the parameters were given, not fitted.
        intervals: predictive uncertainty; None if it was not measured.
        parameters: in the order of the law.
        correlation_limit: absolute values below it are not reported; None with too few draws.
        correlations: the reported ones, strongest first.
        runs: metrics of each fitted run, by name.
        warnings: doubts about the fit.
    """

    law: str
    formula: str
    citation: str
    fit: Statistics | None
    intervals: IntervalReport | None
    parameters: tuple[ParameterReport, ...]
    correlation_limit: float | None
    correlations: tuple[Correlation, ...]
    runs: Mapping[str, Mapping[str, float]]
    warnings: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The report as mappings, lists, strings and finite numbers; undefined values are None."""
        plain = _plain(asdict(self))
        assert isinstance(plain, dict)
        return plain

    def text(self) -> str:
        """The report as text for a terminal."""
        lines = [f"{self.law}: {self.formula}", f"  {self.citation}", "", "[[Fit]]"]
        lines += (
            ["  parameters were given, not fitted"]
            if self.fit is None
            else statistics_lines(self.fit, self.parameters)
        )
        if self.intervals is not None:
            lines += ["", "[[Intervals]]", *interval_lines(self.intervals, self.fit)]
        lines += ["", "[[Parameters]]", *parameter_lines(self.parameters)]
        if self.correlation_limit is not None:
            lines += ["", f"[[Correlations]] (unreported ones are < {self.correlation_limit:g})"]
            lines += correlation_lines(self.correlations)
        if self.runs:
            lines += ["", "[[Runs]]", *run_table(self.runs)]
        if self.warnings:
            lines += ["", "[[Warnings]]", *(f"  {warning}" for warning in self.warnings)]
        return "\n".join(lines)

    def html(self) -> str:
        """The report as an HTML fragment for a notebook; every text in it is escaped."""
        return html_page(
            f"{self.law}: {self.formula}",
            [
                html_table(
                    ("parameter", "value", "90 % interval", "std. error", "", "unit", ""),
                    [_parameter_cells(row) for row in self.parameters],
                    "Parameters",
                ),
                html_table((), [] if self.fit is None else _fit_cells(self.fit), "Fit"),
                html_table(RUN_COLUMNS, _run_cells(self.runs), "Runs"),
            ],
            self.warnings,
        )


def summary(fitted: AnyState) -> str:
    """A fit as text: statistics, intervals, parameters, errors per run, warnings."""
    return report_of(fitted).text()


def report_of(fitted: AnyState) -> FitReport:
    """The report of a fit; without a fit, of the given parameters."""
    law, record = fitted.law, fitted.record
    correlations = _correlations(fitted)
    return FitReport(
        law=law.name,
        formula=law.formula,
        citation=law.citation,
        fit=None if record is None else _statistics(fitted, record),
        intervals=None if fitted.uncertainty is None else _intervals(fitted, fitted.uncertainty),
        parameters=_parameters(fitted),
        correlation_limit=None if correlations is None else STRONG,
        correlations=correlations or (),
        runs={} if record is None else {name: dict(run) for name, run in record.runs.items()},
        warnings=() if record is None else tuple(record.warnings),
    )


def fitted_parameter_count(fitted: AnyState) -> int:
    """Number of parameters that the fit determined: neither fixed nor tied."""
    record = fitted.record
    not_fitted = () if record is None else (*record.fixed, *record.ties)
    return sum(name not in not_fitted for name in fitted.law.names)


def criteria_of(fitted: AnyState) -> tuple[float, float] | None:
    """AIC and BIC; None without a fit, or where its law file does not record what they need."""
    record = fitted.record
    if record is None or record.log_error is None or record.effective_points is None:
        return None
    count = fitted_parameter_count(fitted)
    return information_criteria(record.log_error, record.effective_points, count)


def _statistics(fitted: AnyState, record: FitRecord) -> Statistics:
    count, criteria = fitted_parameter_count(fitted), criteria_of(fitted)
    strengths = [numbers[2] for numbers in record.prior.values()]
    # tables, and old law files, do not record the cost: it was their Huber sum
    recorded = record.lowest is not None
    return Statistics(
        minimised=record.minimised if recorded else f"huber:{record.huber_delta:g}",
        objective=record.objective,
        huber_delta=record.huber_delta,
        lowest=record.lowest,
        n_points=record.n_points,
        n_runs=len(record.runs),
        n_parameters=count,
        degrees_of_freedom=record.n_points - count,
        starts=record.starts,
        starts_at_best=record.starts_at_best,
        statuses=dict(record.statuses),
        condition=record.condition,
        prior_source=record.prior_source,
        prior_strength=strengths[0] if strengths else None,
        from_step=record.from_step,
        seed=record.seed,
        draws=fitted.draw_count,
        seconds=record.seconds,
        log_error=record.log_error,
        aic=None if criteria is None else criteria[0],
        bic=None if criteria is None else criteria[1],
    )


def _intervals(fitted: AnyState, uncertainty: Uncertainty) -> IntervalReport:
    method, folds, error = uncertainty.method, uncertainty.folds, uncertainty.log_error
    if isinstance(fitted.law, PointLaw):
        width = float(uncertainty.half_width(0.9))
        return IntervalReport(
            method, folds, error, uncertainty.sigma_constant, None, width, None, None, None
        )
    corners = VarianceInputs(
        parameter_sd=np.zeros(4),
        decayed_fraction=np.array([0.0, 1.0, 0.0, 1.0]),
        end_weight=np.array([0.0, 0.0, 1.0, 1.0]),
    )
    widths = [float(width) for width in uncertainty.half_width(0.9, corners)]
    return IntervalReport(
        method, folds, error, uncertainty.sigma_constant, uncertainty.sigma_decay, *widths
    )


def _parameters(fitted: AnyState) -> tuple[ParameterReport, ...]:
    record = fitted.record
    fixed: Mapping[str, float] = {} if record is None else record.fixed
    ties: Mapping[str, str] = {} if record is None else record.ties
    priors: Mapping[str, tuple[float, ...]] = {} if record is None else record.prior
    intervals = fitted.parameter_intervals(0.9)
    rows = []
    for parameter in fitted.law.parameters:
        name = parameter.name
        is_fixed, tied = name in fixed, ties.get(name)
        has_draws = name in intervals and not is_fixed
        prior = None if is_fixed or tied or name not in priors else priors[name]
        rows.append(
            ParameterReport(
                name=name,
                value=fitted.params[name],
                interval_90=intervals[name] if has_draws else None,
                standard_error=float(robust_sd(fitted.draws[name])) if has_draws else None,
                fixed=is_fixed,
                tied_to=tied,
                prior=None if prior is None else (prior[0], prior[1]),
                unit=parameter.unit,
                meaning=parameter.meaning,
            )
        )
    return tuple(rows)


def _correlations(fitted: AnyState) -> tuple[Correlation, ...] | None:
    """Strong ones, the strongest first; None if there are too few draws."""
    if fitted.draw_count < MIN_DRAWS:
        return None
    ties: Mapping[str, str] = {} if fitted.record is None else fitted.record.ties
    rows = {
        parameter.name: _unconstrained(parameter, fitted.draws[parameter.name])
        for parameter in fitted.law.parameters
        # a fixed parameter does not vary, and a tied one varies as the other does
        if parameter.name not in ties and np.ptp(fitted.draws[parameter.name]) > 0
    }
    names = list(rows)
    if len(names) < 2:
        return ()
    matrix = np.corrcoef(np.array([rows[name] for name in names]))
    pairs = [
        Correlation(names[i], names[j], float(matrix[i, j]))
        for i in range(len(names))
        for j in range(i + 1, len(names))
        if abs(matrix[i, j]) >= STRONG
    ]
    return tuple(sorted(pairs, key=lambda pair: -abs(pair.value)))


def _unconstrained(parameter: Parameter, draws: Array) -> Array:
    """Unconstrained draws; those of a linear parameter that reach zero stay as they are."""
    if parameter.support is Support.POSITIVE and draws.min() <= 0:
        return draws
    return np.asarray(parameter.transform.inverse(draws))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _parameter_cells(row: ParameterReport) -> list[str]:
    status = "fixed" if row.fixed else f"= {row.tied_to}" if row.tied_to else ""
    numbers = [f"{row.value:.6g}", "", ""]
    if row.interval_90 is not None and row.standard_error is not None:
        value, low, high, error = matched(row.value, row.interval_90, row.standard_error)
        numbers = [value, f"{low} to {high}", error]
    return [row.name, *numbers, status or ("prior" if row.prior else ""), row.unit, row.meaning]


def _fit_cells(fit: Statistics) -> list[list[str]]:
    rows = [
        ["objective", f"{fit.objective:.6g}"],
        ["points, runs", f"{fit.n_points}, {fit.n_runs}"],
        ["degrees of freedom", f"{fit.degrees_of_freedom}"],
        ["starts at the best", f"{fit.starts_at_best} of {fit.starts}"],
    ]
    if fit.aic is not None and fit.bic is not None:
        rows.append(["AIC, BIC", f"{fit.aic:.1f}, {fit.bic:.1f}"])
    return rows


def _run_cells(runs: Mapping[str, Mapping[str, float]]) -> list[list[str]]:
    return [
        [name, *(f"{run.get(column, math.nan):.4g}" for column in RUN_COLUMNS[1:])]
        for name, run in runs.items()
    ]
