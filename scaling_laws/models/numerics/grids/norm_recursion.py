"""The recursion of a squared norm under decoupled weight decay and updates of size lr.

    n <- n·exp(-2 d) + lr²·exp(-d)·sinh(d)/d,    d = lr·weight_decay,

is affine in n, so that it is followed over all nodes at once.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from scaling_laws.models.numerics.scans import affine_scan

__all__ = ["squared_norms"]

Array = Any


@jax.jit
def squared_norms(
    decay: Array,
    lr_squared_sum: Array,
    residual_decay: Array,
    start: Array,
    decay_factor: Array = 1.0,
) -> Array:
    """The squared norm before the update of every node, in the order of time: (N,).

    Args:
        decay: LR times weight decay, summed from a node up to the next: (N,).
        lr_squared_sum: squared LR summed over the same steps: (N,).
        residual_decay: decay that this sum still undergoes on average before the next node: (N,).
        start: squared norm before the first step: ().
        decay_factor: multiplies the weight decay: ().
    """
    scaled = decay_factor * decay
    added = lr_squared_sum * jnp.exp(-2.0 * (decay_factor * residual_decay)) * _sinhc(scaled)
    kept, added = affine_scan(jnp.exp(-2.0 * scaled), added)
    following = kept * start + added
    return jnp.concatenate([jnp.reshape(start, (1,)).astype(following.dtype), following[:-1]])


def _sinhc(x: Array) -> Array:
    """sinh(x)/x, smooth at 0."""
    small = x < 1e-2
    safe = jnp.where(small, 1.0, x)
    return jnp.where(small, 1.0 + x * x / 6.0 * (1.0 + x * x / 20.0), jnp.sinh(safe) / safe)
