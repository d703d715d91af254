"""Reduction of many losses: the lowest ones, the best per stratum and per draw, a histogram."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

__all__ = ["ReducerState", "add", "empty", "merge"]

Array = Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ReducerState:
    """The reduction of the candidates so far.

    Attributes:
        value: lowest scores, in increasing order: (kept,).
        candidate_id: their candidates: (kept,).
        stratum_value: lowest score per stratum: (strata,).
        stratum_candidate: its candidate: (strata,).
        draw_value: lowest loss per draw of the parameters: (draws,).
        draw_candidate: its candidate: (draws,).
        counts: scores per bin; the first and the last bin are open: (bins,).
        n_nonfinite: number of candidates whose loss is not finite: ().
    """

    value: Array
    candidate_id: Array
    stratum_value: Array
    stratum_candidate: Array
    draw_value: Array
    draw_candidate: Array
    counts: Array
    n_nonfinite: Array


def empty(kept: int, strata: int, draws: int, bins: int) -> ReducerState:
    """The state without candidates, as NumPy arrays."""

    def unset(size: int) -> tuple[NDArray[np.float32], NDArray[np.uint32]]:
        return np.full(size, np.inf, np.float32), np.zeros(size, np.uint32)

    return ReducerState(
        *unset(kept),
        *unset(strata),
        *unset(draws),
        np.zeros(bins, np.uint32),
        np.zeros((), np.uint32),
    )


def add(
    reducer: ReducerState,
    losses: Array,
    candidate_ids: Array,
    stratum: Array,
    valid: Array,
    edges: Array,
) -> ReducerState:
    """Add a tile; traceable.

    Args:
        reducer: the state before.
        losses: under the fit, or under the draws: (draws or 1, candidates).
        candidate_ids: of the candidates: (candidates,).
        stratum: of all of them: ().
        valid: which of them are candidates rather than padding: (candidates,).
        edges: inner edges of the bins: (bins - 1,).
    """
    finite = jnp.isfinite(losses).all(axis=0) & valid
    score = jnp.where(finite, jnp.mean(losses, axis=0), jnp.inf)
    scores = jnp.concatenate([reducer.value, score])
    negated_lowest, chosen = jax.lax.top_k(-scores, reducer.value.shape[0])
    best = jnp.argmin(score)
    improved = (jnp.arange(reducer.stratum_value.shape[0]) == stratum) & (
        score[best] < reducer.stratum_value
    )
    draw_value, draw_candidate = reducer.draw_value, reducer.draw_candidate
    if draw_value.shape[0]:
        masked = jnp.where(finite[None], losses, jnp.inf)
        index = jnp.argmin(masked, axis=1)
        lowest = jnp.min(masked, axis=1)
        better = lowest < draw_value
        draw_value = jnp.where(better, lowest, draw_value)
        draw_candidate = jnp.where(better, candidate_ids[index], draw_candidate)
    # the bin counts are differences of the numbers of scores above the inner edges
    above = jnp.sum(finite[None] & (score[None] >= edges[:, None]), axis=1, dtype=jnp.uint32)
    total = jnp.sum(finite, dtype=jnp.uint32)
    above_lower_edge = jnp.concatenate([total[None], above])
    counts = above_lower_edge - jnp.append(above, jnp.zeros((), jnp.uint32))
    return ReducerState(
        value=-negated_lowest,
        candidate_id=jnp.concatenate([reducer.candidate_id, candidate_ids])[chosen],
        stratum_value=jnp.where(improved, score[best], reducer.stratum_value),
        stratum_candidate=jnp.where(improved, candidate_ids[best], reducer.stratum_candidate),
        draw_value=draw_value,
        draw_candidate=draw_candidate,
        counts=reducer.counts + counts,
        n_nonfinite=reducer.n_nonfinite + jnp.sum(valid, dtype=jnp.uint32) - total,
    )


def merge(states: Mapping[str, NDArray[Any]]) -> ReducerState:
    """Merge states, stacked as (devices, ...) per field; ties go to the lower candidate id."""
    kept = states["value"].shape[1]
    value, candidate_id = states["value"].ravel(), states["candidate_id"].ravel()
    order = np.lexsort((candidate_id, value))[:kept]

    def lowest(name: str) -> tuple[NDArray[Any], NDArray[Any]]:
        values, candidate_ids = states[f"{name}_value"], states[f"{name}_candidate"]
        first = np.lexsort((candidate_ids, values), axis=0)[:1]
        return (
            np.take_along_axis(values, first, 0)[0],
            np.take_along_axis(candidate_ids, first, 0)[0],
        )

    return ReducerState(
        value[order],
        candidate_id[order],
        *lowest("stratum"),
        *lowest("draw"),
        states["counts"].sum(axis=0, dtype=np.uint32),
        states["n_nonfinite"].sum(dtype=np.uint32),
    )
