"""A solver by SciPy: slow, and independent of the default one.

All parameters, linear ones included, are searched together by a trust-region method; nothing is
eliminated. It cross-checks `VariableProjection`, and can be used where that one fails.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from scaling_laws.inference.fitting.amplitudes import PREDICTION_FLOOR, predicted_losses
from scaling_laws.inference.fitting.objective import curvature, root
from scaling_laws.inference.fitting.problem import Solution, SolveRequest, SolverStatus
from scaling_laws.inference.fitting.solver import SolveContext
from scaling_laws.models import Support

__all__ = ["ScipySolver"]

Array = NDArray[np.float64]
RESIDUAL_SCALE = 1e3  # SciPy's gradient tolerance is absolute: this brings residuals near one


@dataclass(frozen=True)
class ScipyState:
    """A minimisation that is pending (no solution) or done."""

    start: Array
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
                    requests.rows(row),
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


class _LeastSquares:
    """Residuals of a request and their Jacobian, in SciPy's form.

    A point is the unconstrained nonlinear parameters, followed by the linear ones.
    """

    def __init__(self, context: SolveContext, request: SolveRequest) -> None:
        self._context, self._request = context, request
        self._size = len(context.law.nonlinear_parameters)

    def residuals(self, point: Array) -> Array:
        """Roots of the costs of the losses and of the prior: (losses + nonlinear,)."""
        request, unconstrained = self._request, point[: self._size]
        columns = self._context.design.columns(unconstrained[None])[0]
        misfit = root(self._context.objective, self._log_residual(columns, point[self._size :])[1])
        prior = np.sqrt(request.prior_precision) * (unconstrained - request.prior_mean)
        return np.concatenate([np.sqrt(request.weight) * misfit, prior]) * RESIDUAL_SCALE

    def jacobian(self, point: Array) -> Array:
        """Derivatives of the residuals: (losses + nonlinear, nonlinear + linear)."""
        request, objective = self._request, self._context.objective
        design = self._context.design.with_derivatives(point[None, : self._size])
        columns, derivatives = design[0][0], design[1][0]
        amplitudes = point[self._size :]
        predicted, residual = self._log_residual(columns, amplitudes)
        slope = np.sqrt(request.weight * curvature(objective, residual)) / -predicted
        slope = np.where(predicted > PREDICTION_FLOOR * request.observed, slope, 0.0)
        by_nonlinear = np.einsum("kjp,j->kp", derivatives, amplitudes)
        of_losses = np.concatenate([by_nonlinear, columns]) * slope
        of_prior = np.zeros((self._size, len(point)))
        np.fill_diagonal(of_prior, np.sqrt(request.prior_precision))
        return np.concatenate([of_losses.T, of_prior]) * RESIDUAL_SCALE

    def _log_residual(self, columns: Array, amplitudes: Array) -> tuple[Array, Array]:
        observed = self._request.observed
        predicted = predicted_losses(columns[None], amplitudes[None], observed[None])[0]
        return predicted, np.log(observed) - np.log(predicted)


def _solve_one(
    context: SolveContext, request: SolveRequest, start: Array, max_evaluations: int
) -> Solution:
    law = context.law
    size = len(law.nonlinear_parameters)
    fixed = np.asarray(request.fixed_amplitudes)
    initial = np.append(start, np.where(np.isnan(fixed), 1.0, fixed))
    signed = [parameter.support is Support.REAL for parameter in law.linear_parameters]
    lower = np.append(context.bounds[0], [-np.inf if real else 0.0 for real in signed])
    upper = np.append(context.bounds[1], np.full(len(law.linear_parameters), np.inf))
    searched = np.append(request.free_mask, np.isnan(fixed))
    problem = _LeastSquares(context, request)

    def full(point: Array) -> Array:
        complete = initial.copy()
        complete[searched] = point
        return complete

    try:
        result = least_squares(
            lambda point: problem.residuals(full(point)),
            np.clip(initial, lower, upper)[searched],
            jac=lambda point: problem.jacobian(full(point))[:, searched],
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
    objective = float(result.cost) / RESIDUAL_SCALE**2
    return Solution(status, objective, end[:size], end[size:], int(result.nfev))
