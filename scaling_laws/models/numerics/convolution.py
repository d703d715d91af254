"""The memory of past events: one convolution for every law with event streams.

    memory(t) = Σ_{k<=t} weight_k · G_k(distance from k to t)

Events are changes of the LR (weight lr[k-1] - lr[k]) or updates (weight lr[k]²). Inside a block
the kernel G is evaluated directly. Across blocks it is a mixture of exponentials with rates that
are the same for every event (`kernels.py`), so that the past is a few numbers passed from block to
block: linear time in the length of the run.

Blocks are gathered in superblocks: all work on their points and events is one fused loop each, and
only M numbers are passed along.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from scaling_laws.models.numerics.history import Events, History
from scaling_laws.models.numerics.kernels import Kernel

__all__ = ["annealed_drop", "noise_level"]

Array = Any
SUPERBLOCK = 256  # blocks


def annealed_drop(history: History, kernel: Kernel) -> Array:
    """The kernel-weighted sum of LR changes at every point of a history.

    Args:
        history: N blocks of Q points.
        kernel: the memory.

    Returns:
        Σ change · G at each point, flattened to (N·Q,), in units of LR times G.

    Raises:
        LawError: if the history has no events.
    """
    return _convolve(history, history.changes, kernel)


def noise_level(history: History, kernel: Kernel) -> Array:
    """The kernel-weighted sum of squared LRs at every point of a history.

    Args:
        history: N blocks of Q points, with noise events.
        kernel: the memory.

    Returns:
        Σ lr² · G at each point, flattened to (N·Q,), in units of LR² times G.

    Raises:
        LawError: if the history has no noise events.
    """
    return _convolve(history, history.noise, kernel)


def _convolve(history: History, events: Events, kernel: Kernel) -> Array:
    point, event = kernel.distance(history, events)
    rows = (point, history.step, event, events.step, events.weight, events.lr)

    def direct(
        point: Array, step: Array, event: Array, event_step: Array, weight: Array, lr: Array
    ) -> Array:
        past = event_step[..., None, :] <= step[..., :, None]
        distance = jnp.maximum(point[..., :, None] - event[..., None, :], 0.0)
        kept = kernel.near(jnp.where(past, distance, 0.0), lr[..., None, :])
        # a factor: a second `where` would keep the compiler from vectorising the loop
        return jnp.sum(weight[..., None, :] * past.astype(kept.dtype) * kept, axis=-1)

    if history.step.shape == (1, 1):
        # one point, after all events: no mask, and the sum is one fused loop
        kept = kernel.near(jnp.maximum(point - event, 0.0), events.lr)
        return jnp.sum(events.weight * kept, axis=-1)
    if point.shape[0] == 1:
        return direct(*rows).reshape(-1)
    rates = kernel.rates(events)
    blocks = point.shape[0]
    size = min(SUPERBLOCK, blocks)
    fill = -(-blocks // size) * size - blocks

    def gather(values: Array, last: Array) -> Array:
        # padding blocks repeat the last point and contain no events: they change nothing
        tail = jnp.broadcast_to(last, (fill, values.shape[1]))
        return jnp.concatenate([values, tail]).reshape(-1, size, values.shape[1])

    ends = (point[-1, -1], history.step[-1, -1], point[-1, -1], history.step[-1, -1], 0.0, 1.0)
    gathered = tuple(
        gather(jnp.asarray(row), jnp.asarray(end, point.dtype))
        for row, end in zip(rows, ends, strict=True)
    )

    def superblock(carry: tuple[Array, ...], row: tuple[Array, ...]) -> Any:
        state, constant, linear, offset, position = carry
        point, _, event, _, weight, lr = row
        mixture = kernel.far(rates, lr)
        end = point[:, -1]
        begin = jnp.concatenate([position[None], end[:-1]])
        # contribution of a block's events at the block's end
        age = jnp.maximum(end[:, None] - event, 0.0)
        aged = jnp.exp(-rates[None, :, None] * (age + mixture.shift)[:, None, :])
        contribution = jnp.sum(aged * (weight * mixture.event_factor)[:, None, :], axis=-1)
        contribution = contribution * mixture.rate_factor[None, :]
        fastest = jnp.sum(weight * mixture.fast_weight * jnp.exp(-rates[-1] * age), axis=-1)
        contribution = contribution.at[:, -1].add(fastest)
        fade = jnp.exp(-rates[None, :] * (end - begin)[:, None])

        def advance(state: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
            fade, added = step
            return fade * state + added, state

        final, states = jax.lax.scan(advance, state, (fade, contribution))
        constants = _running(constant, weight * mixture.constant)
        linears = _running(linear, weight * mixture.linear)
        offsets = _running(offset, weight * mixture.linear * event)
        since = jnp.exp(-(point - begin[:, None])[:, :, None] * rates[None, None, :])
        far = jnp.sum(since * states[:, None, :], axis=-1)
        far += constants[:-1, None] + linears[:-1, None] * point - offsets[:-1, None]
        return (final, constants[-1], linears[-1], offsets[-1], end[-1]), direct(*row) + far

    zero = jnp.zeros_like(rates[0])
    start = (jnp.zeros_like(rates), zero, zero, zero, zero)
    _, sums = jax.lax.scan(jax.checkpoint(superblock), start, gathered)
    return sums.reshape(-1)[: history.step.size]


def _running(start: Array, added: Array) -> Array:
    """Totals before and after each block: (blocks + 1,)."""
    return jnp.concatenate([start[None], start + jnp.cumsum(jnp.sum(added, axis=-1))])
