"""Predictions of points that a refit had not seen, for any way of leaving points out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaling_laws.data import Run
from scaling_laws.inference.fitting.fit_data import Data, prepare
from scaling_laws.inference.fitting.multistart import (
    BLOCKS,
    can_leave_out,
    refit_without,
    search_fit,
)
from scaling_laws.inference.fitting.objective import Objective, read_objective
from scaling_laws.inference.fitting.priors import Prior, prior_for_runs
from scaling_laws.models import Law, in_float64

__all__ = [
    "HeldOut",
    "HeldOutFit",
    "effective_points_of",
    "log_error_of",
    "predict_held_out",
]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Points of one run that a refit had not seen.

    Attributes:
        run: the run's name.
        fold: which refit.
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
        effective_points: how many independent points the runs count as.
        n_params: free parameters.
    """

    held: tuple[HeldOut, ...]
    left_out: tuple[int, ...]
    log_error: float
    effective_points: float
    n_params: int


@in_float64
def predict_held_out(
    law: Law,
    runs: Iterable[Run] | Mapping[str, Run],
    folds: Sequence[Mapping[str, int]],
    *,
    starts: int = 8,
    seed: int = 0,
    from_step: int | str = 0,
    objective: str | Objective = "huber",
    prior: str | Prior | None = "weak",
    report: Callable[[str], None] | None = None,
) -> HeldOutFit:
    """Fit a law to all runs, then without some points at a time, and predict those.

    Refits begin at the fit to all runs and at the centre of the prior, and share its compilation.

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
        report: called with a line of progress now and then.

    Raises:
        UsageError, LawError, FitError: as `fit`.
    """
    data = prepare(law, runs, from_step=from_step)
    cost = read_objective(objective) if isinstance(objective, str) else objective
    # norms of every run, the held-out ones too: of these only the losses are unseen
    belief = prior_for_runs(law, prior, data.runs)
    search = search_fit(data, cost, belief, starts, seed, report=report)
    place_of = {run.name: place for place, run in enumerate(data.runs)}
    steps = np.concatenate([run.steps for run in data.runs])
    places = [
        np.flatnonzero(
            np.any(
                [(data.run == place_of[name]) & (steps >= first) for name, first in fold.items()],
                axis=0,
            )
        )
        for fold in folds
    ]
    fine = [number for number, fold in enumerate(places) if can_leave_out(data, fold)]
    refits = refit_without(data, search.best, search.settings, [places[each] for each in fine])
    found = [np.isfinite(refit.objective) for refit in refits]
    fine = [number for number, good in zip(fine, found, strict=True) if good]
    refits = [refit for refit, good in zip(refits, found, strict=True) if good]
    predicted = data.predict([search.best, *refits])
    held = []
    for number, losses in zip(fine, predicted[1:], strict=True):
        for place in np.unique(data.run[places[number]]):
            mine = places[number][data.run[places[number]] == place]
            name = data.runs[place].name
            held.append(HeldOut(name, number, steps[mine], data.observed[mine], losses[mine]))
    return HeldOutFit(
        tuple(held),
        tuple(sorted(set(range(len(folds))) - set(fine))),
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
