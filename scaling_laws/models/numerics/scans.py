"""Running sums and linear recursions, in the order of their rows.

A loop over a row is slow for one run and the fastest there is for a thousand at a time, which fill
its body: a CPU's cumulative sum takes five times as long as the arithmetic around it.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["linear", "linear_of_many", "sums_of_many"]

Array = Any
Maps = tuple[Array, Array]


def sums_of_many(row: Array, *, reverse: bool = False) -> Array:
    """Running sums, each with its own entry: (N,) -> (N,); a loop, for runs side by side.

    Args:
        row: what is summed.
        reverse: from the end.
    """

    def add(before: Array, each: Array) -> tuple[Array, Array]:
        both = before + each
        return both, both

    return jax.lax.scan(add, jnp.zeros_like(row[0]), row, reverse=reverse)[1]


def linear_of_many(factor: Array, added: Array) -> Maps:
    """`linear` as one loop, for runs side by side: (N,) each."""
    start = jnp.ones_like(factor[0]), jnp.zeros_like(added[0])
    found: Maps = jax.lax.scan(_follow, start, (factor, added))[1]
    return found


def linear(factor: Array, added: Array) -> Maps:
    """Maps n -> factor·n + added applied one after another, as such pairs: (N,) each.

    In rows of about √N: along the rows, all rows at once, then over what each row does. A single
    scan is as fast on a CPU and slow on a GPU; an associative one takes seconds to compile.
    """
    size = factor.shape[0]
    width = max(1, round(size**0.5))
    fill = -size % width
    rows = (
        jnp.concatenate([factor, jnp.ones(fill, factor.dtype)]).reshape(-1, width),
        jnp.concatenate([added, jnp.zeros(fill, added.dtype)]).reshape(-1, width),
    )
    inside = linear_of_many(rows[0].T, rows[1].T)
    ends = linear_of_many(inside[0][-1], inside[1][-1])
    one, zero = jnp.ones(1, factor.dtype), jnp.zeros(1, added.dtype)
    before = jnp.concatenate([one, ends[0][:-1]])[None], jnp.concatenate([zero, ends[1][:-1]])[None]
    kept = (before[0] * inside[0]).T.reshape(-1)[:size]
    summed = (before[1] * inside[0] + inside[1]).T.reshape(-1)[:size]
    return kept, summed


def _follow(before: Maps, one: Maps) -> tuple[Maps, Maps]:
    both = before[0] * one[0], before[1] * one[0] + one[1]
    return both, both
