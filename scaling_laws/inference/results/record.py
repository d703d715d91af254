"""How a fit was made: the part of a result that explains its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["FitRecord"]


@dataclass(frozen=True)
class FitRecord:
    """How a fit was made.

    Attributes:
        objective: sum over points of Huber(δ = `huber_delta`) of log(observed / predicted), at the
            parameters of the law.
        huber_delta: δ.
        n_points: points fitted.
        starts: starts tried.
        starts_at_best: starts that converged within 0.1 % of the best objective.
        seconds: wall time.
        seed: of the starts.
        from_step: points before this step, or before the end of ``"warmup"``, were omitted.
        runs: metrics of each fitted run, by name.
        sources: where each run came from.
        warnings: what a user should know before trusting the parameters.
        minimised: what the fit minimised, as text, before the prior.
        lowest: its lowest value without the prior, over all starts.
        statuses: number of starts by their final status.
        prior: mean and standard deviation of the unconstrained parameter, and strength, of each
            parameter that has a prior.
        prior_source: where the prior comes from.
        condition: condition number of the Gauss-Newton Hessian in log parameters.
        fixed: parameters that were not fitted, and their values.
        ties: nonlinear parameters that were made equal to another.
        log_error: root mean square of log(observed / predicted), weighted as in the fit.
        effective_points: how many independent points the data count as; see
            `scaling_laws.inference.metrics.information_criteria`.
        solver: name of the solver of every solve.
    """

    objective: float
    huber_delta: float
    n_points: int
    starts: int
    starts_at_best: int
    seconds: float
    seed: int
    from_step: int | str
    runs: Mapping[str, Mapping[str, float]]
    sources: Mapping[str, str]
    warnings: tuple[str, ...] = ()
    minimised: str = "huber:0.001"
    lowest: float | None = None
    statuses: Mapping[str, int] = field(default_factory=dict)
    prior: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    prior_source: str = ""
    condition: float | None = None
    fixed: Mapping[str, float] = field(default_factory=dict)
    ties: Mapping[str, str] = field(default_factory=dict)
    log_error: float | None = None
    effective_points: float | None = None
    solver: str = "varpro"
