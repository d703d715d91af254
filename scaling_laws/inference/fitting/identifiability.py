"""What the runs do not identify: active bounds, flat directions, similar runs, no abrupt drop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import ConvergenceWarning, IdentifiabilityWarning
from scaling_laws.inference.constants import BLOCKS
from scaling_laws.inference.fitting.fit_data import Data
from scaling_laws.inference.fitting.notes import Note
from scaling_laws.inference.fitting.priors import Prior
from scaling_laws.inference.fitting.problem import Solution
from scaling_laws.models import Schedule

__all__ = ["abrupt_drop", "condition_number", "identifiability"]

Array = NDArray[np.float64]
NUDGE = 1e-4  # relative change of a parameter for a difference quotient
LOOSE = 1.0  # sd of a log parameter along the flattest direction above which it is reported
NO_DROP = "no abrupt drop among the fitted runs"  # start of the message; planning searches for it
ABRUPT = 0.3  # drop within 1 % of a run, as a share of the peak LR, that identifies the memory
ALIKE = 0.02  # LR difference, as a share of the peak, below which two schedules count as the same


def identifiability(
    data: Data,
    best: Solution,
    params: Mapping[str, float],
    prior: Prior | None,
    refits: Sequence[Solution],
) -> tuple[float, list[Note]]:
    """The condition number of a fit, and what these runs do not identify.

    Args:
        data: the runs.
        best: the fit.
        params: its parameters in the unit of the logs.
        prior: of the fit.
        refits: its bootstrap refits, if there are any.
    """
    notes = _bounds(data, best, params)
    condition, smallest, flat = condition_number(data, best)
    error = np.log(data.observed) - np.log(data.predict([best])[0])
    # residuals are autocorrelated: a run counts as `BLOCKS` points
    correlation = max(1.0, len(error) / (BLOCKS * len(data.runs)))
    flattest_sd = float(np.sqrt(correlation * np.average(error**2, weights=data.weight))) / smallest
    if flattest_sd > LOOSE:
        advice = "do not interpret them individually"
        if prior is None:
            advice = "other values fit as well; add runs, or use the prior"
        notes.append(
            _doubt(
                f"condition number {condition:.1g}: {', '.join(flat)} are not identified "
                f"separately; {advice}"
            )
        )
    if prior is not None and refits:
        notes += _prior_only(data, prior, refits)
    memory = [name for name in data.law.memory if name not in data.fixed]
    largest_drops = [abrupt_drop(run.schedule, int(run.steps[-1])) for run in data.runs]
    if memory and max(largest_drops) < ABRUPT:
        notes.append(
            _doubt(
                f"{NO_DROP}: the memory ({', '.join(memory)}) is not identified; add a run whose "
                f"LR drops abruptly, e.g. multistage:{_example(data)}"
            )
        )
    if len(data.runs) > 1 and _alike(data):
        notes.append(
            _doubt(
                "all fitted runs follow the same schedule: predictions for another one are "
                "extrapolations; add a run with a different schedule"
            )
        )
    return condition, notes


def _doubt(message: str) -> Note:
    return Note(message, IdentifiabilityWarning)


def _bounds(data: Data, best: Solution, params: Mapping[str, float]) -> list[Note]:
    notes = []
    low, high = data.bounds
    for index, parameter in enumerate(data.law.nonlinear_parameters):
        if not data.free_mask()[index]:
            continue
        for limit, bound in zip((low[index], high[index]), parameter.bounds, strict=True):
            if abs(best.unconstrained[index] - limit) < 1e-3:
                message = f"{parameter.name} ended on its bound {bound:g}"
                notes.append(Note(f"{message}: these runs do not identify it", ConvergenceWarning))
    for parameter in data.law.linear_parameters:
        if params[parameter.name] == 0 and parameter.name not in data.fixed:
            notes.append(
                _doubt(f"{parameter.name} is 0: no effect in these runs ({parameter.meaning})")
            )
    return notes


def condition_number(data: Data, best: Solution) -> tuple[float, float, list[str]]:
    """Of the Gauss-Newton matrix of log losses in log parameters.

    Returns:
        The number, the smallest singular value of the Jacobian, and the parameters in
        its direction.
    """
    names, plus, minus = [], [], []
    for index, parameter in enumerate(data.law.nonlinear_parameters):
        if data.free_mask()[index]:
            step = np.zeros(len(best.unconstrained))
            step[index] = NUDGE
            names.append(parameter.name)
            plus.append(replace(best, unconstrained=best.unconstrained + step))
            minus.append(replace(best, unconstrained=best.unconstrained - step))
    for index, parameter in enumerate(data.law.linear_parameters):
        if best.amplitudes[index] != 0 and parameter.name not in data.fixed:
            scale = np.ones(len(best.amplitudes))
            scale[index] = 1.0 + NUDGE
            names.append(parameter.name)
            plus.append(replace(best, amplitudes=best.amplitudes * scale))
            minus.append(replace(best, amplitudes=best.amplitudes / scale))
    losses = np.log(data.predict([*plus, *minus]))
    jacobian = (losses[: len(plus)] - losses[len(plus) :]).T / (2.0 * NUDGE)
    jacobian = jacobian * np.sqrt(data.weight)[:, None]
    _, singular, directions = np.linalg.svd(jacobian, full_matrices=False)
    flat = [name for name, part in zip(names, directions[-1], strict=True) if abs(part) > 0.2]
    smallest = max(float(singular[-1]), 1e-12 * float(singular[0]))
    return float((singular[0] / smallest) ** 2), smallest, flat


def _prior_only(data: Data, prior: Prior, refits: Sequence[Solution]) -> list[Note]:
    """One note on the parameters whose refits vary as much as the prior."""
    names = []
    unconstrained = np.array([solution.unconstrained for solution in refits])
    for index, parameter in enumerate(data.law.nonlinear_parameters):
        sd = prior.sd.get(parameter.name)
        if sd is None or not data.free_mask()[index]:
            continue
        if np.std(unconstrained[:, index]) > 0.85 * sd:
            names.append(parameter.name)
    if not names:
        return []
    return [
        _doubt(
            f"{', '.join(names)}: value and interval come from the prior, not from these runs; "
            f"prior: {prior.source}"
        )
    ]


def abrupt_drop(schedule: Schedule, last: int | None = None) -> float:
    """Largest drop within 1 % of a run, up to a step, as a share of the peak LR."""
    lr = schedule.lr if last is None else schedule.lr[: last + 1]
    distance = max(1, schedule.steps // 100)
    before, after = lr[:-distance], lr[distance:]
    if before.size == 0:
        return 0.0
    return float(np.max(before - after, initial=0.0) / max(float(lr.max()), np.finfo(float).tiny))


def _example(data: Data) -> str:
    longest: Schedule = max((run.schedule for run in data.runs), key=lambda plan: plan.steps)
    return (
        f"peak={longest.peak_lr:g},at={longest.steps // 2},to={0.1 * longest.peak_lr:.3g},"
        f"steps={longest.steps},warmup={longest.warmup}"
    )


def _alike(data: Data) -> bool:
    plans: Sequence[Schedule] = [run.schedule for run in data.runs]
    reference = plans[0].lr
    for plan in plans[1:]:
        shared = min(len(reference), len(plan.lr))
        if np.max(np.abs(reference[:shared] - plan.lr[:shared])) > ALIKE * plans[0].peak_lr:
            return False
    return True
