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
    """A reduction of candidates; a candidate is identified by its number.

    Attributes:
        value: lowest scores, in increasing order: (kept,).
        candidate_id: the candidates that have them: (kept,).
        stratum_value: lowest score of each stratum: (strata,).
        stratum_candidate: the candidate that has it: (strata,).
        draw_value: lowest loss under each draw of the parameters: (draws,).
        draw_candidate: the candidate that has it: (draws,).
        counts: scores in each bin, the first and the last open: (bins,).
        n_nonfinite: candidates whose loss is not finite: ().
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
    """Of no candidate, as NumPy arrays."""

    def none(size: int) -> tuple[NDArray[np.float32], NDArray[np.uint32]]:
        return np.full(size, np.inf, np.float32), np.zeros(size, np.uint32)

    return ReducerState(
        *none(kept),
        *none(strata),
        *none(draws),
        np.zeros(bins, np.uint32),
        np.zeros((), np.uint32),
    )


def add(
    reducer: ReducerState,
    losses: Array,
    candidate_ids: Array,
    stratum: Array,
    real: Array,
    edges: Array,
) -> ReducerState:
    """A reducer with one more tile; traceable.

    Args:
        reducer: of what came before.
        losses: under the fit, or under every draw: (draws or 1, candidates).
        candidate_ids: of the candidates: (candidates,).
        stratum: of all of them: ().
        real: which of them are candidates and not padding: (candidates,).
        edges: inner edges of the bins: (bins - 1,).
    """
    fine = jnp.isfinite(losses).all(axis=0) & real
    score = jnp.where(fine, jnp.mean(losses, axis=0), jnp.inf)
    every = jnp.concatenate([reducer.value, score])
    lowest, chosen = jax.lax.top_k(-every, reducer.value.shape[0])
    best = jnp.argmin(score)
    mine = (jnp.arange(reducer.stratum_value.shape[0]) == stratum) & (
        score[best] < reducer.stratum_value
    )
    draw_value, draw_candidate = reducer.draw_value, reducer.draw_candidate
    if draw_value.shape[0]:
        masked = jnp.where(fine[None], losses, jnp.inf)
        place = jnp.argmin(masked, axis=1)
        lower = jnp.min(masked, axis=1)
        better = lower < draw_value
        draw_value = jnp.where(better, lower, draw_value)
        draw_candidate = jnp.where(better, candidate_ids[place], draw_candidate)
    # how many lie above each inner edge: their differences are the bins
    above = jnp.sum(fine[None] & (score[None] >= edges[:, None]), axis=1, dtype=jnp.uint32)
    total = jnp.sum(fine, dtype=jnp.uint32)
    upto = jnp.concatenate([total[None], above])
    counts = upto - jnp.append(above, jnp.zeros((), jnp.uint32))
    return ReducerState(
        value=-lowest,
        candidate_id=jnp.concatenate([reducer.candidate_id, candidate_ids])[chosen],
        stratum_value=jnp.where(mine, score[best], reducer.stratum_value),
        stratum_candidate=jnp.where(mine, candidate_ids[best], reducer.stratum_candidate),
        draw_value=draw_value,
        draw_candidate=draw_candidate,
        counts=reducer.counts + counts,
        n_nonfinite=reducer.n_nonfinite + jnp.sum(real, dtype=jnp.uint32) - total,
    )


def merge(states: Mapping[str, NDArray[Any]]) -> ReducerState:
    """One state of several, stacked by field: (devices, ...) each. Ties go to the lower number."""
    kept = states["value"].shape[1]
    value, candidate_id = states["value"].ravel(), states["candidate_id"].ravel()
    order = np.lexsort((candidate_id, value))[:kept]

    def lowest(name: str) -> tuple[NDArray[Any], NDArray[Any]]:
        values, candidate_ids = states[f"{name}_value"], states[f"{name}_candidate"]
        first = np.lexsort((candidate_ids, values), axis=0)[:1]
        return np.take_along_axis(values, first, 0)[0], np.take_along_axis(candidate_ids, first, 0)[
            0
        ]

    return ReducerState(
        value[order],
        candidate_id[order],
        *lowest("stratum"),
        *lowest("draw"),
        states["counts"].sum(axis=0, dtype=np.uint32),
        states["n_nonfinite"].sum(dtype=np.uint32),
    )
