"""The parts of a fit's report: plain values, as the text, HTML and JSON show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Correlation", "IntervalReport", "ParameterReport", "Statistics"]


@dataclass(frozen=True)
class Statistics:
    """How a fit was made, and how well it fits.

    Attributes:
        minimised: cost of log(observed / predicted) that the fit minimised.
        objective: sum of Huber(δ = `huber_delta`) at the parameters of the law.
        huber_delta: δ.
        lowest: lowest value of what was minimised, without the prior, if it was recorded.
        n_points: points fitted.
        n_runs: runs fitted.
        n_parameters: parameters fitted: neither fixed nor tied.
        degrees_of_freedom: points minus parameters fitted.
        starts: starts tried.
        starts_at_best: starts that converged within 0.1 % of the best.
        statuses: number of starts by their final status.
        condition: condition number of the Gauss-Newton Hessian in log parameters.
        prior_source: where the prior comes from; empty without one.
        prior_strength: weight of the prior's log density in the objective.
        from_step: points before this step, or before ``"warmup"`` ended, were omitted.
        seed: of starts and refits.
        draws: bootstrap refits.
        seconds: wall time.
        log_error: root mean square of log(observed / predicted); None if it was not recorded.
        aic: see `scaling_laws.inference.metrics.information_criteria`; None if not recorded.
        bic: likewise.
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
    log_error: float | None
    aic: float | None
    bic: float | None


@dataclass(frozen=True)
class IntervalReport:
    """Predictive uncertainty, in log loss, i.e. relative to the loss.

    Half widths are of 90 % intervals, without the spread of the draws that a prediction adds.
    For a tabular law the widths are those of a row, and the fields about decay are None.

    Attributes:
        method: how runs, or rows, were held out.
        folds: number of refits behind it.
        held_out_error: root mean square of log(observed / predicted) of what was held out.
        sigma_constant: scale of the error of the law at an LR that has not decayed.
        sigma_decay: further scale where the LR has decayed to zero.
        point: half width of a point at full LR.
        point_decayed: the same where the LR has decayed to zero.
        final: half width of a final loss at full LR.
        final_decayed: the same where the LR has decayed to zero.
    """

    method: str
    folds: int
    held_out_error: float
    sigma_constant: float
    sigma_decay: float | None
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
        interval_90: the middle 90 % of the draws; None without draws, or if it was fixed.
        standard_error: half the range of the middle 68 % of the draws.
        fixed: whether it was fixed instead of fitted.
        tied_to: the parameter that it was tied to.
        prior: mean and standard deviation of the unconstrained parameter, for schedules scaled to
            a peak of 1; None without a prior.
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
    """Two parameters whose draws are correlated; positive ones as logarithms."""

    name: str
    other: str
    value: float
