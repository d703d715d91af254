"""Variable projection: Levenberg-Marquardt with the linear parameters eliminated, in batches.

A trial of the nonlinear parameters re-solves the linear ones (variable projection; Golub and
Pereyra 1973, with Kaufman's 1975 Jacobian), so the search runs over the few nonlinear parameters
only, with a condition number four orders of magnitude smaller. Requests (starts, folds, bootstrap
samples, profile points) share one compiled step, on CPU or GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scaling_laws.inference.fitting.objective import Objective, curvature
from scaling_laws.inference.fitting.problem import (
    Problem,
    Solution,
    SolveRequest,
    SolverStatus,
    nonlinear_values,
)
from scaling_laws.inference.fitting.solver import PREDICTION_FLOOR, SolveContext
from scaling_laws.models import Law, Support

__all__ = ["VariableProjection", "solve_amplitudes"]

Array = Any
RIDGE = 1e-12  # of the normalised columns; far below the accuracy of the linear parameters
PASSES = 30  # at most: reweighted solves for the linear parameters of a trial
SETTLED = 1e-6  # relative change of the linear parameters that ends these solves
BATCH_SIZE_CPU = 8  # enough to share the overhead, few enough for the caches
BATCH_SIZE_ACCELERATOR = 64
ROUND = 6  # iterations between two checks for finished requests
MAX_STEP = 3.0  # largest step of an unconstrained parameter: a factor of 20 in a positive one
MAX_DAMPING = 1e12


class _State(NamedTuple):
    """One request: the current point, the local quadratic model there, and the damping.

    A request begins with an infinite objective, zero amplitudes and a model with zero gradient: its
    first trial is the start itself, and is accepted. Zero amplitudes give tiny predictions, whose
    reweighted solve is plain least squares of relative errors.
    """

    unconstrained: Array
    amplitudes: Array
    objective: Array
    gradient: Array  # of the objective in the unconstrained parameters, amplitudes re-solved
    gauss_newton_hessian: Array  # of the same
    damping: Array
    damping_growth: Array
    small_steps: Array  # consecutive steps with a negligible predicted decrease
    iterations: Array
    running: Array


@dataclass(frozen=True)
class VariableProjection:
    """Levenberg-Marquardt on the nonlinear parameters, the linear ones solved exactly.

    Attributes:
        max_iterations: per request.
        tolerance: of the objective: two consecutive steps with a smaller predicted decrease end a
            request.
    """

    max_iterations: int = 300
    tolerance: float = 1e-8

    @property
    def name(self) -> str:
        """``varpro``."""
        return "varpro"

    @property
    def batch_size(self) -> int:
        """Number of requests that the device advances at little more than the cost of one."""
        return BATCH_SIZE_CPU if jax.default_backend() == "cpu" else BATCH_SIZE_ACCELERATOR

    def init(self, context: SolveContext, request: SolveRequest) -> _State:
        """The start of a request, not yet evaluated."""
        size = len(context.law.nonlinear_parameters)
        return _State(
            unconstrained=np.asarray(request.start, dtype=np.float64),
            amplitudes=np.zeros(len(context.law.linear_parameters)),
            objective=np.array(np.inf),
            gradient=np.zeros(size),
            gauss_newton_hessian=np.eye(size),
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
        # one batch size, one compilation: padded with copies of the first request that do not run
        rows = np.arange(self.batch_size)
        rows[len(states) :] = 0
        batch = _State(*(np.stack(leaves) for leaves in zip(*states, strict=True)))
        batch = _State(*(leaf[rows] for leaf in batch))
        batch.running[len(states) :] = False
        filled = jax.tree.map(lambda leaf: leaf[rows], requests)
        advance = _compiled(context.law, context.objective, context.ties, self)
        batch = _State(*map(np.array, advance(context.problem, filled, batch, *context.bounds)))
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


def _definite_solve(matrix: Array, right_side: Array) -> Array:
    """Solve small symmetric positive definite systems, written out: (..., n, n), (..., n).

    A call of LAPACK for each of many 3 x 3 systems costs more than all their arithmetic.
    """
    size = right_side.shape[-1]
    if size == 0:
        return right_side
    rows = [[matrix[..., i, j] for j in range(size)] for i in range(size)]
    right = [right_side[..., i] for i in range(size)]
    for i in range(size):
        pivot = jnp.where(rows[i][i] > 0, rows[i][i], jnp.inf)
        for j in range(i + 1, size):
            factor = rows[j][i] / pivot
            for k in range(i + 1, size):
                rows[j][k] = rows[j][k] - factor * rows[i][k]
            right[j] = right[j] - factor * right[i]
    solution: list[Array] = [None] * size
    for i in reversed(range(size)):
        remainder = right[i]
        for k in range(i + 1, size):
            remainder = remainder - rows[i][k] * solution[k]
        solution[i] = remainder / jnp.where(rows[i][i] > 0, rows[i][i], jnp.inf)
    return jnp.stack(solution, axis=-1)


def solve_amplitudes(
    matrix: Array, target: Array, weight: Array, signed: Sequence[bool], fixed: Array
) -> Array:
    """Weighted least squares, amplitudes >= 0 unless signed: the best of all active sets.

    Args:
        matrix: design matrix, (points, amplitudes).
        target: (points,).
        weight: >= 0, (points,).
        signed: which amplitudes may be negative.
        fixed: values of fixed amplitudes, NaN elsewhere: (amplitudes,).
    """
    is_fixed = ~jnp.isnan(fixed)
    fixed_values = jnp.where(is_fixed, fixed, 0.0)
    target = target - matrix @ fixed_values
    scale = jnp.sqrt(jnp.einsum("p,pj->j", weight, matrix**2))
    scale = jnp.where(scale > 0, scale, 1.0)
    columns = matrix / scale[None, :]
    gram = jnp.einsum("p,pi,pj->ij", weight, columns, columns)
    side = jnp.einsum("p,pj,p->j", weight, columns, target)
    choices = [(1.0,) if real else (0.0, 1.0) for real in signed]
    active = jnp.asarray(list(product(*choices))) * jnp.where(is_fixed, 0.0, 1.0)[None, :]
    # where two columns are collinear on these runs (one model size, say), they share evenly
    gram = gram + RIDGE * jnp.eye(len(signed))
    systems = gram[None] * active[:, :, None] * active[:, None, :]
    systems = systems + jax.vmap(jnp.diag)(1.0 - active)
    solved = _definite_solve(systems, side[None, :] * active)
    cost = jnp.einsum("si,ij,sj->s", solved, gram, solved) - 2.0 * solved @ side
    feasible = jnp.all((solved >= 0) | jnp.asarray(signed)[None, :], axis=1) & jnp.isfinite(cost)
    best = jnp.argmin(jnp.where(feasible, cost, jnp.inf))
    return solved[best] / scale + fixed_values


def _choose(which: Array, new: _State, old: _State) -> _State:
    return _State(
        *(jnp.where(which, new_leaf, old_leaf) for new_leaf, old_leaf in zip(new, old, strict=True))
    )


@cache
def _compiled(
    law: Law,
    objective: Objective,
    ties: tuple[tuple[str, str], ...],
    options: VariableProjection,
) -> Any:
    """(problem, requests, states, low, high) -> states one round later."""
    signed = [parameter.support is Support.REAL for parameter in law.linear_parameters]

    def design_matrix(problem: Problem, unconstrained: Array) -> Array:
        return problem.design_matrix(law, nonlinear_values(law, unconstrained, ties))

    def expand(
        problem: Problem, request: SolveRequest, unconstrained: Array, amplitudes: Array
    ) -> tuple[Array, ...]:
        """Amplitudes, objective, gradient and Gauss-Newton Hessian at a trial."""
        matrix = design_matrix(problem, unconstrained)
        tangent = jax.jacfwd(lambda unconstrained: design_matrix(problem, unconstrained))(
            unconstrained
        )
        observed = request.observed

        def log_residual(amplitudes: Array) -> tuple[Array, Array]:
            predicted = jnp.maximum(matrix @ amplitudes, PREDICTION_FLOOR * observed)
            return predicted, jnp.log(observed) - jnp.log(predicted)

        def reweigh(amplitudes: Array) -> Array:
            predicted, residual = log_residual(amplitudes)
            # Σ ψ(r)/L̂ · term = 0 at the optimum; written as a weighted linear problem in L - L̂
            difference = observed - predicted
            is_small = jnp.abs(difference) < 1e-9 * observed
            chord = jnp.where(
                is_small, 1.0 / observed, residual / jnp.where(is_small, 1.0, difference)
            )
            weight = request.weight * objective.weight(residual) * chord / predicted
            return solve_amplitudes(matrix, observed, weight, signed, request.fixed_amplitudes)

        def changing(loop: tuple[Array, Array, Array]) -> Array:
            count, before, now = loop
            change = jnp.max(jnp.abs(now - before) - SETTLED * jnp.abs(now))
            return (count < PASSES) & (change > 0)

        def next_pass(loop: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            return loop[0] + 1, loop[2], reweigh(loop[2])

        initial = (jnp.asarray(0), amplitudes, reweigh(amplitudes))
        amplitudes = jax.lax.while_loop(changing, next_pass, initial)[2]
        predicted, residual = log_residual(amplitudes)
        value = jnp.sum(request.weight * objective.cost(residual))
        nonlinear_jacobian = -jnp.einsum("pjs,j->ps", tangent, amplitudes) / predicted[:, None]
        solved_mask = jnp.where((amplitudes != 0) & jnp.isnan(request.fixed_amplitudes), 1.0, 0.0)
        linear_jacobian = -matrix * solved_mask[None, :] / predicted[:, None]
        weight = request.weight * curvature(objective, residual)
        norm = jnp.sqrt(jnp.einsum("p,pj->j", weight, linear_jacobian**2))
        basis = linear_jacobian / jnp.where(norm > 0, norm, 1.0)[None, :]
        gram = jnp.einsum("p,pi,pj->ij", weight, basis, basis)
        gram = gram + jnp.diag(jnp.where(norm > 0, RIDGE, 1.0))
        cross = jnp.einsum("p,pi,ps->is", weight, basis, nonlinear_jacobian)
        mixed = _definite_solve(gram[None], cross.T).T
        projected = nonlinear_jacobian - basis @ mixed
        gauss_newton_hessian = jnp.einsum("p,pr,ps->rs", weight, projected, projected)
        weighted_residual = request.weight * objective.weight(residual) * residual
        gradient = jnp.einsum("p,ps->s", weighted_residual, projected)
        offset = unconstrained - request.prior_mean
        value = value + 0.5 * jnp.sum(request.prior_precision * offset**2)
        return (
            amplitudes,
            value,
            gradient + request.prior_precision * offset,
            gauss_newton_hessian + jnp.diag(request.prior_precision),
        )

    def step(
        problem: Problem, request: SolveRequest, low: Array, high: Array, state: _State
    ) -> _State:
        blocked = ((state.unconstrained <= low) & (state.gradient > 0)) | (
            (state.unconstrained >= high) & (state.gradient < 0)
        )
        searched = jnp.where(request.free_mask & ~blocked, 1.0, 0.0)
        diagonal = jnp.diag(state.gauss_newton_hessian)
        floor = 1e-12 * jnp.max(diagonal, initial=0.0) + 1e-30
        scale = jnp.sqrt(jnp.maximum(diagonal, floor))
        normal = state.gauss_newton_hessian / (scale[:, None] * scale[None, :])
        system = normal * searched[:, None] * searched[None, :] + jnp.diag(
            1.0 - searched + state.damping * searched
        )
        step_vector = _definite_solve(system, -state.gradient / scale * searched) / scale
        unclipped_decrease = -0.5 * state.gradient @ step_vector
        # per parameter, so that a poorly determined one does not shorten the step in the others
        step_vector = jnp.clip(step_vector, -MAX_STEP, MAX_STEP)
        trial = jnp.clip(state.unconstrained + step_vector, low, high)
        step_vector = trial - state.unconstrained
        predicted_decrease = -(
            state.gradient @ step_vector
            + 0.5 * step_vector @ state.gauss_newton_hessian @ step_vector
        )
        amplitudes, value, gradient, gauss_newton_hessian = expand(
            problem, request, trial, state.amplitudes
        )
        finite = (
            jnp.isfinite(value)
            & jnp.isfinite(gradient).all()
            & jnp.isfinite(gauss_newton_hessian).all()
        )
        decrease = jnp.where(finite, state.objective - value, -jnp.inf)
        accepted = decrease > 0
        ratio = jnp.where(accepted, decrease / jnp.maximum(predicted_decrease, 1e-300), 0.0)
        shrink = jnp.maximum(1.0 / 5.0, 1.0 - (2.0 * jnp.minimum(ratio, 1.0) - 1.0) ** 3)
        damping = jnp.where(accepted, state.damping * shrink, state.damping * state.damping_growth)
        is_first = state.iterations == 0
        damping = jnp.where(is_first, state.damping, damping)
        negligible = options.tolerance * state.objective
        small_steps = jnp.where(
            (unclipped_decrease < negligible) & ~(decrease > negligible), state.small_steps + 1, 0
        )
        failed = is_first & ~finite
        iterations = state.iterations + 1
        accepted_state = _State(
            unconstrained=trial,
            amplitudes=amplitudes,
            objective=value,
            gradient=gradient,
            gauss_newton_hessian=gauss_newton_hessian,
            damping=jnp.clip(damping, 1e-9, MAX_DAMPING),
            damping_growth=jnp.asarray(2.0),
            small_steps=small_steps,
            iterations=iterations,
            running=(small_steps < 2)
            & (damping < MAX_DAMPING)
            & (iterations < options.max_iterations)
            & ~failed,
        )
        rejected_state = accepted_state._replace(
            unconstrained=state.unconstrained,
            amplitudes=state.amplitudes,
            objective=state.objective,
            gradient=state.gradient,
            gauss_newton_hessian=state.gauss_newton_hessian,
            damping_growth=2.0 * state.damping_growth,
        )
        after = _choose(accepted, accepted_state, rejected_state)
        return _choose(state.running, after, state)

    def advance(
        problem: Problem, requests: SolveRequest, states: _State, low: Array, high: Array
    ) -> _State:
        def any_running(loop: tuple[Array, _State]) -> Array:
            return (loop[0] < ROUND) & jnp.any(loop[1].running)

        def iterate(loop: tuple[Array, _State]) -> tuple[Array, _State]:
            count, states = loop
            advanced = jax.vmap(lambda request, state: step(problem, request, low, high, state))(
                requests, states
            )
            return count + 1, advanced

        return jax.lax.while_loop(any_running, iterate, (jnp.asarray(0), states))[1]

    return jax.jit(advance)
