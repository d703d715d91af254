"""Types of a fit: the points of all runs, what is asked of a solver, and what it returns.

Nothing here refers to a solver.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from scaling_laws.models import Events, History, Law, bucket, padded_history

__all__ = ["Problem", "Solution", "SolveRequest", "SolverStatus", "nonlinear_values"]

Array = NDArray[np.float64]
GROUPS = 2  # widths of the tables of events: fewer compile sooner, more waste less


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Problem:
    """The points of all runs, grouped by how many events precede them.

    Attributes:
        groups: each a stack of histories of one point; of a law with its chosen clock, one stack of
            runs that hold all their points.
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
            histories: of each run, from `Law.chosen_steps`.
            indices: of each run, the points that each loss averages: (losses, points of a window).
            weights: of each run, their weights.
        """
        if histories[0].stretches is not None:
            return cls._of_runs(histories, indices, weights)
        widths = np.concatenate([_widths(history) for history in histories])
        quantiles = np.arange(1, GROUPS + 1) / GROUPS
        edges = np.array([bucket(int(edge)) for edge in np.quantile(widths, quantiles)])
        edges[-1] = bucket(int(widths.max()))
        edges = np.unique(edges)
        group = np.searchsorted(edges, widths)
        starts = np.cumsum([0] + [len(history.peak_lr) for history in histories])
        stacks, order, before = [], np.empty(len(widths), dtype=np.int64), 0
        for number, width in enumerate(edges):
            rows = [
                _narrow(history, group[start:stop] == number, int(width))
                for history, start, stop in zip(histories, starts[:-1], starts[1:], strict=True)
            ]
            members = np.flatnonzero(group == number)
            order[members] = before + np.arange(len(members))
            # few sizes, few compilations: copies of the last point fill up
            fill = np.minimum(np.arange(bucket(len(members))), len(members) - 1)
            stacks.append(jax.tree.map(lambda *leaves: np.concatenate(leaves)[fill], *rows))  # noqa: B023
            before += len(fill)
        return cls._with(
            tuple(stacks),
            [order[start + each] for each, start in zip(indices, starts[:-1], strict=True)],
            weights,
        )

    @classmethod
    def _of_runs(
        cls,
        histories: Sequence[History],
        indices: Sequence[NDArray[np.int64]],
        weights: Sequence[Array],
    ) -> Problem:
        """Runs that each hold all their points, those of like many points together."""
        counts = np.array([history.step.shape[-1] for history in histories])
        quantiles = np.arange(1, GROUPS + 1) / GROUPS
        sizes = np.unique([bucket(int(size)) for size in np.quantile(counts, quantiles)])
        sizes[-1] = bucket(int(counts.max()))
        group = np.searchsorted(sizes, counts)
        stacks, begin, before = [], np.empty(len(counts), dtype=np.int64), 0
        for number, size in enumerate(sizes):
            members = np.flatnonzero(group == number)
            chosen = [histories[each] for each in members.tolist()]
            stretches = bucket(max(_stretches(each) for each in chosen))
            rows = [padded_history(each, int(size), stretches) for each in chosen]
            stacks.append(jax.tree.map(lambda *leaves: np.concatenate(leaves), *rows))
            begin[members] = before + int(size) * np.arange(len(members))
            before += int(size) * len(members)
        return cls._with(
            tuple(stacks), [begin[number] + row for number, row in enumerate(indices)], weights
        )

    @classmethod
    def _with(
        cls,
        groups: tuple[History, ...],
        indices: Sequence[NDArray[np.int64]],
        weights: Sequence[Array],
    ) -> Problem:
        deepest = max(row.shape[1] for row in indices)
        point_index = np.concatenate([_deepen(each, deepest) for each in indices])
        window_weights = np.concatenate([_deepen(each, deepest, fill=0.0) for each in weights])
        return cls(groups, point_index, window_weights)

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
    return values | {name: values[other] for name, other in ties}


def _stretches(history: History) -> int:
    assert history.stretches is not None
    return int(history.stretches.lr.shape[-2])


def _widths(history: History) -> NDArray[np.int64]:
    """How many events precede each point; at least one."""
    held = [
        np.sum(stream.weight[:, 0] != 0, axis=1)
        for stream in (history.changes, history.noise)
        if stream is not None
    ]
    return np.asarray(np.maximum(1, np.max(held, axis=0)))


def _narrow(history: History, chosen: NDArray[np.bool_], width: int) -> History:
    """Some of the points, with tables of events of a width; a point's events come first."""

    def resize(table: Array) -> Array:
        kept = table[..., :width]
        return np.pad(kept, ((0, 0), (0, 0), (0, width - kept.shape[-1])), mode="edge")

    def events(stream: Events) -> Events:
        weight = np.pad(stream.weight, ((0, 0), (0, 0), (0, width)))[..., :width]
        return replace(
            stream,
            step=resize(stream.step),
            clock=resize(stream.clock),
            lr=resize(stream.lr),
            weight=weight,
        )

    part: History = jax.tree.map(lambda leaf: leaf[chosen], history)
    return replace(
        part,
        changes=events(part.changes),
        noise=None if part.noise is None else events(part.noise),
    )


def _deepen(table: NDArray[Any], depth: int, fill: float | None = None) -> NDArray[Any]:
    """More columns: copies of the last one, or `fill`."""
    missing = ((0, 0), (0, depth - table.shape[1]))
    if fill is None:
        return np.pad(table, missing, mode="edge")
    return np.pad(table, missing, constant_values=fill)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SolveRequest:
    """One minimisation over the parameters of a law; shapes are those of one.

    Requests that are solved together are stacked: every leaf has a leading axis (requests,).

    Attributes:
        start: unconstrained nonlinear parameters to begin with: (nonlinear,).
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


class SolverStatus(Enum):
    """How a minimisation ended; the value is the message."""

    CONVERGED = "converged"
    OUT_OF_ITERATIONS = "ran out of iterations; use more starts"
    NOT_FINITE = (
        "the loss was not finite; check for losses or learning rates of extreme size, "
        "or leave out early points with --from-step"
    )


@dataclass(frozen=True)
class Solution:
    """Where one minimisation ended.

    Attributes:
        status: how it ended.
        objective: of the points and the prior; infinite unless finite.
        unconstrained: nonlinear parameters in unconstrained form: (nonlinear,).
        amplitudes: linear parameters: (linear,).
        iterations: how many trials were evaluated.
    """

    status: SolverStatus
    objective: float
    unconstrained: Array
    amplitudes: Array
    iterations: int
