"""The windows of every update: a pure function of seed and step, gathered on the host.

Two runs of a set that share a seed are trained on the same text in the same order, whatever their
schedules, and training can be interrupted and resumed at any step.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import ProxyError
from scaling_laws.proxy.training.corpus import Corpus

__all__ = ["SAMPLINGS", "batch_windows", "epoch_of", "windows_per_epoch"]

SAMPLINGS = ("random", "epochs")
BATCH_KEY = 1  # key 0 of a seed is used for the parameters


def batch_windows(
    corpus: Corpus,
    steps: NDArray[np.int64],
    seen: NDArray[np.int64],
    *,
    seed: int,
    batch: int,
    context: int,
    sampling: str = "random",
) -> NDArray[Any]:
    """The batches of some updates.

    Args:
        corpus: source of the windows. A corpus with a stream gives new windows at every step and
            needs `sampling` ``random``.
        steps: indices of the updates, from 0, shape (updates,), in [0, 2^32).
        seen: number of windows used by all updates before each, shape (updates,).
        seed: of the batches, in [0, 2^31).
        batch: windows per update.
        context: tokens predicted per window; a window has one more.
        sampling: ``random``: windows at random positions, a function of (seed, step);
            ``epochs``: every window of an epoch once, a function of (seed, seen). The windows of
            an epoch are consecutive from a random offset, and their order is random; both depend
            only on the seed and the epoch. A batch may begin in one epoch and end in the next.

    Returns:
        Tokens of shape (updates, batch, context + 1), with the dtype of the corpus.

    Raises:
        ProxyError: if the sampling is unknown or unavailable for the corpus, a number is out of
            range, or the train part is shorter than one window.
    """
    if sampling not in SAMPLINGS:
        raise ProxyError(f"sampling={sampling!r} must be {' or '.join(SAMPLINGS)}", value=sampling)
    if steps.shape != seen.shape or steps.ndim != 1:
        raise ProxyError(
            f"steps {steps.shape} and seen {seen.shape} must be 1-D arrays of equal length"
        )
    for key, numbers, stop in (("steps", steps, 2**32), ("seen", seen, 2**63)):
        if numbers.size and not 0 <= numbers.min() <= numbers.max() < stop:
            raise ProxyError(
                f"{key} from {numbers.min()} to {numbers.max()} must lie in [0, {stop})"
            )
    if corpus.stream is not None:
        if sampling != "random":
            raise ProxyError(
                f"corpus {corpus.name!r} is endless and has no epochs; "
                f"sampling={sampling!r} must be random",
                value=sampling,
            )
        return _streamed(corpus.stream.thresholds, steps, seed, batch, context)
    count = windows_per_epoch(corpus, context)
    starts: NDArray[Any]
    if sampling == "random":
        starts = _random_starts(steps, seed, batch, corpus.train.size - context)
    else:
        slack = corpus.train.size - count * context
        indices = seen[:, None] + np.arange(batch)
        starts = _epoch_starts(indices, seed, count, context, min(slack, context))
    tokens = np.asarray(corpus.train)  # a view: indexing the memmap itself is slower
    windows: NDArray[Any] = np.lib.stride_tricks.sliding_window_view(tokens, context + 1)[starts]
    return windows


def windows_per_epoch(corpus: Corpus, context: int) -> int:
    """Windows per epoch: consecutive windows of `context` tokens that fit from any offset.

    Raises:
        ProxyError: if the train part is shorter than one window.
    """
    size = corpus.train.size
    if size < context + 1:
        raise ProxyError(
            f"corpus {corpus.name!r} is too small: its train part has {size} tokens and one window "
            f"takes {context + 1}; add more text",
            value=size,
        )
    return max(1, (size - context) // context)


def epoch_of(corpus: Corpus, tokens_seen: float, context: int) -> float:
    """Number of epochs trained so far, 0.0 at the start.

    Args:
        corpus: the training corpus.
        tokens_seen: tokens predicted so far: updates times batch times `context`.
        context: tokens predicted per window.

    Returns:
        Tokens seen divided by the tokens of an epoch: an integer exactly where the next epoch of
        the sampling ``epochs`` begins. An epoch is up to two windows shorter than the train part.
        0.0 for a stream, which never repeats.
    """
    if corpus.stream is not None:
        return 0.0
    return tokens_seen / (windows_per_epoch(corpus, context) * context)


def _epoch_starts(
    indices: NDArray[np.int64], seed: int, count: int, context: int, offsets: int
) -> NDArray[np.int64]:
    """First tokens of windows, in the shape of `indices`, which count windows over all epochs."""
    epochs, within = np.divmod(indices, count)
    starts = np.empty_like(indices)
    for epoch in np.unique(epochs).tolist():
        offset, order = _epoch(seed, epoch, count, offsets)
        mask = epochs == epoch
        starts[mask] = offset + context * order[within[mask]].astype(np.int64)
    return starts


@lru_cache(maxsize=2)  # two epochs, for a batch that straddles them
def _epoch(seed: int, epoch: int, count: int, offsets: int) -> tuple[int, NDArray[np.int32]]:
    """The offset of an epoch, below `offsets`, and the order of its windows, of shape (count,)."""
    generator = np.random.default_rng([seed, epoch])
    offset = int(generator.integers(offsets))
    order = np.arange(count, dtype=np.int32)
    generator.shuffle(order)
    order.flags.writeable = False
    return offset, order


def _random_starts(steps: NDArray[np.int64], seed: int, batch: int, stop: int) -> NDArray[np.int32]:
    """First tokens of windows, of shape (updates, batch), in [0, stop)."""
    with _on_host():
        return np.asarray(
            _draw_starts(np.uint32(seed), steps.astype(np.uint32), np.int32(stop), batch)
        )


def _streamed(
    thresholds: NDArray[np.uint32], steps: NDArray[np.int64], seed: int, batch: int, context: int
) -> NDArray[np.uint8]:
    """Windows of a stream, of shape (updates, batch, context + 1)."""
    with _on_host():
        return np.asarray(
            _draw_windows(np.uint32(seed), steps.astype(np.uint32), thresholds, batch, context)
        )


@contextlib.contextmanager
def _on_host() -> Iterator[None]:
    """Draw on the CPU: an accelerator would first finish the updates already queued."""
    try:
        host = jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # the CPU backend is disabled; the numbers are the same
        yield
        return
    with jax.default_device(host):
        yield


@partial(jax.jit, static_argnames="batch")
def _draw_starts(seed: jax.Array, steps: jax.Array, stop: jax.Array, batch: int) -> jax.Array:
    key = jax.random.fold_in(jax.random.key(seed), BATCH_KEY)

    def draw(step: jax.Array) -> jax.Array:
        return jax.random.randint(jax.random.fold_in(key, step), (batch,), 0, stop, jnp.int32)

    return jax.vmap(draw)(steps)


@partial(jax.jit, static_argnames=("batch", "context"))
def _draw_windows(
    seed: jax.Array, steps: jax.Array, thresholds: jax.Array, batch: int, context: int
) -> jax.Array:
    key = jax.random.fold_in(jax.random.key(seed), BATCH_KEY)

    def draw(step: jax.Array) -> jax.Array:
        return jax.random.bits(jax.random.fold_in(key, step), (batch, context + 1), jnp.uint32)

    def follow(state: jax.Array, bits: jax.Array) -> tuple[jax.Array, jax.Array]:
        reached = thresholds[state] <= bits[..., None]
        state = jnp.sum(reached, axis=-1, dtype=jnp.int32)
        return state, state.astype(jnp.uint8)

    draws = jnp.moveaxis(jax.vmap(draw)(steps), -1, 0)
    start = jnp.full((len(steps), batch), len(thresholds) - 1, jnp.int32)
    _, windows = jax.lax.scan(follow, start, draws)
    return jnp.moveaxis(windows, 0, -1)
