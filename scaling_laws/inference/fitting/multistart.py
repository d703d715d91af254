"""The stages of a fit: multiple starts, the prior, refits without some points."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import HERE, FitError, Pool, collect, report_progress
from scaling_laws.inference.constants import BLOCKS, MISFIT
from scaling_laws.inference.fitting.amplitudes import fit_amplitudes, predicted_losses
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
from scaling_laws.models import Law, Support, in_float64

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
SCREENED = 2  # candidate starts per start: the objective ranks them, before any is improved
WAVE = 4  # starts that are improved together
AGAIN = 3  # starts that must reach the lowest objective before the remaining ones are left out
NEGLIGIBLE = 3e-3  # of a unit of log density: less than a tenth of a standard deviation
FOLD_SHARE = 0.03  # of it for a refit without some runs
POLISHED = 2  # best solutions that are solved exactly, if they differ
SAME = 1.0  # difference of unconstrained parameters below which solutions count as one


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

    def negligible(self, data: Data) -> float:
        """Decrease of the objective that parameters which differ by chance may leave."""
        return NEGLIGIBLE * float(self.strength(data, data.weight))

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
        outcomes: of every start that was improved.
        settings: shared with the refits.
    """

    best: Solution
    lowest: float
    outcomes: list[Solution]
    settings: Settings

    @property
    def starts_at_best(self) -> int:
        """Starts that reached the lowest objective, within 0.1 %."""
        lowest = min(outcome.objective for outcome in self.outcomes)
        return sum(outcome.objective <= 1.001 * lowest for outcome in self.outcomes)


def multistart_fit(
    data: Data,
    objective: Objective,
    prior: Prior | None,
    starts: int,
    seed: int,
    solver: Solver = DEFAULT_SOLVER,
) -> MultiStartResult:
    """Fit from several starts: the prior's mean, and those with the lowest objective.

    The starts are improved a few at a time, best first, until the lowest objective is found again.
    Their prior has the strength of the smallest variance; the variance of the residuals then comes
    from a fit without the prior, which starts at their best, and the best starts are solved again,
    exactly, with a prior of that strength.

    Raises:
        FitError: if no start succeeded.
    """
    law = data.law
    used = prior if data.free_mask().any() else None
    settings = Settings(objective, prior, MISFIT**2, seed, solver)
    negligible = settings.negligible(data)
    points = data.starts(SCREENED * starts, seed)
    if used is not None:
        points = np.array([data.prior_mean(used), *points])
    requests = data.requests(points, prior=used, strength=settings.strength(data, data.weight))
    order = _ranked(data, objective, requests)[:starts]
    outcomes = _improve(data, settings, requests.rows(order), negligible)
    ranked = sorted(outcomes, key=lambda solution: solution.objective)
    best = _succeeded(law, ranked)
    lowest = best.objective
    if used is not None:
        request = data.requests(best.unconstrained)
        (without_prior,) = solve(solver, data, request, objective, negligible=negligible)
        lowest = _succeeded(law, [without_prior]).objective
    variance = max(2.0 * lowest / float(np.sum(data.weight > 0)), MISFIT**2)
    settings = Settings(objective, prior, variance, seed, solver)
    requests = data.requests(
        np.array([solution.unconstrained for solution in _distinct(ranked)[:POLISHED]]),
        prior=used,
        strength=settings.strength(data, data.weight),
    )
    polished = solve(solver, data, requests, objective)
    best = _succeeded(law, sorted(polished, key=lambda solution: solution.objective))
    if used is None:
        lowest = best.objective
    return MultiStartResult(best, lowest, outcomes, settings)


def _ranked(data: Data, objective: Objective, requests: SolveRequest) -> NDArray[np.int64]:
    """Indices of requests by the objective at their starts; the first, a central one, leads."""
    columns = data.design.columns(requests.start)
    signed = [parameter.support is Support.REAL for parameter in data.law.linear_parameters]
    with np.errstate(all="ignore"):  # starts that are not finite come last
        guess = np.zeros((len(columns), len(signed)))
        amplitudes = fit_amplitudes(columns, requests, objective, signed, guess)
        predicted = predicted_losses(columns, amplitudes, requests.observed)
        residual = np.log(requests.observed) - np.log(predicted)
        value = requests.objective(objective.cost(residual), requests.start)
    value = np.where(np.isfinite(value), value, np.inf)
    value[0] = -np.inf
    return np.argsort(value, kind="stable")


def _improve(
    data: Data, settings: Settings, requests: SolveRequest, negligible: float
) -> list[Solution]:
    """Solve a wave of requests after the other until the lowest objective is found again."""
    outcomes: list[Solution] = []
    count = len(requests.start)
    stage = f"{data.law.name}: starts"
    for begin in range(0, count, WAVE):
        wave = requests.rows(np.arange(begin, min(begin + WAVE, count)))
        outcomes += solve(settings.solver, data, wave, settings.objective, negligible=negligible)
        report_progress(stage, len(outcomes), count)
        lowest = min(outcome.objective for outcome in outcomes)
        same = [outcome.objective <= 1.001 * lowest + negligible for outcome in outcomes]
        if np.isfinite(lowest) and sum(same) >= AGAIN:
            report_progress(stage, count, count)
            break
    return outcomes


def _distinct(ranked: Sequence[Solution]) -> list[Solution]:
    """Solutions without those that are nearly an earlier one."""
    kept: list[Solution] = []
    for solution in ranked:
        near = [
            np.abs(solution.unconstrained - other.unconstrained).max(initial=0.0) < SAME
            for other in kept
        ]
        if not any(near):
            kept.append(solution)
    return kept


def _succeeded(law: Law, ranked: Sequence[Solution]) -> Solution:
    """The best of ranked outcomes, if its objective is finite."""
    if not np.isfinite(ranked[0].objective):
        cause, _ = Counter(outcome.status for outcome in ranked).most_common(1)[0]
        raise FitError(f"{law.name}: none of {len(ranked)} starts succeeded: {cause.value}")
    return ranked[0]


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
    # their predictions are reported one by one, not as the spread of many
    solved = solve_requests(data, settings, requests, FOLD_SHARE * settings.negligible(data))
    return [
        min(solved[first : first + len(starts)], key=lambda solution: solution.objective)
        for first in range(0, len(solved), len(starts))
    ]


def solve_requests(
    data: Data, settings: Settings, requests: SolveRequest, negligible: float
) -> list[Solution]:
    """Solve requests on the runs of a fit with its objective and solver."""
    return solve(
        settings.solver,
        data,
        requests,
        settings.objective,
        negligible=negligible,
    )
