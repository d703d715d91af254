"""Linear parameters ("amplitudes") of many rows at once: exact solves and robust reweighting."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_laws.inference.fitting.objective import Objective
from scaling_laws.inference.fitting.problem import SolveRequest

__all__ = ["PREDICTION_FLOOR", "fit_amplitudes", "predicted_losses", "solve_amplitudes"]

Array = NDArray[np.float64]
PREDICTION_FLOOR = 1e-3  # of the observed loss: lower bound on predictions, so that logs are finite
RIDGE = 1e-12  # of the normalised columns; far below the accuracy of the linear parameters
PASSES = 8  # at most: reweighted solves
SETTLED = 1e-6  # relative change of the linear parameters that ends them


def predicted_losses(columns: Array, amplitudes: Array, observed: Array) -> Array:
    """Columns (rows, linear, losses) times amplitudes (rows, linear): (rows, losses), bounded."""
    predicted = np.matmul(amplitudes[:, None, :], columns)[:, 0]
    return np.asarray(np.maximum(predicted, PREDICTION_FLOOR * observed))


def fit_amplitudes(
    columns: Array,
    requests: SolveRequest,
    objective: Objective,
    signed: Sequence[bool],
    amplitudes: Array,
) -> Array:
    """The amplitudes that minimise the objective of log residuals: (rows, linear).

    Iteratively reweighted least squares: Σ ψ(r)/L̂ · column = 0 at the optimum, written as a
    weighted linear problem in L - L̂. A row does not depend on the others.

    Args:
        columns: (rows, linear, losses).
        requests: stacked, one per row.
        objective: the cost of residuals.
        signed: which amplitudes may be negative.
        amplitudes: first guess, (rows, linear); 0 gives plain least squares of relative errors.
    """
    log_observed = np.log(requests.observed)

    def reweighted(rows: Any, current: Array) -> Array:
        observed, matrix = requests.observed[rows], columns[rows]
        predicted = predicted_losses(matrix, current, observed)
        residual = log_observed[rows] - np.log(predicted)
        difference = observed - predicted
        is_small = np.abs(difference) < 1e-9 * observed
        chord = np.where(is_small, 1.0 / observed, residual / np.where(is_small, 1.0, difference))
        weight = requests.weight[rows] * objective.weight(residual) * chord / predicted
        return solve_amplitudes(matrix, observed, weight, signed, requests.fixed_amplitudes[rows])

    rows: Any = slice(None)
    before, result = amplitudes, reweighted(rows, amplitudes)
    for _ in range(PASSES):
        change = np.abs(result[rows] - before) - SETTLED * np.abs(result[rows])
        changing = (change > 0).any(axis=1)
        if not changing.any():
            break
        rows = np.flatnonzero(changing) if isinstance(rows, slice) else rows[changing]
        before = result[rows]
        result[rows] = reweighted(rows, before)
    return result


def solve_amplitudes(
    columns: Array, target: Array, weight: Array, signed: Sequence[bool], fixed: Array
) -> Array:
    """Weighted least squares, amplitudes >= 0 unless signed: the best of all active sets.

    Args:
        columns: transposed design matrices, (rows, linear, losses).
        target: (rows, losses).
        weight: >= 0, (rows, losses).
        signed: which amplitudes may be negative.
        fixed: values of fixed amplitudes, NaN elsewhere: (rows, linear).

    Returns:
        Amplitudes, (rows, linear).
    """
    is_free = np.isnan(fixed)
    fixed_values = np.where(is_free, 0.0, fixed)
    if not is_free.all():
        target = target - np.matmul(fixed_values[:, None, :], columns)[:, 0]
    weighted = columns * weight[:, None, :]
    gram = np.matmul(weighted, np.swapaxes(columns, 1, 2))
    side = np.matmul(weighted, target[..., None])[..., 0]
    scale = np.sqrt(np.einsum("rjj->rj", gram))
    scale = np.where(scale > 0, scale, 1.0)
    # where two columns are collinear on these runs (one model size, say), they share evenly
    gram = gram / (scale[:, :, None] * scale[:, None, :]) + RIDGE * np.eye(len(signed))
    side = side / scale
    solution = _solve_active(gram, side, is_free.astype(float))
    infeasible = ((solution < 0) & ~np.asarray(signed, dtype=bool)).any(axis=1)
    if infeasible.any():
        rows = np.flatnonzero(infeasible)
        solution[rows] = _best_active_set(gram[rows], side[rows], signed, is_free[rows])
    return np.asarray(solution / scale + fixed_values)


def _solve_active(gram: Array, side: Array, active: Array) -> Array:
    """Solutions of normal equations with the inactive amplitudes at 0: (..., linear)."""
    identity = np.eye(side.shape[-1])
    system = gram * active[..., :, None] * active[..., None, :]
    system = system + (1.0 - active)[..., None] * identity
    return np.asarray(np.linalg.solve(system, (side * active)[..., None])[..., 0])


def _best_active_set(
    gram: Array, side: Array, signed: Sequence[bool], is_free: NDArray[np.bool_]
) -> Array:
    choices = [(1.0,) if real else (0.0, 1.0) for real in signed]
    active = np.asarray(list(product(*choices)))[None] * is_free[:, None, :]
    solved = _solve_active(gram[:, None], side[:, None], active)  # (rows, sets, linear)
    cost = np.einsum("rsi,rij,rsj->rs", solved, gram, solved) - 2.0 * np.einsum(
        "rsi,ri->rs", solved, side
    )
    feasible = np.all((solved >= 0) | np.asarray(signed)[None, None, :], axis=2)
    best = np.argmin(np.where(feasible & np.isfinite(cost), cost, np.inf), axis=1)
    return np.asarray(solved[np.arange(len(solved)), best])
