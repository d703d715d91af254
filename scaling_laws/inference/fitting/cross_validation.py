"""Cross-validation: predictions of points held out of a refit, for any choice of folds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaling_laws.data import Run
from scaling_laws.inference.constants import BLOCKS
from scaling_laws.inference.fitting.fit_data import Data, prepare
from scaling_laws.inference.fitting.multistart import (
    can_leave_out,
    multistart_fit,
    refit_folds,
)
from scaling_laws.inference.fitting.objective import Objective, read_objective
from scaling_laws.inference.fitting.priors import Prior, prior_for_runs
from scaling_laws.inference.fitting.solver import Solver
from scaling_laws.inference.fitting.solver_registry import find_solver
from scaling_laws.models import Law, in_float64

__all__ = [
    "HeldOut",
    "HeldOutFit",
    "cross_validate",
    "effective_points_of",
    "log_error_of",
]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Points of one run that were held out of a refit.

    Attributes:
        run: the run's name.
        fold: number of the refit.
        steps: of the points: (points,).
        observed: logged losses: (points,).
        predicted: predicted losses: (points,).
    """

    run: str
    fold: int
    steps: NDArray[np.int64]
    observed: Array
    predicted: Array


@dataclass(frozen=True, eq=False)
class HeldOutFit:
    """A law fitted to all runs, and its predictions of what was held out of refits.

    Attributes:
        held: predictions, run by run.
        left_out: folds that could not be fitted, by their numbers.
        log_error: root mean square of log(observed / predicted) of the fit to all runs.
        effective_points: number of independent points that the runs count as.
        n_params: free parameters.
    """

    held: tuple[HeldOut, ...]
    left_out: tuple[int, ...]
    log_error: float
    effective_points: float
    n_params: int


@in_float64
def cross_validate(
    law: Law,
    runs: Iterable[Run] | Mapping[str, Run],
    folds: Sequence[Mapping[str, int]],
    *,
    starts: int = 8,
    seed: int = 0,
    from_step: int | str = 0,
    objective: str | Objective = "huber",
    prior: str | Prior | None = "weak",
    solver: str | Solver = "varpro",
) -> HeldOutFit:
    """Fit a law to all runs, then without each fold, and predict the points of the fold.

    Refits start at the fit to all runs and at the mean of the prior.

    Args:
        law: the law.
        runs: the runs, or a mapping to them.
        folds: what each refit leaves out: a run's name -> the step from which its points are held
            out; 0 for all of them.
        starts: of the fit to all runs.
        seed: of the starts.
        from_step: as in `fit`.
        objective: as in `fit`.
        prior: as in `fit`.
        solver: as in `fit`.

    Raises:
        UsageError, LawError, FitError: as `fit`.
    """
    data = prepare(law, runs, from_step=from_step)
    cost = read_objective(objective) if isinstance(objective, str) else objective
    # logged norms of every run, held out or not: only losses are held out
    used_prior = prior_for_runs(law, prior, data.runs)
    result = multistart_fit(data, cost, used_prior, starts, seed, find_solver(solver))
    steps = np.concatenate([run.steps for run in data.runs])
    losses = [_losses_of(data, fold, steps) for fold in folds]
    tried = [number for number, fold in enumerate(losses) if can_leave_out(data, fold)]
    refits = refit_folds(data, result.best, result.settings, [losses[number] for number in tried])
    succeeded = {
        number: refit
        for number, refit in zip(tried, refits, strict=True)
        if np.isfinite(refit.objective)
    }
    predicted = data.predict([result.best, *succeeded.values()])
    predictions = []
    for number, prediction in zip(succeeded, predicted[1:], strict=True):
        fold = losses[number]
        for run in np.unique(data.run[fold]):
            part = fold[data.run[fold] == run]
            name = data.runs[run].name
            predictions.append(
                HeldOut(name, number, steps[part], data.observed[part], prediction[part])
            )
    return HeldOutFit(
        tuple(predictions),
        tuple(sorted(set(range(len(folds))) - set(succeeded))),
        log_error_of(data, predicted[0]),
        effective_points_of(data),
        len(law.parameters),
    )


def log_error_of(data: Data, predicted: Array) -> float:
    """Root mean square of log(observed / predicted), weighted as in the fit."""
    errors = np.log(data.observed) - np.log(predicted)
    return float(np.sqrt(np.average(errors**2, weights=data.weight)))


def effective_points_of(data: Data) -> float:
    """How many independent points the data count as: at most `BLOCKS` per run."""
    return float(min(len(data.observed), BLOCKS * len(data.runs)))


def _losses_of(data: Data, fold: Mapping[str, int], steps: NDArray[np.int64]) -> NDArray[np.int64]:
    """Indices of the losses that a fold holds out; `steps` are those of all losses."""
    index_of = {run.name: index for index, run in enumerate(data.runs)}
    parts = [
        (data.run == index_of[name]) & (steps >= first_step) for name, first_step in fold.items()
    ]
    return np.flatnonzero(np.any(parts, axis=0))
