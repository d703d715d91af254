"""A fit as one object, and from it as text and as JSON, in the idiom of lmfit and statsmodels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_laws.inference.results.fitted_law import FitRecord, FittedLaw
from scaling_laws.inference.results.report_text import run_table, text_of
from scaling_laws.inference.results.uncertainty import Exposure, Uncertainty, spread_of
from scaling_laws.models import Parameter, PointLaw, Support

__all__ = [
    "Correlation",
    "FitReport",
    "IntervalReport",
    "ParameterReport",
    "Statistics",
    "report_of",
    "run_table",
    "summary",
]

Array = NDArray[np.float64]
STRONG = 0.9  # correlations of this size and above are reported
FEW_DRAWS = 10  # fewer say nothing about a correlation


@dataclass(frozen=True)
class Statistics:
    """How a fit came about.

    Attributes:
        minimised: cost of log(observed / predicted) that the fit minimised.
        objective: sum of Huber(δ = `huber_delta`) at the parameters of the law.
        huber_delta: δ.
        lowest: lowest value of what was minimised, without the prior, if it was recorded.
        n_points: points fitted.
        n_runs: runs fitted.
        n_parameters: parameters searched: neither given nor tied.
        degrees_of_freedom: points less parameters searched.
        starts: starts tried.
        starts_at_best: starts that ended within 0.1 % of the best.
        statuses: how many starts ended how.
        condition: condition number of the Gauss-Newton matrix in log parameters.
        prior_source: where the prior comes from; empty without one.
        prior_strength: what a unit of its log density is worth in the objective.
        from_step: points before this step, or before ``"warmup"`` ended, were left out.
        seed: of starts and refits.
        draws: refits to reweighted runs.
        seconds: wall time.
    """

    minimised: str
    objective: float
    huber_delta: float
    lowest: float | None
    n_points: int
    n_runs: int
    n_parameters: int
    degrees_of_freedom: int
    starts: int
    starts_at_best: int
    statuses: Mapping[str, int]
    condition: float | None
    prior_source: str
    prior_strength: float | None
    from_step: int | str
    seed: int
    draws: int
    seconds: float


@dataclass(frozen=True)
class IntervalReport:
    """How far predictions may be off; all in log loss, which is a share of the loss.

    Half widths are of 90 % intervals, without the spread of the draws that a prediction adds.
    Where a law sees no schedule, the widths are of a row, and there is no LR that has decayed.

    Attributes:
        method: how runs, or rows, were held out.
        folds: refits that it rests on.
        held_out_error: root mean square of log(observed / predicted) of what was held out.
        steady: scale of the law's own error at an LR that has not decayed.
        decayed: further scale where the LR has decayed to zero.
        point: half width of a point at full LR.
        point_decayed: the same where the LR has decayed to zero.
        final: half width of a final loss at full LR.
        final_decayed: the same where the LR has decayed to zero.
    """

    method: str
    folds: int
    held_out_error: float
    steady: float
    decayed: float | None
    point: float
    point_decayed: float | None
    final: float | None
    final_decayed: float | None


@dataclass(frozen=True)
class ParameterReport:
    """One parameter.

    Attributes:
        name: its name.
        value: for learning rates as they are logged.
        interval_90: the middle 90 % of the draws; None without draws, or where it was given.
        standard_error: half the range of the middle 68 % of the draws.
        fixed: whether its value was given.
        tied_to: the parameter that it was made equal to.
        prior: centre and spread of the free number, for schedules scaled to a peak of 1; None
            without a prior.
        unit: of the value.
        meaning: in words.
    """

    name: str
    value: float
    interval_90: tuple[float, float] | None
    standard_error: float | None
    fixed: bool
    tied_to: str | None
    prior: tuple[float, float] | None
    unit: str
    meaning: str


@dataclass(frozen=True)
class Correlation:
    """Two parameters whose draws move together; positive ones as logarithms."""

    name: str
    other: str
    value: float


@dataclass(frozen=True)
class FitReport:
    """All that a user should know of a fit; made by `report_of`.

    Attributes:
        law: name of the law.
        formula: its equation.
        citation: where it comes from.
        fit: statistics; None if the parameters were given, not fitted.
        intervals: how far predictions may be off; None if that was not measured.
        parameters: in the order of the law.
        correlation_limit: pairs below this size are not reported; None if draws are too few.
        correlations: the others, the strongest first.
        runs: metrics of each fitted run, by name.
        warnings: what to know before trusting the parameters.
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
        """The same as mappings, lists, words and finite numbers; what is not defined is None."""
        plain = _plain(asdict(self))
        assert isinstance(plain, dict)
        return plain

    def text(self) -> str:
        """The same for people."""
        return text_of(self)


def summary(fitted: FittedLaw) -> str:
    """A fitted law as text: statistics, intervals, parameters, errors per run, warnings."""
    return report_of(fitted).text()


def report_of(fitted: FittedLaw) -> FitReport:
    """The report of a fitted law; of one with given parameters, what there is to say."""
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


def _statistics(fitted: FittedLaw, record: FitRecord) -> Statistics:
    searched = [
        name for name in fitted.law.names if name not in record.fixed and name not in record.ties
    ]
    strengths = [numbers[2] for numbers in record.prior.values()]
    # tables, and old law files, do not record what was minimised: it was their Huber sum
    recorded = record.lowest is not None
    return Statistics(
        minimised=record.minimised if recorded else f"huber:{record.huber_delta:g}",
        objective=record.objective,
        huber_delta=record.huber_delta,
        lowest=record.lowest,
        n_points=record.n_points,
        n_runs=len(record.runs),
        n_parameters=len(searched),
        degrees_of_freedom=record.n_points - len(searched),
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
    )


def _intervals(fitted: FittedLaw, uncertainty: Uncertainty) -> IntervalReport:
    method, folds, error = uncertainty.method, uncertainty.folds, uncertainty.log_error
    if isinstance(fitted.law, PointLaw):
        width = float(uncertainty.half_width(0.9))
        return IntervalReport(
            method, folds, error, uncertainty.steady, None, width, None, None, None
        )
    corners = Exposure(
        spread=np.zeros(4), decayed=np.array([0.0, 1.0, 0.0, 1.0]), ending=np.array([0, 0, 1, 1.0])
    )
    widths = [float(width) for width in uncertainty.half_width(0.9, corners)]
    return IntervalReport(method, folds, error, uncertainty.steady, uncertainty.decayed, *widths)


def _parameters(fitted: FittedLaw) -> tuple[ParameterReport, ...]:
    record = fitted.record
    fixed: Mapping[str, float] = {} if record is None else record.fixed
    ties: Mapping[str, str] = {} if record is None else record.ties
    priors: Mapping[str, tuple[float, ...]] = {} if record is None else record.prior
    intervals = fitted.parameter_intervals(0.9)
    rows = []
    for each in fitted.law.parameters:
        name = each.name
        given, tied = name in fixed, ties.get(name)
        spread = name in intervals and not given
        prior = None if given or tied or name not in priors else priors[name]
        rows.append(
            ParameterReport(
                name=name,
                value=fitted.params[name],
                interval_90=intervals[name] if spread else None,
                standard_error=float(spread_of(fitted.draws[name])) if spread else None,
                fixed=given,
                tied_to=tied,
                prior=None if prior is None else (prior[0], prior[1]),
                unit=each.unit,
                meaning=each.meaning,
            )
        )
    return tuple(rows)


def _correlations(fitted: FittedLaw) -> tuple[Correlation, ...] | None:
    """Strong ones, the strongest first; None if there are too few draws."""
    if fitted.draw_count < FEW_DRAWS:
        return None
    ties: Mapping[str, str] = {} if fitted.record is None else fitted.record.ties
    rows = {
        each.name: _unconstrained(each, fitted.draws[each.name])
        for each in fitted.law.parameters
        # a given number does not move, and a tied one moves as the other does
        if each.name not in ties and np.ptp(fitted.draws[each.name]) > 0
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
    """Draws as unconstrained numbers; an amplitude that may be zero has no logarithm and stays."""
    if parameter.support is Support.POSITIVE and draws.min() <= 0:
        return draws
    return np.asarray(parameter.transform.inverse(draws))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
