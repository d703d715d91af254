"""A solver by SciPy: slow, and independent of the default one.

All parameters, linear ones included, are searched together by a trust-region method; nothing is
eliminated. It cross-checks `VariableProjection`, and can be used where that one fails.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from scaling_laws.inference.fitting.objective import Objective, root
from scaling_laws.inference.fitting.problem import (
    Problem,
    Solution,
    SolveRequest,
    SolverStatus,
    nonlinear_values,
)
from scaling_laws.inference.fitting.solver import PREDICTION_FLOOR, SolveContext
from scaling_laws.models import Law, Support

__all__ = ["ScipySolver"]

RESIDUAL_SCALE = 1e3  # SciPy's gradient tolerance is absolute: this brings residuals near one


@dataclass(frozen=True)
class ScipyState:
    """A minimisation that is pending (no solution) or done."""

    start: NDArray[np.float64]
    solution: Solution | None = None


@dataclass(frozen=True)
class ScipySolver:
    """`scipy.optimize.least_squares`, one request after the other; a step runs it to its end.

    Attributes:
        max_evaluations: of the residuals, per request.
    """

    max_evaluations: int = 2000

    @property
    def name(self) -> str:
        """``scipy``."""
        return "scipy"

    @property
    def batch_size(self) -> int:
        """1."""
        return 1

    def init(self, context: SolveContext, request: SolveRequest) -> ScipyState:
        """A pending minimisation."""
        return ScipyState(np.asarray(request.start, dtype=np.float64))

    def step(
        self, context: SolveContext, requests: SolveRequest, states: list[ScipyState]
    ) -> list[ScipyState]:
        """Solve what is pending."""
        return [
            state
            if state.solution is not None
            else replace(
                state,
                solution=_solve_one(
                    context,
                    jax.tree.map(lambda leaf: np.asarray(leaf)[row], requests),  # noqa: B023
                    state.start,
                    self.max_evaluations,
                ),
            )
            for row, state in enumerate(states)
        ]

    def done(self, state: ScipyState) -> bool:
        """Whether there is a solution."""
        return state.solution is not None

    def result(self, state: ScipyState) -> Solution:
        """The solution."""
        assert state.solution is not None
        return state.solution


@cache
def _compiled(law: Law, objective: Objective, ties: tuple[tuple[str, str], ...]) -> Any:
    """(problem, request, point, scale) -> residuals, and their Jacobian.

    A point is the unconstrained nonlinear parameters, followed by the linear ones.
    """
    size = len(law.nonlinear_parameters)

    def residual(problem: Problem, request: SolveRequest, point: Any, scale: Any) -> Any:
        unconstrained, amplitudes = point[:size], point[size:]
        values = nonlinear_values(law, unconstrained, ties)
        predicted = jnp.maximum(
            problem.design_matrix(law, values) @ amplitudes, PREDICTION_FLOOR * request.observed
        )
        misfit = root(objective, jnp.log(request.observed) - jnp.log(predicted))
        prior = jnp.sqrt(request.prior_precision) * (unconstrained - request.prior_mean)
        return jnp.concatenate([jnp.sqrt(request.weight) * misfit, prior]) * scale

    return jax.jit(residual), jax.jit(jax.jacfwd(residual, argnums=2))


def _solve_one(
    context: SolveContext,
    request: SolveRequest,
    start: NDArray[np.float64],
    max_evaluations: int,
) -> Solution:
    law, problem = context.law, context.problem
    residual, jacobian = _compiled(law, context.objective, context.ties)
    size = len(law.nonlinear_parameters)
    fixed = np.asarray(request.fixed_amplitudes)
    initial = np.append(start, np.where(np.isnan(fixed), 1.0, fixed))
    signed = [parameter.support is Support.REAL for parameter in law.linear_parameters]
    lower = np.append(context.bounds[0], [-np.inf if real else 0.0 for real in signed])
    upper = np.append(context.bounds[1], np.full(len(law.linear_parameters), np.inf))
    searched = np.append(request.free_mask, np.isnan(fixed))
    scale = RESIDUAL_SCALE

    def full(point: NDArray[np.float64]) -> NDArray[np.float64]:
        complete = initial.copy()
        complete[searched] = point
        return complete

    try:
        result = least_squares(
            lambda point: np.asarray(residual(problem, request, full(point), scale)),
            np.clip(initial, lower, upper)[searched],
            jac=lambda point: np.asarray(jacobian(problem, request, full(point), scale))[
                :, searched
            ],
            bounds=(lower[searched], upper[searched]),
            x_scale="jac",
            ftol=1e-12,
            xtol=1e-12,
            gtol=1e-10,
            max_nfev=max_evaluations,
        )
    except ValueError:  # the residuals were not finite
        return Solution(
            SolverStatus.NOT_FINITE, np.inf, start, np.zeros(len(law.linear_parameters)), 0
        )
    status = SolverStatus.CONVERGED if result.status > 0 else SolverStatus.OUT_OF_ITERATIONS
    end = full(result.x)
    return Solution(status, float(result.cost) / scale**2, end[:size], end[size:], int(result.nfev))
