"""Variable projection: Levenberg-Marquardt with the linear parameters eliminated.

A trial of the nonlinear parameters re-solves the linear ones (variable projection; Golub and
Pereyra 1973, with Kaufman's 1975 Jacobian), so the search runs over the few nonlinear parameters
only, with a condition number four orders of magnitude smaller. The law is evaluated by a compiled
program; the rest is arithmetic on small matrices, of many requests at once, in NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import usable_threads
from scaling_laws.inference.fitting.amplitudes import fit_amplitudes, predicted_losses
from scaling_laws.inference.fitting.objective import curvature
from scaling_laws.inference.fitting.problem import Solution, SolveRequest, SolverStatus
from scaling_laws.inference.fitting.solver import SolveContext
from scaling_laws.models import Support

__all__ = ["VariableProjection"]

Array = NDArray[np.float64]
RIDGE = 1e-12  # of the normalised linear Jacobian
BATCH_SIZE = 128  # requests that advance together
ROUND = 6  # iterations between two checks for finished requests
MAX_STEP = 3.0  # largest step of an unconstrained parameter: a factor of 20 in a positive one
MAX_DAMPING = 1e12
CURVATURE_FACTORS = (0.2, 1.0)  # a robust cost curves less than its Gauss-Newton model
TRUSTED = 1.0  # damping below which a small predicted decrease means a minimum


class _State(NamedTuple):
    """Requests, one per row: the current point, the local quadratic model there, and the damping.

    A request begins with an infinite objective, zero amplitudes and a model with zero gradient: its
    first trial is the start itself, and is accepted. Zero amplitudes give tiny predictions, whose
    reweighted solve is plain least squares of relative errors.
    """

    unconstrained: Array
    amplitudes: Array
    objective: Array
    gradient: Array  # of the objective in the unconstrained parameters, amplitudes re-solved
    gauss_newton_hessian: Array  # of the same
    amplitude_step: Array  # by which the model would change the amplitudes now, (linear,)
    amplitude_response: Array  # and per change of an unconstrained parameter, (linear, nonlinear)
    curvature_factor: Array  # of the data's share of the Hessian, learnt from the last step
    damping: Array
    damping_growth: Array
    small_steps: Array  # consecutive steps with a negligible predicted decrease
    iterations: Array
    running: Array

    def rows(self, chosen: NDArray[np.int64]) -> _State:
        """Some of the requests, copied."""
        return _State(*(leaf[chosen] for leaf in self))


class _Step(NamedTuple):
    """Trials, (rows, nonlinear), and the predicted decreases before and after clipping, (rows,)."""

    trial: Array
    unclipped_decrease: Array
    predicted_decrease: Array


class _Model(NamedTuple):
    """Amplitudes, objective and its quadratic model at trials, one per row."""

    amplitudes: Array
    objective: Array
    gradient: Array
    gauss_newton_hessian: Array
    amplitude_step: Array
    amplitude_response: Array


@dataclass(frozen=True)
class VariableProjection:
    """Levenberg-Marquardt on the nonlinear parameters, the linear ones solved exactly.

    Attributes:
        max_iterations: per request.
        tolerance: of the objective: two consecutive steps with a smaller predicted decrease end a
            request, or with one that the context calls negligible.
    """

    max_iterations: int = 300
    tolerance: float = 1e-8

    @property
    def name(self) -> str:
        """``varpro``."""
        return "varpro"

    @property
    def batch_size(self) -> int:
        """Number of requests whose arithmetic is done together."""
        return BATCH_SIZE

    def init(self, context: SolveContext, request: SolveRequest) -> _State:
        """The start of a request, not yet evaluated."""
        size, linear = len(context.law.nonlinear_parameters), len(context.law.linear_parameters)
        return _State(
            unconstrained=np.asarray(request.start, dtype=np.float64),
            amplitudes=np.zeros(linear),
            objective=np.array(np.inf),
            gradient=np.zeros(size),
            gauss_newton_hessian=np.eye(size),
            amplitude_step=np.zeros(linear),
            amplitude_response=np.zeros((linear, size)),
            curvature_factor=np.array(1.0),
            damping=np.array(1e-2),
            damping_growth=np.array(2.0),
            small_steps=np.array(0),
            iterations=np.array(0),
            running=np.array(True),
        )

    def step(
        self, context: SolveContext, requests: SolveRequest, states: list[_State]
    ) -> list[_State]:
        """Up to `ROUND` iterations of every state that is running."""
        batch = _State(*(np.stack(leaves) for leaves in zip(*states, strict=True)))
        running = np.flatnonzero(batch.running)
        workers = usable_threads() if jax.default_backend() == "cpu" else 1
        pieces = max(min(workers, len(running) // 2), -(-len(running) // context.design.rows))
        shares = np.array_split(running, max(1, pieces))  # each of them fits into memory

        def advance(rows: NDArray[np.int64]) -> _State:
            return self._advance(context, requests.rows(rows), batch.rows(rows))

        if len(shares) == 1:
            advanced = [advance(shares[0])]
        else:
            with ThreadPoolExecutor(workers) as threads:
                advanced = list(threads.map(advance, shares))
        for rows, part in zip(shares, advanced, strict=True):
            for leaf, new in zip(batch, part, strict=True):
                leaf[rows] = new
        return [_State(*(leaf[row] for leaf in batch)) for row in range(len(states))]

    def done(self, state: _State) -> bool:
        """Whether it converged, failed, or ran out of iterations."""
        return not state.running

    def result(self, state: _State) -> Solution:
        """The last accepted point."""
        objective = float(state.objective)
        status = SolverStatus.CONVERGED
        if not np.isfinite(objective):
            status = SolverStatus.NOT_FINITE
        elif state.iterations >= self.max_iterations:
            status = SolverStatus.OUT_OF_ITERATIONS
        return Solution(
            status,
            objective,
            np.array(state.unconstrained),
            np.array(state.amplitudes),
            int(state.iterations),
        )

    def _advance(self, context: SolveContext, requests: SolveRequest, state: _State) -> _State:
        """Up to `ROUND` iterations; stops when no request is running."""
        with np.errstate(all="ignore"):  # trials that are not finite are rejected
            for _ in range(ROUND):
                running = np.flatnonzero(state.running)
                part = requests.rows(running)
                step = _trial(context, part, state.rows(running))
                # where the model is trusted and sees no more to gain, a trial would tell nothing
                over = (step.unclipped_decrease < context.negligible) & (
                    state.damping[running] < TRUSTED
                )
                over &= state.iterations[running] > 0
                state.running[running[over]] = False
                if over.all():
                    break
                left = np.flatnonzero(~over)
                running = running[left]
                step = _Step(*(leaf[left] for leaf in step))
                after = self._iterate(context, part.rows(left), state.rows(running), step)
                for leaf, new in zip(state, after, strict=True):
                    leaf[running] = new
        return state

    def _iterate(
        self, context: SolveContext, requests: SolveRequest, state: _State, step: _Step
    ) -> _State:
        """One trial of every request: (rows, ...) -> (rows, ...)."""
        trial, unclipped_decrease, predicted_decrease = step
        response = np.matmul(state.amplitude_response, (trial - state.unconstrained)[..., None])
        guess = state.amplitudes + state.amplitude_step + response[..., 0]
        model = _evaluate(context, requests, trial, guess)
        finite = (
            np.isfinite(model.objective)
            & np.isfinite(model.gradient).all(axis=1)
            & np.isfinite(model.gauss_newton_hessian).all(axis=(1, 2))
        )
        decrease = np.where(finite, state.objective - model.objective, -np.inf)
        accepted = decrease > 0
        ratio = np.where(accepted, decrease / np.maximum(predicted_decrease, 1e-300), 0.0)
        # a parabola along the step with the observed decrease has 2 - ratio times the curvature
        factor = np.where(accepted & (decrease < np.inf), 2.0 - ratio, 1.0)
        factor = np.clip(state.curvature_factor * factor, *CURVATURE_FACTORS)
        shrink = np.maximum(1.0 / 5.0, 1.0 - (2.0 * np.minimum(ratio, 1.0) - 1.0) ** 3)
        is_first = state.iterations == 0
        damping = state.damping * np.where(accepted, shrink, state.damping_growth)
        damping = np.where(is_first, state.damping, damping)
        negligible = np.maximum(self.tolerance * state.objective, context.negligible)
        small_steps = np.where(
            (unclipped_decrease < negligible) & ~(decrease > negligible), state.small_steps + 1, 0
        )
        iterations = state.iterations + 1
        running = (
            (small_steps < 2)
            & (damping < MAX_DAMPING)
            & (iterations < self.max_iterations)
            & ~(is_first & ~finite)
        )

        def chosen(new: Array, old: Array) -> Array:
            return np.where(accepted.reshape(-1, *[1] * (new.ndim - 1)), new, old)

        return _State(
            unconstrained=chosen(trial, state.unconstrained),
            amplitudes=chosen(model.amplitudes, state.amplitudes),
            objective=chosen(model.objective, state.objective),
            gradient=chosen(model.gradient, state.gradient),
            gauss_newton_hessian=chosen(model.gauss_newton_hessian, state.gauss_newton_hessian),
            amplitude_step=chosen(model.amplitude_step, state.amplitude_step),
            amplitude_response=chosen(model.amplitude_response, state.amplitude_response),
            curvature_factor=np.where(accepted, factor, 1.0),
            damping=np.clip(damping, 1e-9, MAX_DAMPING),
            damping_growth=np.where(accepted, 2.0, 2.0 * state.damping_growth),
            small_steps=small_steps,
            iterations=iterations,
            running=running,
        )


def _trial(context: SolveContext, requests: SolveRequest, state: _State) -> _Step:
    """The next point of every request, and the decrease that the model predicts for it."""
    low, high = context.bounds
    gradient, precision = state.gradient, _diagonal(requests.prior_precision)
    hessian = state.gauss_newton_hessian - precision
    hessian = state.curvature_factor[:, None, None] * hessian + precision
    blocked = ((state.unconstrained <= low) & (gradient > 0)) | (
        (state.unconstrained >= high) & (gradient < 0)
    )
    searched = np.where(requests.free_mask & ~blocked, 1.0, 0.0)
    diagonal = np.einsum("rkk->rk", hessian)
    floor = 1e-12 * np.max(diagonal, axis=1, initial=0.0) + 1e-30
    scale = np.sqrt(np.maximum(diagonal, floor[:, None]))
    normal = hessian / (scale[:, :, None] * scale[:, None, :])
    system = normal * searched[:, :, None] * searched[:, None, :]
    system += _diagonal(1.0 - searched + state.damping[:, None] * searched)
    step = np.linalg.solve(system, (-gradient / scale * searched)[..., None])[..., 0] / scale
    unclipped_decrease = -0.5 * np.sum(gradient * step, axis=1)
    # per parameter, so that a poorly determined one does not shorten the step in the others
    trial = np.clip(state.unconstrained + np.clip(step, -MAX_STEP, MAX_STEP), low, high)
    # fixed coordinates keep their value, even outside the bounds
    trial = np.where(requests.free_mask, trial, state.unconstrained)
    step = trial - state.unconstrained
    curved = np.matmul(hessian, step[..., None])[..., 0]
    predicted_decrease = -np.sum(step * (gradient + 0.5 * curved), axis=1)
    return _Step(trial, unclipped_decrease, predicted_decrease)


def _evaluate(
    context: SolveContext, requests: SolveRequest, trial: Array, amplitudes: Array
) -> _Model:
    """The objective at trials, (rows, nonlinear), and its quadratic model there."""
    columns, derivatives = _design(context, trial)
    objective, observed = context.objective, requests.observed
    signed = [parameter.support is Support.REAL for parameter in context.law.linear_parameters]
    amplitudes = fit_amplitudes(columns, requests, objective, signed, amplitudes)
    predicted = predicted_losses(columns, amplitudes, observed)
    residual = np.log(observed) - np.log(predicted)
    weight = requests.weight * curvature(objective, residual)
    nonlinear_jacobian = _contract(derivatives, amplitudes) / -predicted[:, None, :]
    solved_mask = (amplitudes != 0) & np.isnan(requests.fixed_amplitudes)
    linear_jacobian = columns * np.where(solved_mask, -1.0, 0.0)[:, :, None] / predicted[:, None, :]
    norm = np.sqrt(np.matmul(linear_jacobian**2, weight[..., None])[..., 0])
    norm = np.where(norm > 0, norm, 1.0)
    basis = linear_jacobian / norm[:, :, None]
    weighted = np.swapaxes(basis * weight[:, None, :], 1, 2)
    gram = np.matmul(basis, weighted) + _diagonal(np.where(solved_mask, RIDGE, 1.0))
    slope = (requests.weight * objective.weight(residual) * residual)[..., None]
    right_sides = np.concatenate(
        [
            np.swapaxes(np.matmul(nonlinear_jacobian, weighted), 1, 2),
            np.matmul(basis, slope),
        ],
        axis=2,
    )
    mixed = np.linalg.solve(gram, right_sides)
    projected = nonlinear_jacobian - np.matmul(np.swapaxes(mixed[:, :, :-1], 1, 2), basis)
    hessian = np.matmul(projected * weight[:, None, :], np.swapaxes(projected, 1, 2))
    gradient = np.matmul(projected, slope)[..., 0]
    offset = trial - requests.prior_mean
    return _Model(
        amplitudes,
        requests.objective(objective.cost(residual), trial),
        gradient + requests.prior_precision * offset,
        hessian + _diagonal(requests.prior_precision),
        -mixed[:, :, -1] / norm,
        -mixed[:, :, :-1] / norm[:, :, None],
    )


def _design(context: SolveContext, trial: Array) -> tuple[Array, Array]:
    """Columns and derivatives; refits begin at one point, which is evaluated once."""
    if len(trial) == 1 or (trial[1:] != trial[0]).any():
        return context.design.with_derivatives(trial)
    columns, derivatives = context.design.with_derivatives(trial[:1])
    return np.repeat(columns, len(trial), axis=0), np.repeat(derivatives, len(trial), axis=0)


def _contract(derivatives: Array, amplitudes: Array) -> Array:
    """Derivatives (rows, nonlinear, linear, losses) times amplitudes (rows, linear)."""
    total = np.zeros((*derivatives.shape[:2], derivatives.shape[3]))
    for index in range(derivatives.shape[2]):
        total += derivatives[:, :, index] * amplitudes[:, None, index, None]
    return total


def _diagonal(rows: Sequence[float] | Array) -> Array:
    """Diagonal matrices: (rows, n) -> (rows, n, n)."""
    values = np.asarray(rows)
    return np.asarray(values[:, :, None] * np.eye(values.shape[1]))
