"""The windows of every update: a pure function of seed and step, gathered on the host.

Two runs of a set that share a seed see the same text in the same order, whatever their schedules,
and a run can be cut into calls, or taken up again, at any step.
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
BATCHES = 1  # a seed's key 0 is that of the parameters


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
        corpus: where the windows come from. A corpus with a stream gives windows of its own to
            every step, which never come again; only ``random`` suits it.
        steps: the updates, counted from 0, of shape (updates,), in [0, 2^32).
        seen: windows that all updates before each took, of shape (updates,).
        seed: of the batches, in [0, 2^31).
        batch: windows an update.
        context: tokens a window predicts; it has one more.
        sampling: ``random``: windows at random places, a function of (seed, step);
            ``epochs``: every window of an epoch once, a function of (seed, seen). The windows of
            an epoch lie end to end from a random offset on, and their order is random; both
            depend on the seed and the epoch only. A batch may begin in one epoch and end in the
            next.

    Returns:
        Tokens of shape (updates, batch, context + 1), of the corpus's type.

    Raises:
        ProxyError: if the sampling is unknown or does not suit the corpus, a number is out of
            range, or the train part is shorter than one window.
    """
    if sampling not in SAMPLINGS:
        raise ProxyError(f"sampling={sampling!r} must be {' or '.join(SAMPLINGS)}")
    if steps.shape != seen.shape or steps.ndim != 1:
        raise ProxyError(f"steps {steps.shape} and seen {seen.shape} must be rows of equal length")
    for key, numbers, stop in (("steps", steps, 2**32), ("seen", seen, 2**63)):
        if numbers.size and not 0 <= numbers.min() <= numbers.max() < stop:
            raise ProxyError(
                f"{key} from {numbers.min()} to {numbers.max()} must lie in [0, {stop})"
            )
    if corpus.stream is not None:
        if sampling != "random":
            raise ProxyError(
                f"corpus {corpus.name!r} never comes to the end of an epoch; "
                f"sampling={sampling!r} must be random"
            )
        return _streamed(corpus.stream.thresholds, steps, seed, batch, context)
    count = windows_per_epoch(corpus, context)
    starts: NDArray[Any]
    if sampling == "random":
        starts = _random_starts(steps, seed, batch, corpus.train.size - context)
    else:
        room = corpus.train.size - count * context
        places = seen[:, None] + np.arange(batch)
        starts = _epoch_starts(places, seed, count, context, min(room, context))
    tokens = np.asarray(corpus.train)  # a view: indexing a memmap itself is slower
    windows: NDArray[Any] = np.lib.stride_tricks.sliding_window_view(tokens, context + 1)[starts]
    return windows


def windows_per_epoch(corpus: Corpus, context: int) -> int:
    """Windows in an epoch: those of `context` tokens that fit end to end, from any offset on.

    Raises:
        ProxyError: if not one fits.
    """
    size = corpus.train.size
    if size < context + 1:
        raise ProxyError(
            f"corpus {corpus.name!r} is too small: its train part has {size} tokens and one window "
            f"takes {context + 1}; give it more text"
        )
    return max(1, (size - context) // context)


def epoch_of(corpus: Corpus, tokens_seen: float, context: int) -> float:
    """How often the train part has been gone through, 0.0 at the start.

    Args:
        corpus: what is trained on.
        tokens_seen: tokens predicted so far: updates times batch times `context`.
        context: tokens a window predicts.

    Returns:
        Tokens seen over those of an epoch, which is whole exactly where the next epoch of the
        sampling ``epochs`` begins; an epoch is up to two windows shorter than the train part.
        0.0 for a stream, which never comes again.
    """
    if corpus.stream is not None:
        return 0.0
    return tokens_seen / (windows_per_epoch(corpus, context) * context)


def _epoch_starts(
    places: NDArray[np.int64], seed: int, count: int, context: int, offsets: int
) -> NDArray[np.int64]:
    """First tokens of windows, of the shape of `places`, which count windows from the first on."""
    epochs, within = np.divmod(places, count)
    starts = np.empty_like(places)
    for epoch in np.unique(epochs).tolist():
        offset, order = _epoch(seed, epoch, count, offsets)
        here = epochs == epoch
        starts[here] = offset + context * order[within[here]].astype(np.int64)
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
    """Draw on the CPU: on an accelerator it would wait for the updates that are under way."""
    try:
        host = jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # JAX was told to leave the CPU alone; the numbers are the same
        yield
        return
    with jax.default_device(host):
        yield


@partial(jax.jit, static_argnames="batch")
def _draw_starts(seed: jax.Array, steps: jax.Array, stop: jax.Array, batch: int) -> jax.Array:
    key = jax.random.fold_in(jax.random.key(seed), BATCHES)

    def draw(step: jax.Array) -> jax.Array:
        return jax.random.randint(jax.random.fold_in(key, step), (batch,), 0, stop, jnp.int32)

    return jax.vmap(draw)(steps)


@partial(jax.jit, static_argnames=("batch", "context"))
def _draw_windows(
    seed: jax.Array, steps: jax.Array, thresholds: jax.Array, batch: int, context: int
) -> jax.Array:
    key = jax.random.fold_in(jax.random.key(seed), BATCHES)

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
