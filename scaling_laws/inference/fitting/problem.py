"""What a fit is about: points with their pasts, and jobs that ask for a solution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from scaling_laws.models import History, Law, stack_histories

__all__ = ["Job", "Problem", "shape_values"]

Array = NDArray[np.float64]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Problem:
    """The points of all runs.

    Attributes:
        groups: stacks of histories; see `stack_histories`.
        place: for each logged loss, the points that it averages, as places in the groups one
            after the other: (losses, points of a window).
        share: weight of each in that average, summing to 1: (losses, points of a window).
    """

    groups: tuple[History, ...]
    place: Any
    share: Any

    @classmethod
    def of(
        cls,
        histories: Sequence[History],
        places: Sequence[NDArray[np.int64]],
        shares: Sequence[Array],
    ) -> Problem:
        """Gather runs.

        Args:
            histories: of each run, from `AtPoints`.
            places: of each run, the points that each loss averages: (losses, points of a window).
            shares: of each run, their weights.
        """
        stacks, index = stack_histories(histories)
        depth = max(place.shape[1] for place in places)
        place = np.concatenate(
            [points[_deepen(each, depth)] for points, each in zip(index, places, strict=True)]
        )
        share = np.concatenate([_deepen(each, depth, fill=0.0) for each in shares])
        return cls(stacks, place, share)

    def design_matrix(self, law: Law, values: dict[str, Any]) -> Any:
        """What each amplitude is multiplied by, at every loss: (losses, amplitudes)."""
        columns = jnp.concatenate([chosen_terms(law, values, stack) for stack in self.groups])
        if self.place.shape[1] == 1:
            return columns[self.place[:, 0]]
        return jnp.einsum("pw,pwj->pj", self.share, columns[self.place])


def chosen_terms(law: Law, values: Mapping[str, Any], stack: History) -> Any:
    """What each amplitude is multiplied by at all points of a stack: (points, amplitudes)."""
    columns = jax.vmap(lambda history: law.design_matrix(values, history))(stack)
    return columns.reshape(-1, columns.shape[-1])


def shape_values(law: Law, free: Any, ties: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Shape parameters by name, of free numbers (shape,), tied ones made equal."""
    values = {
        each.name: each.transform.forward(free[place], jnp)
        for place, each in enumerate(law.nonlinear_parameters)
    }
    return values | {name: values[other] for name, other in ties}


def _deepen(table: NDArray[Any], depth: int, fill: float | None = None) -> NDArray[Any]:
    """More columns: copies of the last one, or `fill`."""
    missing = ((0, 0), (0, depth - table.shape[1]))
    if fill is None:
        return np.pad(table, missing, mode="edge")
    return np.pad(table, missing, constant_values=fill)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Job:
    """One solution to find. Rows of jobs are solved together; shapes are of one.

    Attributes:
        start: free shape parameters to begin with: (shape,).
        moving: which of them may move: (shape,).
        centre: of the prior on them: (shape,).
        pull: strength of the prior; ½·pull·(free - centre)² is added to the objective: (shape,).
        held: values of amplitudes that are given; NaN for those to be solved: (amplitudes,).
        observed: losses: (losses,).
        weight: of each loss in the objective: (losses,).
    """

    start: Any
    moving: Any
    centre: Any
    pull: Any
    held: Any
    observed: Any
    weight: Any
