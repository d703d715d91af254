"""The same fits by SciPy: slow, and with nothing in common but the law and the objective.

All parameters, amplitudes included, are searched together by a trust-region solver; no amplitude
is eliminated. It checks the solver in use, and serves where that one fails.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from scaling_laws.inference.fitting.objective import Objective, root
from scaling_laws.inference.fitting.problem import Job, Problem, shape_values
from scaling_laws.inference.fitting.starts import box
from scaling_laws.inference.fitting.varpro import FLOOR, Outcome, Status
from scaling_laws.models import Law, Support

__all__ = ["solve_with_scipy"]

EVALUATIONS = 2000


@cache
def _compiled(law: Law, objective: Objective, ties: tuple[tuple[str, str], ...]) -> Any:
    """(problem, job, free and amplitudes, scale) -> residuals, and their Jacobian."""
    size = len(law.nonlinear_parameters)

    def residual(problem: Problem, job: Job, point: Any, scale: Any) -> Any:
        free, amplitudes = point[:size], point[size:]
        values = shape_values(law, free, ties)
        predicted = jnp.maximum(
            problem.design_matrix(law, values) @ amplitudes, FLOOR * job.observed
        )
        misfit = root(objective, jnp.log(job.observed) - jnp.log(predicted))
        pull = jnp.sqrt(job.pull) * (free - job.centre)
        return jnp.concatenate([jnp.sqrt(job.weight) * misfit, pull]) * scale

    return jax.jit(residual), jax.jit(jax.jacfwd(residual, argnums=2))


def solve_with_scipy(
    law: Law,
    problem: Problem,
    jobs: Job,
    objective: Objective,
    *,
    ties: tuple[tuple[str, str], ...] = (),
    limits: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
    report: Callable[[int, float], None] | None = None,
) -> list[Outcome]:
    """As `lanes.solve_jobs`, one job after the other."""
    functions = _compiled(law, objective, ties)
    low, high = box(law.nonlinear_parameters) if limits is None else limits
    outcomes: list[Outcome] = []
    for place in range(len(jobs.observed)):
        job = jax.tree.map(lambda leaf: np.asarray(leaf)[place], jobs)  # noqa: B023
        outcomes.append(_solve_one(law, problem, job, functions, low, high))
        if report is not None:
            report(len(outcomes), min(each.objective for each in outcomes))
    return outcomes


def _solve_one(
    law: Law,
    problem: Problem,
    job: Job,
    functions: tuple[Any, Any],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
) -> Outcome:
    size = len(law.nonlinear_parameters)
    start = np.where(job.moving, np.clip(job.start, low, high), job.start)
    held = np.asarray(job.held)
    # amplitudes begin where a straight line through the losses would put them
    level = np.append(start, np.where(np.isnan(held), 1.0, held))
    signed = [each.support is Support.REAL for each in law.linear_parameters]
    least = np.append(low, [-np.inf if free else 0.0 for free in signed])
    most = np.append(high, np.full(len(law.linear_parameters), np.inf))
    moves = np.append(job.moving, np.isnan(held))
    scale = 1e3  # SciPy's gradient tolerance is absolute: residuals near one mean the same anywhere

    def full(point: NDArray[np.float64]) -> NDArray[np.float64]:
        whole = level.copy()
        whole[moves] = point
        return whole

    try:
        found = least_squares(
            lambda point: np.asarray(functions[0](problem, job, full(point), scale)),
            np.clip(level, least, most)[moves],
            jac=lambda point: np.asarray(functions[1](problem, job, full(point), scale))[:, moves],
            bounds=(least[moves], most[moves]),
            x_scale="jac",
            ftol=1e-12,
            xtol=1e-12,
            gtol=1e-10,
            max_nfev=EVALUATIONS,
        )
    except ValueError:  # not finite where the solver went
        return Outcome(Status.NOT_FINITE, np.inf, start, np.zeros(len(law.linear_parameters)), 0)
    status = Status.CONVERGED if found.status > 0 else Status.OUT_OF_ITERATIONS
    end = full(found.x)
    return Outcome(status, float(found.cost) / scale**2, end[:size], end[size:], int(found.nfev))
