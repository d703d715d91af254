"""Many starts of a trust-region least-squares solver over the shape parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.stats import qmc

from scaling_laws.errors import FitError
from scaling_laws.fitting.objective import HUBER_DELTA
from scaling_laws.fitting.projection import Problem, Trial, compiled_trial
from scaling_laws.laws import Law
from scaling_laws.params import Parameter, Support

__all__ = ["Outcome", "Status", "box", "draw_starts", "solve"]

Array = NDArray[np.float64]
MAX_EVALUATIONS = 300


class Status(Enum):
    """How a start ended; the value is the message."""

    CONVERGED = "converged"
    OUT_OF_EVALUATIONS = "ran out of evaluations; give it more starts"
    NOT_FINITE = (
        "the loss was not finite; look for losses or learning rates of extreme size, "
        "or leave out early points with --from-step"
    )


@dataclass(frozen=True)
class Outcome:
    """One start.

    Attributes:
        status: how it ended.
        objective: sum of Huber at the end; infinite unless finite.
        free: unconstrained shape parameters.
        amplitudes: solved amplitudes.
    """

    status: Status
    objective: float
    free: Array
    amplitudes: Array


class _NotFinite(Exception):
    """Leaves the solver when a Jacobian is not finite."""


def box(parameters: Sequence[Parameter]) -> tuple[Array, Array]:
    """Lowest and highest free value of each parameter."""
    low = [parameter.support.free(parameter.bounds[0]) for parameter in parameters]
    high = [parameter.support.free(parameter.bounds[1]) for parameter in parameters]
    return np.array(low), np.array(high)


def draw_starts(parameters: Sequence[Parameter], count: int, seed: int) -> Array:
    """Start points in free parameters: the middle of the start ranges, then a Sobol sequence.

    Returns:
        Array of shape (count, parameters); one start where there is none.
    """
    if not parameters:
        return np.zeros((1, 0))  # linear in all its parameters: one start is as good as many
    low = np.array([parameter.support.free(parameter.start[0]) for parameter in parameters])
    high = np.array([parameter.support.free(parameter.start[1]) for parameter in parameters])
    # what a forgetting factor remembers spans decades: draw its logarithm evenly
    memory = np.array([parameter.support is Support.UNIT for parameter in parameters])
    low[memory], high[memory] = np.log(low[memory]), np.log(high[memory])
    sobol = qmc.Sobol(len(parameters), seed=np.random.default_rng(seed))
    share: Array = sobol.random_base2(max(1, math.ceil(math.log2(max(count, 2)))))
    share[0] = 0.5
    points: Array = low + share[:count] * (high - low)
    points[:, memory] = np.exp(points[:, memory])
    return points


def solve(
    law: Law,
    problem: Problem,
    starts: Array,
    report: Callable[[int, float], None] | None = None,
) -> list[Outcome]:
    """Run the solver from every start.

    Args:
        law: the law.
        problem: the runs, with LRs scaled to a peak near 1.
        starts: free shape parameters, (starts, shape).
        report: called after each start with its number and the best objective so far.

    Returns:
        One outcome a start, in order.

    Raises:
        FitError: if no start ended in a finite objective, with the commonest cause.
    """
    outcomes: list[Outcome] = []
    for place, start in enumerate(starts):
        outcomes.append(_solve_one(law, problem, start))
        if report is not None:
            report(place + 1, min(outcome.objective for outcome in outcomes))
    if not any(math.isfinite(outcome.objective) for outcome in outcomes):
        causes = [outcome.status for outcome in outcomes]
        commonest = max(set(causes), key=causes.count)
        raise FitError(f"{law.name}: none of {len(starts)} starts succeeded: {commonest.value}")
    return outcomes


def _solve_one(law: Law, problem: Problem, start: Array) -> Outcome:
    trial = compiled_trial(law)
    cache: dict[bytes, Trial] = {}

    def evaluate(free: Array) -> Trial:
        key = free.tobytes()
        if key not in cache:
            cache.clear()  # the solver asks for value and Jacobian of one point in turn
            cache[key] = trial(problem, free)
        return cache[key]

    def residual(free: Array) -> Array:
        # in units of δ: the solver's absolute gradient tolerance then means the same anywhere
        return np.asarray(evaluate(free).residual) / HUBER_DELTA

    def jacobian(free: Array) -> Array:
        slope = np.asarray(evaluate(free).jacobian) / HUBER_DELTA
        if not np.isfinite(slope).all():
            raise _NotFinite
        return slope

    low, high = box(law.shape)
    start = np.clip(start, low, high)
    if not law.shape:
        only = evaluate(start)
        objective = 0.5 * float(np.sum(np.asarray(only.residual) ** 2))
        return Outcome(Status.CONVERGED, objective, start, np.asarray(only.amplitudes))
    failed = Outcome(Status.NOT_FINITE, math.inf, start, np.zeros(len(law.amplitudes)))
    if not np.isfinite(residual(start)).all():
        return failed
    try:
        result = least_squares(
            residual,
            start,
            jac=jacobian,
            bounds=(low, high),
            x_scale="jac",
            ftol=1e-9,
            xtol=1e-9,
            gtol=1e-7,
            max_nfev=MAX_EVALUATIONS,
        )
    except _NotFinite:
        return failed
    status = Status.CONVERGED if result.status > 0 else Status.OUT_OF_EVALUATIONS
    end = evaluate(result.x)
    objective = 0.5 * float(np.sum(np.asarray(end.residual) ** 2))
    if not math.isfinite(objective):
        status, objective = Status.NOT_FINITE, math.inf
    return Outcome(status, objective, result.x, np.asarray(end.amplitudes))
