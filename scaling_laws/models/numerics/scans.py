"""Cumulative sums and affine recursions, in the order of their rows.

A sequential scan over a row is slow for one run, and the fastest method for a thousand runs at a
time (under `vmap`), which fill its body: a CPU's cumulative sum takes five times as long as the
arithmetic around it.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["affine_scan", "affine_scan_sequential", "cumsum_sequential"]

Array = Any
AffineMap = tuple[Array, Array]  # factor and offset of n -> factor·n + offset


def cumsum_sequential(row: Array, *, reverse: bool = False) -> Array:
    """Inclusive cumulative sums, (N,) -> (N,), as one loop: for many runs under `vmap`.

    Args:
        row: the terms.
        reverse: from the end.
    """

    def add(before: Array, term: Array) -> tuple[Array, Array]:
        total = before + term
        return total, total

    return jax.lax.scan(add, jnp.zeros_like(row[0]), row, reverse=reverse)[1]


def affine_scan_sequential(factor: Array, offset: Array) -> AffineMap:
    """`affine_scan` as one loop, for many runs under `vmap`: (N,) each."""
    start = jnp.ones_like(factor[0]), jnp.zeros_like(offset[0])
    composed: AffineMap = jax.lax.scan(_compose, start, (factor, offset))[1]
    return composed


def affine_scan(factor: Array, offset: Array) -> AffineMap:
    """Running compositions of the maps n -> factor·n + offset, as factors and offsets: (N,) each.

    In rows of about √N: along the rows, all rows at once, then over the composed map of each row.
    A single scan is as fast on a CPU and slow on a GPU; an associative scan takes seconds to
    compile.
    """
    size = factor.shape[0]
    width = max(1, round(size**0.5))
    fill = -size % width
    rows = (
        jnp.concatenate([factor, jnp.ones(fill, factor.dtype)]).reshape(-1, width),
        jnp.concatenate([offset, jnp.zeros(fill, offset.dtype)]).reshape(-1, width),
    )
    inside = affine_scan_sequential(rows[0].T, rows[1].T)
    ends = affine_scan_sequential(inside[0][-1], inside[1][-1])
    one, zero = jnp.ones(1, factor.dtype), jnp.zeros(1, offset.dtype)
    before = jnp.concatenate([one, ends[0][:-1]])[None], jnp.concatenate([zero, ends[1][:-1]])[None]
    factors = (before[0] * inside[0]).T.reshape(-1)[:size]
    offsets = (before[1] * inside[0] + inside[1]).T.reshape(-1)[:size]
    return factors, offsets


def _compose(before: AffineMap, current: AffineMap) -> tuple[AffineMap, AffineMap]:
    both = before[0] * current[0], before[1] * current[0] + current[1]
    return both, both
