"""Types of a fit: the points of all runs, a request to a solver, and its solution.

This module does not depend on any solver.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from scaling_laws.models import History, Law, stack_histories

__all__ = ["Problem", "Solution", "SolveRequest", "SolverStatus", "nonlinear_values"]

Array = NDArray[np.float64]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Problem:
    """The points of all runs.

    Attributes:
        groups: stacks of histories; see `stack_histories`.
        point_index: for each logged loss, the points that it averages, as indices into the groups
            one after the other: (losses, points of a window).
        window_weights: weight of each in that average, summing to 1: (losses, points of a window).
    """

    groups: tuple[History, ...]
    point_index: Any
    window_weights: Any

    @classmethod
    def of(
        cls,
        histories: Sequence[History],
        indices: Sequence[NDArray[np.int64]],
        weights: Sequence[Array],
    ) -> Problem:
        """Gather runs.

        Args:
            histories: of each run, from `AtPoints`.
            indices: of each run, the points that each loss averages: (losses, points of a window).
            weights: of each run, their weights.
        """
        stacks, index = stack_histories(histories)
        depth = max(rows.shape[1] for rows in indices)
        point_index = np.concatenate(
            [points[_deepen(rows, depth)] for points, rows in zip(index, indices, strict=True)]
        )
        window_weights = np.concatenate([_deepen(rows, depth, fill=0.0) for rows in weights])
        return cls(stacks, point_index, window_weights)

    def design_matrix(self, law: Law, values: dict[str, Any]) -> Any:
        """Columns of the linear parameters at every loss: (losses, linear)."""
        columns = jnp.concatenate([chosen_terms(law, values, stack) for stack in self.groups])
        if self.point_index.shape[1] == 1:
            return columns[self.point_index[:, 0]]
        return jnp.einsum("pw,pwj->pj", self.window_weights, columns[self.point_index])


def chosen_terms(law: Law, values: Mapping[str, Any], stack: History) -> Any:
    """Columns of the linear parameters at all points of a stack: (points, linear)."""
    columns = jax.vmap(lambda history: law.design_matrix(values, history))(stack)
    return columns.reshape(-1, columns.shape[-1])


def nonlinear_values(
    law: Law, unconstrained: Any, ties: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """Nonlinear parameters by name from unconstrained ones (nonlinear,); tied ones are equal."""
    values = {
        parameter.name: parameter.transform.forward(unconstrained[index], jnp)
        for index, parameter in enumerate(law.nonlinear_parameters)
    }
    return values | {name: values[target] for name, target in ties}


def _deepen(table: NDArray[Any], depth: int, fill: float | None = None) -> NDArray[Any]:
    """More columns: copies of the last one, or `fill`."""
    missing = ((0, 0), (0, depth - table.shape[1]))
    if fill is None:
        return np.pad(table, missing, mode="edge")
    return np.pad(table, missing, constant_values=fill)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SolveRequest:
    """One minimisation over the parameters of a law; shapes are those of a single request.

    Requests that are solved together are stacked: every leaf has a leading axis (requests,).

    Attributes:
        start: initial unconstrained nonlinear parameters: (nonlinear,).
        free_mask: which of them are searched: (nonlinear,).
        prior_mean: of the unconstrained parameters: (nonlinear,).
        prior_precision: ½·precision·(unconstrained - mean)² is added to the objective:
            (nonlinear,).
        fixed_amplitudes: values of fixed linear parameters; NaN for those to be solved: (linear,).
        observed: losses: (losses,).
        weight: of each loss in the objective: (losses,).
    """

    start: Any
    free_mask: Any
    prior_mean: Any
    prior_precision: Any
    fixed_amplitudes: Any
    observed: Any
    weight: Any

    def rows(self, chosen: Any) -> SolveRequest:
        """Some of the requests of a stack, by indices; a single one by its index."""
        picked: SolveRequest = jax.tree.map(lambda leaf: np.asarray(leaf)[chosen], self)
        return picked

    def objective(self, cost: Array, unconstrained: Array) -> Array:
        """Weighted costs, (rows, losses), and the prior's at (rows, nonlinear): (rows,)."""
        offset = unconstrained - self.prior_mean
        prior = 0.5 * np.sum(self.prior_precision * offset**2, axis=1)
        return np.asarray(np.sum(self.weight * cost, axis=1) + prior)


class SolverStatus(Enum):
    """How a minimisation ended; the value is the message."""

    CONVERGED = "converged"
    OUT_OF_ITERATIONS = "ran out of iterations; use more starts"
    NOT_FINITE = (
        "the loss was not finite; check for losses or learning rates of extreme size, "
        "or omit early points with --from-step"
    )


@dataclass(frozen=True)
class Solution:
    """Result of one minimisation.

    Attributes:
        status: how it ended.
        objective: of the points and the prior; infinite unless finite.
        unconstrained: nonlinear parameters in unconstrained form: (nonlinear,).
        amplitudes: linear parameters: (linear,).
        iterations: number of evaluated trials.
    """

    status: SolverStatus
    objective: float
    unconstrained: Array
    amplitudes: Array
    iterations: int
