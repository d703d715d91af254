"""The stages of a fit: multiple starts, the prior, refits without some points."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import HERE, FitError, Pool, collect
from scaling_laws.inference.constants import BLOCKS, MISFIT
from scaling_laws.inference.fitting.fit_data import Data
from scaling_laws.inference.fitting.objective import Objective
from scaling_laws.inference.fitting.priors import Prior
from scaling_laws.inference.fitting.problem import Solution, SolveRequest
from scaling_laws.inference.fitting.serialization import (
    SerializedData,
    data_from_picklable,
    data_to_picklable,
)
from scaling_laws.inference.fitting.solver import Solver, solve
from scaling_laws.inference.fitting.solver_registry import DEFAULT_SOLVER
from scaling_laws.models import Law, in_float64

__all__ = [
    "FOLDS_PER_TASK",
    "MultiStartResult",
    "Settings",
    "can_leave_out",
    "multistart_fit",
    "refit_folds",
    "solve_requests",
    "without",
]

Array = NDArray[np.float64]
FOLDS_PER_TASK = 16  # folds that one task refits
STARTS_WITH_PRIOR = 8  # of the fit with the prior: the prior mean and the best fits without it


@dataclass(frozen=True)
class Settings:
    """Settings shared by all refits of a fit.

    Attributes:
        objective: the cost of residuals.
        prior: on nonlinear parameters.
        variance: of a residual in log loss, at least `MISFIT` squared.
        seed: of the refits.
        solver: of every solve.
    """

    objective: Objective
    prior: Prior | None
    variance: float
    seed: int
    solver: Solver = field(default=DEFAULT_SOLVER)

    def strength(self, data: Data, weight: Array) -> Array:
        """Factor between the prior's log density and the objective.

        The variance of a residual times the number of points that count as one independent point,
        because residuals of a misspecified law are correlated.

        Args:
            data: the runs.
            weight: of the losses, (..., losses): those at zero are not fitted.

        Returns:
            One number per row of weights, (...).
        """
        fitted = weight > 0
        points = fitted.sum(axis=-1)
        runs = sum(
            fitted[..., data.run == index].any(axis=-1).astype(float)
            for index in range(len(data.runs))
        )
        most = np.inf if self.prior is None else self.prior.most_runs
        return np.asarray(
            self.variance * np.maximum(1.0, points / (BLOCKS * np.clip(runs, 1.0, most)))
        )

    def prior_record(self, data: Data) -> dict[str, tuple[float, float, float]]:
        """Mean, sd and strength of the prior, by parameter."""
        if self.prior is None:
            return {}
        strength = float(self.strength(data, data.weight))
        return {
            name: (self.prior.mean[name], self.prior.sd[name], strength) for name in self.prior.mean
        }


@dataclass(frozen=True)
class MultiStartResult:
    """Result of a fit from multiple starts.

    Attributes:
        best: the fit, prior included.
        lowest: the lowest value of what was minimised, without the prior.
        outcomes: of every start, without the prior.
        settings: shared with the refits.
    """

    best: Solution
    lowest: float
    outcomes: list[Solution]
    settings: Settings


def multistart_fit(
    data: Data,
    objective: Objective,
    prior: Prior | None,
    starts: int,
    seed: int,
    solver: Solver = DEFAULT_SOLVER,
) -> MultiStartResult:
    """Fit from many starts without the prior, then with it from the best of them and its mean.

    Raises:
        FitError: if no start succeeded.
    """
    law = data.law
    common: dict[str, Any] = {"ties": data.ties, "bounds": data.bounds}
    requests = data.requests(data.starts(starts, seed))
    outcomes = solve(
        solver, law, data.problem, requests, objective, stage=f"{law.name}: starts", **common
    )
    ranked = sorted(outcomes, key=lambda solution: solution.objective)
    best = _succeeded(law, ranked)
    settings = Settings(objective, prior, _variance(data, best), seed, solver)
    lowest = best.objective
    if prior is not None and data.free_mask().any():
        points = [solution.unconstrained for solution in ranked[: STARTS_WITH_PRIOR - 1]]
        requests = data.requests(
            np.array([data.prior_mean(prior), *points]),
            prior=prior,
            strength=settings.strength(data, data.weight),
        )
        stage = f"{law.name}: starts with the prior"
        refined = solve(solver, law, data.problem, requests, objective, stage=stage, **common)
        best = _succeeded(law, sorted(refined, key=lambda solution: solution.objective))
    return MultiStartResult(best, lowest, outcomes, settings)


def _succeeded(law: Law, ranked: Sequence[Solution]) -> Solution:
    """The best of ranked outcomes, if its objective is finite."""
    if not np.isfinite(ranked[0].objective):
        cause, _ = Counter(outcome.status for outcome in ranked).most_common(1)[0]
        raise FitError(f"{law.name}: none of {len(ranked)} starts succeeded: {cause.value}")
    return ranked[0]


def _variance(data: Data, best: Solution) -> float:
    """Variance of a residual in log loss, at least `MISFIT` squared."""
    return max(2.0 * best.objective / float(np.sum(data.weight > 0)), MISFIT**2)


def without(weight: Array, fold: NDArray[np.int64]) -> Array:
    """Weights with those of a fold, given by indices, set to zero."""
    reduced = weight.copy()
    reduced[fold] = 0.0
    return reduced


def can_leave_out(data: Data, fold: NDArray[np.int64]) -> bool:
    """Whether more points than parameters remain without a fold."""
    return int(np.sum(without(data.weight, fold) > 0)) > len(data.law.parameters)


def refit_folds(
    data: Data,
    best: Solution,
    settings: Settings,
    folds: Sequence[NDArray[np.int64]],
    pool: Pool = HERE,
) -> list[Solution]:
    """Refit without the losses of each fold, from the fit and from the prior's mean.

    Args:
        data: the runs.
        best: the fit to all of them.
        settings: of that fit.
        folds: indices of the losses that each refit leaves out.
        pool: where to refit, `FOLDS_PER_TASK` folds at a time.

    Returns:
        One solution per fold; its objective is infinite where a refit failed.

    Raises:
        PoolError: if processes of the pool keep dying.
    """
    picklable = data_to_picklable(data, pool)
    chunks = [
        (picklable, best, settings, list(folds[begin : begin + FOLDS_PER_TASK]))
        for begin in range(0, len(folds), FOLDS_PER_TASK)
    ]
    solved = collect(pool, _refit_chunk, chunks, f"{data.law.name}: refits without some runs")
    return [solution for chunk in solved for solution in chunk]


@in_float64
def _refit_chunk(
    picklable: Data | SerializedData,
    best: Solution,
    settings: Settings,
    folds: Sequence[NDArray[np.int64]],
) -> list[Solution]:
    """One piece of `refit_folds`."""
    data = data_from_picklable(picklable)
    prior = settings.prior
    starts = [best.unconstrained]
    if prior is not None:
        starts.append(data.prior_mean(prior))
    weight = np.repeat([without(data.weight, fold) for fold in folds], len(starts), axis=0)
    requests = data.requests(
        np.tile(np.array(starts), (len(folds), 1)),
        weight=weight,
        prior=prior,
        strength=settings.strength(data, weight),
    )
    solved = solve_requests(data, settings, requests)
    return [
        min(solved[first : first + len(starts)], key=lambda solution: solution.objective)
        for first in range(0, len(solved), len(starts))
    ]


def solve_requests(
    data: Data, settings: Settings, requests: SolveRequest, stage: str | None = None
) -> list[Solution]:
    """Solve requests on the runs of a fit with its objective and solver."""
    return solve(
        settings.solver,
        data.law,
        data.problem,
        requests,
        settings.objective,
        ties=data.ties,
        bounds=data.bounds,
        stage=stage,
    )
