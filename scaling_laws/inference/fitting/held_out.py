"""Held-out errors of a fit: refits without some runs, and the resulting uncertainty."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import Pool
from scaling_laws.inference.fitting.bootstrap import BootstrapRequest, resample
from scaling_laws.inference.fitting.calibration import FEW_RUNS, HeldOutErrors, calibrate
from scaling_laws.inference.fitting.fit_data import Data
from scaling_laws.inference.fitting.multistart import (
    FOLDS_PER_TASK,
    Settings,
    can_leave_out,
    refit_folds,
    without,
)
from scaling_laws.inference.fitting.problem import Solution
from scaling_laws.inference.results import Uncertainty, VarianceInputs
from scaling_laws.inference.results.uncertainty import robust_sd

__all__ = ["chunks_of_folds", "held_out_uncertainty"]

Array = NDArray[np.float64]
Fold = NDArray[np.int64]
MAX_FOLDS = 40
FOLD_DRAWS = 32  # bootstrap refits per fold


def chunks_of_folds(runs: int, draws: int) -> int:
    """Upper bound on the number of tasks for the folds of a fit."""
    if draws and runs <= FEW_RUNS:
        return runs
    return -(-min(runs, MAX_FOLDS) // FOLDS_PER_TASK)


def held_out_uncertainty(
    data: Data,
    best: Solution,
    settings: Settings,
    refits: Sequence[Solution],
    pool: Pool,
) -> Uncertainty | None:
    """Refit without some runs at a time, or without the tail of a single one.

    Args:
        data: the runs.
        best: the fit to all of them.
        settings: of that fit.
        refits: its bootstrap refits.
        pool: where to refit.

    Returns:
        The uncertainty; None if no fold could be refitted.
    """
    method, folds = _folds(data)
    if not folds:
        return None
    outcomes = refit_folds(data, best, settings, folds, pool)
    errors = np.log(data.observed) - np.log(data.predict([best, *outcomes]))
    sd = _log_loss_sd(data, refits)
    fitted = [
        _errors_of_run(data, np.flatnonzero(data.run == index), errors[0], sd)
        for index in range(len(data.runs))
    ]
    succeeded = [
        number for number, solution in enumerate(outcomes) if np.isfinite(solution.objective)
    ]
    sd_of_fold = dict.fromkeys(succeeded, sd)
    if refits and len(data.runs) <= FEW_RUNS:  # a fold determines its parameters much less well
        bootstraps = [
            BootstrapRequest(
                outcomes[number], FOLD_DRAWS, 1 + number, without(data.weight, folds[number])
            )
            for number in succeeded
        ]
        drawn = resample(data, settings, bootstraps, pool, "bootstrap refits of the folds")
        sd_of_fold = {
            number: _log_loss_sd(data, solutions)
            for number, solutions in zip(succeeded, drawn, strict=True)
        }
    held_out = [
        _errors_of_run(
            data,
            folds[number][data.run[folds[number]] == run],
            errors[1 + number],
            sd_of_fold[number],
        )
        for number in succeeded
        for run in np.unique(data.run[folds[number]])
    ]
    return calibrate(method, held_out, fitted, len(folds)) if held_out else None


def _folds(data: Data) -> tuple[str, list[Fold]]:
    """How runs are held out, and the indices of the losses of each fold that can be left out."""
    count = len(data.runs)
    if count == 1:
        method = "leave_tail_out"
        folds = [np.flatnonzero(np.arange(len(data.observed)) >= 2 * len(data.observed) // 3)]
    else:
        number = min(count, MAX_FOLDS)
        method = "leave_one_run_out" if number == count else "leave_runs_out"
        folds = [np.flatnonzero(data.run % number == fold) for fold in range(number)]
    return method, [fold for fold in folds if can_leave_out(data, fold)]


def _log_loss_sd(data: Data, refits: Sequence[Solution]) -> Array:
    """Robust standard deviation of log losses over refits: (losses,)."""
    if len(refits) < 2:
        return np.zeros(len(data.observed))
    return robust_sd(np.log(data.predict(refits)))


def _errors_of_run(data: Data, losses: Fold, error: Array, sd: Array) -> HeldOutErrors:
    """Errors of losses of one run, given by indices.

    Args:
        data: the runs.
        losses: indices, all of one run.
        error: of all losses, (losses,).
        sd: of the log predictions, over refits: (losses,).
    """
    index = int(data.run[losses[0]])
    run = data.runs[index]
    steps = run.steps[losses - int(np.argmax(data.run == index))]
    return HeldOutErrors(error[losses], VarianceInputs.of(run.schedule.lr, steps, sd[losses]))
