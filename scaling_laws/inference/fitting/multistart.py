"""The stages of a fit: many starts, the prior, refits without some points."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import HERE, FitError, Pool, collect
from scaling_laws.inference.fitting.fit_data import Data
from scaling_laws.inference.fitting.objective import Objective
from scaling_laws.inference.fitting.priors import Prior
from scaling_laws.inference.fitting.serialization import Sent, received, sent
from scaling_laws.inference.fitting.varpro import Outcome, solve_jobs
from scaling_laws.models import Law, in_float64

__all__ = [
    "BLOCKS",
    "FOLDS",
    "MISFIT",
    "Search",
    "Settings",
    "can_leave_out",
    "refit_without",
    "search_fit",
    "without",
]

Array = NDArray[np.float64]
BLOCKS = 10  # of a run: residuals are autocorrelated, so that a run counts as about ten points
MISFIT = 1.5e-3  # in log loss: held-out runs are off by no less, however well few runs fit
FOLDS = 16  # that one piece of work refits
WITH_PRIOR = 8  # starts of the fit with the prior: the best without it, and others


@dataclass(frozen=True)
class Settings:
    """What all refits of a fit share.

    Attributes:
        objective: the cost of residuals.
        prior: on shape parameters.
        variance: of a residual in log loss, no less than `MISFIT` squared.
        seed: of the refits.
    """

    objective: Objective
    prior: Prior | None
    variance: float
    seed: int

    def strength(self, data: Data, weight: Array) -> Array:
        """What one unit of the prior's log density is worth in the objective.

        The variance of a residual times how many points count as one: the residuals of a law that
        is wrong in shape move together.

        Args:
            data: the runs.
            weight: of the losses, (..., losses): those at zero are not fitted.

        Returns:
            One number for each row of weights, (...).
        """
        fitted = weight > 0
        points = fitted.sum(axis=-1)
        places = range(len(data.runs))
        runs = sum(fitted[..., data.run == place].any(axis=-1).astype(float) for place in places)
        most = np.inf if self.prior is None else self.prior.most_runs
        return np.asarray(
            self.variance * np.maximum(1.0, points / (BLOCKS * np.clip(runs, 1.0, most)))
        )

    def prior_record(self, data: Data) -> dict[str, tuple[float, float, float]]:
        """Centre, spread and strength of the prior, by parameter."""
        if self.prior is None:
            return {}
        strength = float(self.strength(data, data.weight))
        return {
            name: (self.prior.mean[name], self.prior.sd[name], strength) for name in self.prior.mean
        }


@dataclass(frozen=True)
class Search:
    """A fit found.

    Attributes:
        best: the fit, prior included.
        lowest: the lowest value of what was minimised, without the prior.
        outcomes: of every start, without the prior.
        settings: what refits share with it.
    """

    best: Outcome
    lowest: float
    outcomes: list[Outcome]
    settings: Settings


def search_fit(
    data: Data,
    objective: Objective,
    prior: Prior | None,
    starts: int,
    seed: int,
    solve: Callable[..., list[Outcome]] = solve_jobs,
    report: Callable[[str], None] | None = None,
) -> Search:
    """From many starts without the prior, then with it from the best of them and its centre.

    Raises:
        FitError: if no start succeeded.
    """
    law = data.law

    def tell(stage: str) -> Callable[[int, float], None]:
        def progress(done: int, best: float) -> None:
            if report is not None:
                report(f"{law.name}: {stage}, {done} done, best objective {best:.6g}")

        return progress

    limits = {"ties": data.ties, "limits": data.limits}
    jobs = data.jobs(data.starts(starts, seed))
    outcomes = solve(law, data.problem, jobs, objective, report=tell("starts"), **limits)
    ranked = sorted(outcomes, key=lambda each: each.objective)
    best = _succeeded(law, ranked)
    settings = Settings(objective, prior, _variance(data, best), seed)
    lowest = best.objective
    if prior is not None and data.moving().any():
        begin = [data.prior_centre(prior), *(each.free for each in ranked[: WITH_PRIOR - 1])]
        strength = settings.strength(data, data.weight)
        jobs = data.jobs(np.array(begin), prior=prior, strength=strength)
        again = solve(law, data.problem, jobs, objective, report=tell("prior"), **limits)
        best = _succeeded(law, sorted(again, key=lambda each: each.objective))
    return Search(best, lowest, outcomes, settings)


def _succeeded(law: Law, ranked: Sequence[Outcome]) -> Outcome:
    """The first of outcomes in order of their objectives, if it is finite."""
    if not np.isfinite(ranked[0].objective):
        cause, _ = Counter(outcome.status for outcome in ranked).most_common(1)[0]
        raise FitError(f"{law.name}: none of {len(ranked)} starts succeeded: {cause.value}")
    return ranked[0]


def _variance(data: Data, best: Outcome) -> float:
    """Of a residual in log loss, no less than `MISFIT` squared."""
    return max(2.0 * best.objective / float(np.sum(data.weight > 0)), MISFIT**2)


def without(weight: Array, fold: NDArray[np.int64]) -> Array:
    """Weights with some losses, by their places, at zero."""
    kept = weight.copy()
    kept[fold] = 0.0
    return kept


def can_leave_out(data: Data, fold: NDArray[np.int64]) -> bool:
    """Whether more points than parameters stay without some losses."""
    return int(np.sum(without(data.weight, fold) > 0)) > len(data.law.parameters)


def refit_without(
    data: Data,
    best: Outcome,
    settings: Settings,
    folds: Sequence[NDArray[np.int64]],
    pool: Pool = HERE,
) -> list[Outcome]:
    """Refits without the losses of each fold, from the fit and from the prior's centre.

    Args:
        data: the runs.
        best: the fit of all of them.
        settings: of that fit.
        folds: places of the losses left out of each.
        pool: where to refit, `FOLDS` folds at a time.

    Returns:
        One outcome a fold; its objective is infinite where a refit failed.

    Raises:
        PoolError: if processes of the pool keep dying.
    """
    given = sent(data, pool)
    pieces = [
        (given, best, settings, list(folds[first : first + FOLDS]))
        for first in range(0, len(folds), FOLDS)
    ]
    found = collect(pool, _refit_folds, pieces, f"{data.law.name}: refits without some runs")
    return [outcome for piece in found for outcome in piece]


@in_float64
def _refit_folds(
    given: Data | Sent, best: Outcome, settings: Settings, folds: Sequence[NDArray[np.int64]]
) -> list[Outcome]:
    """One piece of `refit_without`."""
    data = received(given)
    prior = settings.prior
    starts = [best.free] if prior is None else [best.free, data.prior_centre(prior)]
    weight = np.repeat([without(data.weight, fold) for fold in folds], len(starts), axis=0)
    begin = np.tile(np.array(starts), (len(folds), 1))
    strength = settings.strength(data, weight)
    jobs = data.jobs(begin, weight=weight, prior=prior, strength=strength)
    found = solve_jobs(
        data.law, data.problem, jobs, settings.objective, ties=data.ties, limits=data.limits
    )
    return [
        min(found[first : first + len(starts)], key=lambda each: each.objective)
        for first in range(0, len(found), len(starts))
    ]
