"""Variable projection: amplitudes are solved exactly for every trial of the shape parameters.

L0, A, B enter linearly, so a fit searches over the few shape parameters only, with a condition
number four orders of magnitude smaller (Golub and Pereyra 1973; Kaufman 1975 for the Jacobian).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from scaling_laws.fitting.objective import huber_root, huber_root_slope, huber_weight
from scaling_laws.laws import Law
from scaling_laws.numerics.history import History
from scaling_laws.params import Support

__all__ = ["Problem", "Trial", "compiled_trial"]

Array = Any
RIDGE = 1e-12  # of the normalised columns; far below what the amplitudes are known to
INNER_STEPS = 30  # reweighted solves for the amplitudes: the gradient is then exact to 1e-4


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Problem:
    """Runs to fit, grouped by the shape of their histories.

    Attributes:
        histories: each a stack of histories of one shape: leaves (runs, ...).
        loss: observed losses, each (runs, points); padding holds 1.
        weight: each (runs, points); 0 on padding and on runs held out, 1 elsewhere.
        places: for each group, which of the runs given stand in its rows.
    """

    histories: tuple[History, ...]
    loss: tuple[Array, ...]
    weight: tuple[Array, ...]
    places: tuple[tuple[int, ...], ...] = field(metadata={"static": True})

    @classmethod
    def of(cls, histories: Sequence[History], losses: Sequence[NDArray[np.float64]]) -> Problem:
        """Stack histories of equal shape; each loss belongs to the first points of its history."""
        groups: dict[Any, list[int]] = {}
        for place, history in enumerate(histories):
            key = history.shapes
            groups.setdefault(key, []).append(place)
        stacks, observed, weights = [], [], []
        for places in groups.values():
            stacks.append(
                jax.tree.map(lambda *rows: np.stack(rows), *(histories[place] for place in places))
            )
            size = histories[places[0]].step.size
            loss, weight = np.ones((len(places), size)), np.zeros((len(places), size))
            for row, place in enumerate(places):
                loss[row, : len(losses[place])] = losses[place]
                weight[row, : len(losses[place])] = 1.0
            observed.append(loss)
            weights.append(weight)
        places_of = tuple(tuple(places) for places in groups.values())
        return cls(tuple(stacks), tuple(observed), tuple(weights), places_of)

    def without(self, held_out: Collection[int]) -> Problem:
        """The same problem, shape and all, with some runs at weight zero."""
        weight = tuple(
            each * np.array([[float(place not in held_out)] for place in places])
            for each, places in zip(self.weight, self.places, strict=True)
        )
        return replace(self, weight=weight)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Trial:
    """What one set of shape parameters gives.

    Attributes:
        residual: f with f²/2 = Huber of the log residual: (points,).
        jacobian: of f in the free shape parameters, amplitudes re-solved: (points, shape).
        amplitudes: the best amplitudes, none negative: (amplitudes,).
    """

    residual: Array
    jacobian: Array
    amplitudes: Array


def _solve_amplitudes(terms: Array, target: Array, weight: Array, signed: Sequence[bool]) -> Array:
    """Weighted least squares, amplitudes >= 0 unless signed: the best of all active sets."""
    scale = jnp.sqrt(jnp.einsum("p,pj->j", weight, terms**2))
    scale = jnp.where(scale > 0, scale, 1.0)
    columns = terms / scale[None, :]
    gram = jnp.einsum("p,pi,pj->ij", weight, columns, columns)
    side = jnp.einsum("p,pj,p->j", weight, columns, target)
    choices = [(1.0,) if free else (0.0, 1.0) for free in signed]
    active = jnp.asarray(list(product(*choices)))
    # runs that cannot tell two columns apart (one model size, say) share their weight evenly
    gram = gram + RIDGE * jnp.eye(len(signed))

    def solve(on: Array) -> tuple[Array, Array]:
        matrix = gram * on[:, None] * on[None, :] + jnp.diag(1.0 - on)
        found = jnp.linalg.solve(matrix, side * on)
        cost = found @ gram @ found - 2.0 * found @ side
        feasible = jnp.all((found >= 0) | jnp.asarray(signed)) & jnp.isfinite(cost)
        return jnp.where(feasible, cost, jnp.inf), found

    costs, solutions = jax.vmap(solve)(active)
    return solutions[jnp.argmin(costs)] / scale


def _trial(law: Law, problem: Problem, free: Array) -> Trial:
    observed = jnp.concatenate([jnp.ravel(loss) for loss in problem.loss])
    weight = jnp.concatenate([jnp.ravel(each) for each in problem.weight])

    def terms(free: Array) -> Array:
        values = {
            parameter.name: parameter.support.constrain(free[place])
            for place, parameter in enumerate(law.shape)
        }
        columns = [
            jax.vmap(lambda history: law.terms(values, history))(stack)
            for stack in problem.histories
        ]
        return jnp.concatenate([jnp.reshape(each, (-1, each.shape[-1])) for each in columns])

    matrix, tangent = terms(free), jax.jacfwd(terms)(free)
    log_observed = jnp.log(observed)
    signed = [parameter.support is Support.REAL for parameter in law.amplitudes]

    def reweigh(amplitudes: Array, _: None) -> tuple[Array, None]:
        predicted = jnp.maximum(matrix @ amplitudes, 1e-3 * observed)
        log_residual = log_observed - jnp.log(predicted)
        # Σ ψ(r)/L̂ · term = 0 at the optimum; written as a weighted linear problem in L - L̂
        difference = observed - predicted
        near = jnp.abs(difference) < 1e-9 * observed
        slope = jnp.where(near, 1.0 / observed, log_residual / jnp.where(near, 1.0, difference))
        curvature = weight * huber_weight(log_residual) * slope / predicted
        return _solve_amplitudes(matrix, observed, curvature, signed), None

    start = _solve_amplitudes(matrix, observed, weight / observed**2, signed)
    amplitudes, _ = jax.lax.scan(reweigh, start, None, length=INNER_STEPS)
    predicted = jnp.maximum(matrix @ amplitudes, 1e-6)
    log_residual = log_observed - jnp.log(predicted)
    residual = huber_root(log_residual)
    root_slope = huber_root_slope(log_residual)
    slope = -weight * root_slope / predicted
    along_shape = slope[:, None] * jnp.einsum("pjs,j->ps", tangent, amplitudes)
    along_amplitude = slope[:, None] * matrix * jnp.where(amplitudes != 0, 1.0, 0.0)[None, :]
    norm = jnp.sqrt(jnp.sum(along_amplitude**2, axis=0))
    basis = along_amplitude / jnp.where(norm > 0, norm, 1.0)[None, :]
    gram = basis.T @ basis + jnp.diag(jnp.where(norm > 0, RIDGE, 1.0))
    projected = along_shape - basis @ jnp.linalg.solve(gram, basis.T @ along_shape)
    return Trial(weight * residual, projected, amplitudes)


@cache
def compiled_trial(law: Law) -> Any:
    """(problem, free shape parameters) -> Trial, compiled once for each shape of problem."""
    return jax.jit(lambda problem, free: _trial(law, problem, free))
