"""What a fit is about: points with their pasts, and jobs that ask for a solution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from scaling_laws.models import Events, History, Law, bucket, padded_history

__all__ = ["Job", "Problem", "shape_values"]

Array = NDArray[np.float64]
GROUPS = 2  # widths of the tables of events: fewer compile sooner, more waste less


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Problem:
    """The points of all runs, grouped by how many events their pasts hold.

    Attributes:
        groups: each a stack of histories of one point; of a law with its own clock, one stack of
            runs that hold all their points.
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
            histories: of each run, from `Law.chosen_steps`.
            places: of each run, the points that each loss averages: (losses, points of a window).
            shares: of each run, their weights.
        """
        if histories[0].stretches is not None:
            return cls._of_runs(histories, places, shares)
        widths = np.concatenate([_widths(history) for history in histories])
        share = np.arange(1, GROUPS + 1) / GROUPS
        edges = np.array([bucket(int(edge)) for edge in np.quantile(widths, share)])
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
            mine = np.flatnonzero(group == number)
            order[mine] = before + np.arange(len(mine))
            # few sizes, few compilations: copies of the last point fill up
            fill = np.minimum(np.arange(bucket(len(mine))), len(mine) - 1)
            stacks.append(jax.tree.map(lambda *leaves: np.concatenate(leaves)[fill], *rows))  # noqa: B023
            before += len(fill)
        return cls._with(
            tuple(stacks),
            [order[start + each] for each, start in zip(places, starts[:-1], strict=True)],
            shares,
        )

    @classmethod
    def _of_runs(
        cls,
        histories: Sequence[History],
        places: Sequence[NDArray[np.int64]],
        shares: Sequence[Array],
    ) -> Problem:
        """Runs that each hold all their points, those of like many points together."""
        counts = np.array([history.step.shape[-1] for history in histories])
        share = np.arange(1, GROUPS + 1) / GROUPS
        sizes = np.unique([bucket(int(size)) for size in np.quantile(counts, share)])
        sizes[-1] = bucket(int(counts.max()))
        group = np.searchsorted(sizes, counts)
        stacks, begin, before = [], np.empty(len(counts), dtype=np.int64), 0
        for number, size in enumerate(sizes):
            mine = np.flatnonzero(group == number)
            own = [histories[each] for each in mine.tolist()]
            stretches = bucket(max(_stretches(each) for each in own))
            rows = [padded_history(each, int(size), stretches) for each in own]
            stacks.append(jax.tree.map(lambda *leaves: np.concatenate(leaves), *rows))
            begin[mine] = before + int(size) * np.arange(len(mine))
            before += int(size) * len(mine)
        return cls._with(
            tuple(stacks), [begin[number] + place for number, place in enumerate(places)], shares
        )

    @classmethod
    def _with(
        cls,
        groups: tuple[History, ...],
        places: Sequence[NDArray[np.int64]],
        shares: Sequence[Array],
    ) -> Problem:
        deepest = max(place.shape[1] for place in places)
        place = np.concatenate([_deepen(each, deepest) for each in places])
        share = np.concatenate([_deepen(each, deepest, fill=0.0) for each in shares])
        return cls(groups, place, share)

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


def _stretches(history: History) -> int:
    assert history.stretches is not None
    return int(history.stretches.lr.shape[-2])


def _widths(history: History) -> NDArray[np.int64]:
    """How many events each point's past holds; at least one."""
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
