"""What is kept of a million losses: the lowest, the lowest of every arm and draw, a histogram."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

__all__ = ["Tally", "add", "empty", "merge"]

Array = Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Tally:
    """A reduction of candidates; a candidate is named by its slot.

    Attributes:
        value: lowest scores, in increasing order: (kept,).
        slot: of each of them: (kept,).
        arm_value: lowest score of each arm: (arms,).
        arm_slot: its slot: (arms,).
        draw_value: lowest loss under each draw of the parameters: (draws,).
        draw_slot: its slot: (draws,).
        counts: scores in each bin, the first and the last open: (bins,).
        refused: candidates whose loss is not finite: ().
    """

    value: Array
    slot: Array
    arm_value: Array
    arm_slot: Array
    draw_value: Array
    draw_slot: Array
    counts: Array
    refused: Array


def empty(kept: int, arms: int, draws: int, bins: int) -> Tally:
    """Of no candidate, as NumPy arrays."""

    def none(size: int) -> tuple[NDArray[np.float32], NDArray[np.uint32]]:
        return np.full(size, np.inf, np.float32), np.zeros(size, np.uint32)

    return Tally(
        *none(kept),
        *none(arms),
        *none(draws),
        np.zeros(bins, np.uint32),
        np.zeros((), np.uint32),
    )


def add(tally: Tally, losses: Array, slots: Array, arm: Array, real: Array, edges: Array) -> Tally:
    """A tally with one more tile; traceable.

    Args:
        tally: of what came before.
        losses: under the fit, or under every draw: (draws or 1, candidates).
        slots: of the candidates: (candidates,).
        arm: of all of them: ().
        real: which of them are candidates and not padding: (candidates,).
        edges: inner edges of the bins: (bins - 1,).
    """
    fine = jnp.isfinite(losses).all(axis=0) & real
    score = jnp.where(fine, jnp.mean(losses, axis=0), jnp.inf)
    every = jnp.concatenate([tally.value, score])
    lowest, chosen = jax.lax.top_k(-every, tally.value.shape[0])
    best = jnp.argmin(score)
    mine = (jnp.arange(tally.arm_value.shape[0]) == arm) & (score[best] < tally.arm_value)
    draw_value, draw_slot = tally.draw_value, tally.draw_slot
    if draw_value.shape[0]:
        masked = jnp.where(fine[None], losses, jnp.inf)
        place = jnp.argmin(masked, axis=1)
        lower = jnp.min(masked, axis=1)
        better = lower < draw_value
        draw_value = jnp.where(better, lower, draw_value)
        draw_slot = jnp.where(better, slots[place], draw_slot)
    # how many lie above each inner edge: their differences are the bins
    above = jnp.sum(fine[None] & (score[None] >= edges[:, None]), axis=1, dtype=jnp.uint32)
    total = jnp.sum(fine, dtype=jnp.uint32)
    upto = jnp.concatenate([total[None], above])
    counts = upto - jnp.append(above, jnp.zeros((), jnp.uint32))
    return Tally(
        value=-lowest,
        slot=jnp.concatenate([tally.slot, slots])[chosen],
        arm_value=jnp.where(mine, score[best], tally.arm_value),
        arm_slot=jnp.where(mine, slots[best], tally.arm_slot),
        draw_value=draw_value,
        draw_slot=draw_slot,
        counts=tally.counts + counts,
        refused=tally.refused + jnp.sum(real, dtype=jnp.uint32) - total,
    )


def merge(tallies: Mapping[str, NDArray[Any]]) -> Tally:
    """One tally of several, stacked by field: (devices, ...) each. Ties go to the lower slot."""
    kept = tallies["value"].shape[1]
    value, slot = tallies["value"].ravel(), tallies["slot"].ravel()
    order = np.lexsort((slot, value))[:kept]

    def lowest(name: str) -> tuple[NDArray[Any], NDArray[Any]]:
        values, slots = tallies[f"{name}_value"], tallies[f"{name}_slot"]
        first = np.lexsort((slots, values), axis=0)[:1]
        return np.take_along_axis(values, first, 0)[0], np.take_along_axis(slots, first, 0)[0]

    return Tally(
        value[order],
        slot[order],
        *lowest("arm"),
        *lowest("draw"),
        tallies["counts"].sum(axis=0, dtype=np.uint32),
        tallies["refused"].sum(dtype=np.uint32),
    )
