"""The solver: Levenberg-Marquardt with amplitudes eliminated, many jobs side by side.

A trial of the shape parameters re-solves the amplitudes (variable projection; Golub and Pereyra
1973, with Kaufman's 1975 Jacobian), so the search runs over the few shape parameters only, with a
condition number four orders of magnitude smaller. Jobs (starts, folds, bootstrap samples, profile
points) share one compiled step: lanes advance together on CPU or GPU, and a lane whose job has
ended takes the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache
from itertools import product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from scaling_laws.inference.fitting.objective import Objective, curvature
from scaling_laws.inference.fitting.problem import Job, Problem, shape_values
from scaling_laws.inference.fitting.starts import box
from scaling_laws.models import Law, Support

__all__ = ["Outcome", "Status", "solve_amplitudes", "solve_jobs"]

Array = Any
RIDGE = 1e-12  # of the normalised columns; far below what the amplitudes are known to
PASSES = 30  # at most: reweighted solves for the amplitudes of a trial, from those of the last one
SETTLED = 1e-6  # relative change of the amplitudes that ends them
LANES = 8  # jobs side by side on a CPU: enough to share the overhead, few enough for its caches
LANES_ELSEWHERE = 64  # on an accelerator
MAX_ITERATIONS = 300
ROUND = 6  # iterations between two looks at which lanes have ended
TOLERANCE = 1e-8  # of the objective: a step that promises less, twice running, ends a job
LONGEST = 3.0  # largest step of a free parameter: a factor of 20 in what it stands for
FLOOR = 1e-3  # of the observed loss: predictions below count as it, so that logarithms exist


class Status(Enum):
    """How a start ended; the value is the message."""

    CONVERGED = "converged"
    OUT_OF_ITERATIONS = "ran out of iterations; give it more starts"
    NOT_FINITE = (
        "the loss was not finite; look for losses or learning rates of extreme size, "
        "or leave out early points with --from-step"
    )


@dataclass(frozen=True)
class Outcome:
    """Where one job ended.

    Attributes:
        status: how.
        objective: of the points and the prior; infinite unless finite.
        free: unconstrained shape parameters.
        amplitudes: solved amplitudes.
        iterations: trials made.
    """

    status: Status
    objective: float
    free: NDArray[np.float64]
    amplitudes: NDArray[np.float64]
    iterations: int


def _definite_solve(matrix: Array, side: Array) -> Array:
    """Solve small symmetric positive definite systems, written out: (..., n, n), (..., n).

    A call of LAPACK for each of many 3 x 3 systems costs more than all their arithmetic.
    """
    size = side.shape[-1]
    if size == 0:
        return side
    rows = [[matrix[..., i, j] for j in range(size)] for i in range(size)]
    right = [side[..., i] for i in range(size)]
    for i in range(size):
        pivot = jnp.where(rows[i][i] > 0, rows[i][i], jnp.inf)
        for j in range(i + 1, size):
            factor = rows[j][i] / pivot
            for k in range(i + 1, size):
                rows[j][k] = rows[j][k] - factor * rows[i][k]
            right[j] = right[j] - factor * right[i]
    found: list[Array] = [None] * size
    for i in reversed(range(size)):
        rest = right[i]
        for k in range(i + 1, size):
            rest = rest - rows[i][k] * found[k]
        found[i] = rest / jnp.where(rows[i][i] > 0, rows[i][i], jnp.inf)
    return jnp.stack(found, axis=-1)


def solve_amplitudes(
    terms: Array, target: Array, weight: Array, signed: Sequence[bool], held: Array
) -> Array:
    """Weighted least squares, amplitudes >= 0 unless signed: the best of all active sets.

    Args:
        terms: (points, amplitudes).
        target: (points,).
        weight: >= 0, (points,).
        signed: which amplitudes may be negative.
        held: values that are given, NaN elsewhere: (amplitudes,).
    """
    given = ~jnp.isnan(held)
    fixed = jnp.where(given, held, 0.0)
    target = target - terms @ fixed
    scale = jnp.sqrt(jnp.einsum("p,pj->j", weight, terms**2))
    scale = jnp.where(scale > 0, scale, 1.0)
    columns = terms / scale[None, :]
    gram = jnp.einsum("p,pi,pj->ij", weight, columns, columns)
    side = jnp.einsum("p,pj,p->j", weight, columns, target)
    choices = [(1.0,) if free else (0.0, 1.0) for free in signed]
    active = jnp.asarray(list(product(*choices))) * jnp.where(given, 0.0, 1.0)[None, :]
    # runs that cannot tell two columns apart (one model size, say) share their weight evenly
    gram = gram + RIDGE * jnp.eye(len(signed))
    matrix = gram[None] * active[:, :, None] * active[:, None, :]
    matrix = matrix + jax.vmap(jnp.diag)(1.0 - active)
    found = _definite_solve(matrix, side[None, :] * active)
    cost = jnp.einsum("si,ij,sj->s", found, gram, found) - 2.0 * found @ side
    feasible = jnp.all((found >= 0) | jnp.asarray(signed)[None, :], axis=1) & jnp.isfinite(cost)
    best = jnp.argmin(jnp.where(feasible, cost, jnp.inf))
    return found[best] / scale + fixed


class _State(NamedTuple):
    """One lane: where it is, the local quadratic model there, and how it goes.

    A lane begins with an infinite objective, no amplitudes and a model without a slope: its first
    trial is the start itself, and is accepted. No amplitudes stand for tiny predictions, whose
    reweighted solve is plain least squares of relative errors.
    """

    free: Array
    amplitudes: Array
    objective: Array
    slope: Array  # of the objective in the free shape parameters, amplitudes re-solved
    curve: Array  # Gauss-Newton matrix of the same
    damping: Array
    growth: Array
    quiet: Array  # steps in a row that promised next to nothing
    iterations: Array
    running: Array


def _choose(which: Array, one: _State, other: _State) -> _State:
    return _State(*(jnp.where(which, new, old) for new, old in zip(one, other, strict=True)))


@cache
def _compiled(law: Law, objective: Objective, ties: tuple[tuple[str, str], ...]) -> Any:
    """(problem, jobs, states, low, high) -> states a round later; compiled once for each shape."""
    signed = [parameter.support is Support.REAL for parameter in law.linear_parameters]

    def terms(problem: Problem, free: Array) -> Array:
        return problem.design_matrix(law, shape_values(law, free, ties))

    def expand(problem: Problem, job: Job, free: Array, amplitudes: Array) -> tuple[Array, ...]:
        """Amplitudes, objective, slope and curve at a trial."""
        matrix = terms(problem, free)
        tangent = jax.jacfwd(lambda free: terms(problem, free))(free)
        observed = job.observed

        def log_residual(amplitudes: Array) -> tuple[Array, Array]:
            predicted = jnp.maximum(matrix @ amplitudes, FLOOR * observed)
            return predicted, jnp.log(observed) - jnp.log(predicted)

        def reweigh(amplitudes: Array) -> Array:
            predicted, residual = log_residual(amplitudes)
            # Σ ψ(r)/L̂ · term = 0 at the optimum; written as a weighted linear problem in L - L̂
            difference = observed - predicted
            near = jnp.abs(difference) < 1e-9 * observed
            chord = jnp.where(near, 1.0 / observed, residual / jnp.where(near, 1.0, difference))
            weight = job.weight * objective.weight(residual) * chord / predicted
            return solve_amplitudes(matrix, observed, weight, signed, job.held)

        def unsettled(loop: tuple[Array, Array, Array]) -> Array:
            count, before, now = loop
            change = jnp.max(jnp.abs(now - before) - SETTLED * jnp.abs(now))
            return (count < PASSES) & (change > 0)

        def again(loop: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            return loop[0] + 1, loop[2], reweigh(loop[2])

        first = (jnp.asarray(0), amplitudes, reweigh(amplitudes))
        amplitudes = jax.lax.while_loop(unsettled, again, first)[2]
        predicted, residual = log_residual(amplitudes)
        value = jnp.sum(job.weight * objective.cost(residual))
        along_shape = -jnp.einsum("pjs,j->ps", tangent, amplitudes) / predicted[:, None]
        free_amplitude = jnp.where((amplitudes != 0) & jnp.isnan(job.held), 1.0, 0.0)
        along_amplitude = -matrix * free_amplitude[None, :] / predicted[:, None]
        weight = job.weight * curvature(objective, residual)
        norm = jnp.sqrt(jnp.einsum("p,pj->j", weight, along_amplitude**2))
        basis = along_amplitude / jnp.where(norm > 0, norm, 1.0)[None, :]
        gram = jnp.einsum("p,pi,pj->ij", weight, basis, basis)
        gram = gram + jnp.diag(jnp.where(norm > 0, RIDGE, 1.0))
        cross = jnp.einsum("p,pi,ps->is", weight, basis, along_shape)
        mixed = _definite_solve(gram[None], cross.T).T
        projected = along_shape - basis @ mixed
        curve = jnp.einsum("p,pr,ps->rs", weight, projected, projected)
        pressure = job.weight * objective.weight(residual) * residual
        slope = jnp.einsum("p,ps->s", pressure, projected)
        offset = free - job.centre
        value = value + 0.5 * jnp.sum(job.pull * offset**2)
        return (
            amplitudes,
            value,
            slope + job.pull * offset,
            curve + jnp.diag(job.pull),
        )

    def step(problem: Problem, job: Job, low: Array, high: Array, state: _State) -> _State:
        pressed = ((state.free <= low) & (state.slope > 0)) | (
            (state.free >= high) & (state.slope < 0)
        )
        on = jnp.where(job.moving & ~pressed, 1.0, 0.0)
        diagonal = jnp.diag(state.curve)
        floor = 1e-12 * jnp.max(diagonal, initial=0.0) + 1e-30
        scale = jnp.sqrt(jnp.maximum(diagonal, floor))
        normal = state.curve / (scale[:, None] * scale[None, :])
        system = normal * on[:, None] * on[None, :] + jnp.diag(1.0 - on + state.damping * on)
        move = _definite_solve(system, -state.slope / scale * on) / scale
        hoped = -0.5 * state.slope @ move
        # each by itself: a parameter that hardly matters must not hold the others back
        move = jnp.clip(move, -LONGEST, LONGEST)
        trial = jnp.clip(state.free + move, low, high)
        move = trial - state.free
        promised = -(state.slope @ move + 0.5 * move @ state.curve @ move)
        amplitudes, value, slope, curve = expand(problem, job, trial, state.amplitudes)
        fine = jnp.isfinite(value) & jnp.isfinite(slope).all() & jnp.isfinite(curve).all()
        gained = jnp.where(fine, state.objective - value, -jnp.inf)
        better = gained > 0
        ratio = jnp.where(better, gained / jnp.maximum(promised, 1e-300), 0.0)
        easier = jnp.maximum(1.0 / 5.0, 1.0 - (2.0 * jnp.minimum(ratio, 1.0) - 1.0) ** 3)
        damping = jnp.where(better, state.damping * easier, state.damping * state.growth)
        first = state.iterations == 0
        damping = jnp.where(first, state.damping, damping)
        least = TOLERANCE * state.objective
        quiet = jnp.where((hoped < least) & ~(gained > least), state.quiet + 1, 0)
        failed = first & ~fine
        iterations = state.iterations + 1
        moved = _State(
            free=trial,
            amplitudes=amplitudes,
            objective=value,
            slope=slope,
            curve=curve,
            damping=jnp.clip(damping, 1e-9, 1e12),
            growth=jnp.asarray(2.0),
            quiet=quiet,
            iterations=iterations,
            running=(quiet < 2) & (damping < 1e12) & (iterations < MAX_ITERATIONS) & ~failed,
        )
        stayed = moved._replace(
            free=state.free,
            amplitudes=state.amplitudes,
            objective=state.objective,
            slope=state.slope,
            curve=state.curve,
            growth=2.0 * state.growth,
        )
        after = _choose(better, moved, stayed)
        return _choose(state.running, after, state)

    def advance(problem: Problem, jobs: Job, states: _State, low: Array, high: Array) -> _State:
        def go_on(loop: tuple[Array, _State]) -> Array:
            return (loop[0] < ROUND) & jnp.any(loop[1].running)

        def once(loop: tuple[Array, _State]) -> tuple[Array, _State]:
            count, states = loop
            moved = jax.vmap(lambda job, state: step(problem, job, low, high, state))(jobs, states)
            return count + 1, moved

        return jax.lax.while_loop(go_on, once, (jnp.asarray(0), states))[1]

    return jax.jit(advance)


def solve_jobs(
    law: Law,
    problem: Problem,
    jobs: Job,
    objective: Objective,
    *,
    ties: tuple[tuple[str, str], ...] = (),
    limits: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
    report: Callable[[int, float], None] | None = None,
) -> list[Outcome]:
    """Solve many jobs.

    Args:
        law: the law.
        problem: its points.
        jobs: rows of jobs: every leaf has a leading axis (jobs,).
        objective: what residuals cost.
        ties: shape parameters that equal another one: (name, other).
        limits: lowest and highest free value of each shape parameter; default those of the law.
        report: called now and then with the jobs done and the best objective so far.

    Returns:
        One outcome a job, in order; none of them depends on the others.
    """
    count = len(jobs.observed)
    low, high = box(law.nonlinear_parameters) if limits is None else limits
    start = np.clip(jobs.start, low, high)
    # a coordinate that nothing moves stands where it is told, inside the box or not
    jobs = replace(jobs, start=np.where(jobs.moving, start, jobs.start))
    advance = _compiled(law, objective, ties)
    lanes = LANES if jax.default_backend() == "cpu" else LANES_ELSEWHERE
    owner = np.full(lanes, -1)
    states = _State(*(np.stack([leaf] * lanes) for leaf in _begin(law, jobs.start[0])))
    waiting, outcomes = list(range(count))[::-1], dict[int, Outcome]()
    while len(outcomes) < count:
        for lane in np.flatnonzero(owner < 0):
            if waiting:
                owner[lane] = waiting.pop()
                for leaf, value in zip(states, _begin(law, jobs.start[owner[lane]]), strict=True):
                    leaf[lane] = value
        states.running[owner < 0] = False
        mine = jax.tree.map(lambda leaf: np.asarray(leaf)[np.maximum(owner, 0)], jobs)
        states = _State(*map(np.array, advance(problem, mine, states, low, high)))
        for lane in np.flatnonzero((owner >= 0) & ~states.running):
            outcomes[int(owner[lane])] = _outcome(states, int(lane))
            owner[lane] = -1
        if report is not None:
            best = min((each.objective for each in outcomes.values()), default=np.inf)
            report(len(outcomes), best)
    return [outcomes[place] for place in range(count)]


def _begin(law: Law, start: NDArray[np.float64]) -> _State:
    size = len(law.nonlinear_parameters)
    return _State(
        free=np.asarray(start, dtype=np.float64),
        amplitudes=np.zeros(len(law.linear_parameters)),
        objective=np.array(np.inf),
        slope=np.zeros(size),
        curve=np.eye(size),
        damping=np.array(1e-2),
        growth=np.array(2.0),
        quiet=np.array(0),
        iterations=np.array(0),
        running=np.array(True),
    )


def _outcome(states: _State, lane: int) -> Outcome:
    objective = float(states.objective[lane])
    status = Status.CONVERGED
    if not np.isfinite(objective):
        status = Status.NOT_FINITE
    elif states.iterations[lane] >= MAX_ITERATIONS:
        status = Status.OUT_OF_ITERATIONS
    return Outcome(
        status,
        objective,
        np.array(states.free[lane]),
        np.array(states.amplitudes[lane]),
        int(states.iterations[lane]),
    )
