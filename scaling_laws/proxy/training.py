"""Train one proxy model under one schedule and log its curve.

Updates run many at a time inside one compiled loop. The learning rates are data to it, so another
schedule of the same size compiles nothing. Batches are a pure function of (seed, step): two runs
of a set that share a seed see the same text in the same order, whatever their schedules.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from scaling_laws.errors import ProxyError
from scaling_laws.proxy import model
from scaling_laws.proxy.corpus import Corpus
from scaling_laws.proxy.sizes import VOCABULARY, Size
from scaling_laws.schedules import Schedule

__all__ = ["BETA1", "BETA2", "CLIP", "Curve", "ProxyConfig", "batch_windows", "train"]

BETA1 = 0.95  # a longer mean than the usual 0.9: a third less noise in the validation loss
BETA2 = 0.99
CLIP = 1.0  # largest global gradient norm
EVALUATION_BATCH = 64  # windows at a time, to bound memory
DIVERGED = 2.0 * math.log(VOCABULARY)  # nats: twice what a uniform guess costs
Progress = Callable[[int, float], None]


@dataclass(frozen=True, eq=False)
class ProxyConfig:
    """Everything that decides a curve.

    Attributes:
        size: the model and its batch.
        schedule: the learning rate of every update.
        corpus: what to train on and what to measure on.
        seed: of the initial parameters and the batches, in [0, 2^31).
        every: updates between two logged losses; the last update is always logged.
        weight_decay: decoupled, on matrices: each update also takes lr·weight_decay of them away.

    Raises:
        ProxyError: if a number is out of range or the corpus too small for the size.
    """

    size: Size
    schedule: Schedule
    corpus: Corpus
    seed: int = 0
    every: int = 20
    weight_decay: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**31:
            raise ProxyError(f"seed={self.seed} must lie in [0, {2**31})")
        if self.every < 1:
            raise ProxyError(f"every={self.every}: log every 1 or more steps")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise ProxyError(f"weight_decay={self.weight_decay} must be a finite number >= 0")
        window = self.size.context + 1
        for part, text in (("train", self.corpus.train), ("held-out", self.corpus.validation)):
            if text.size < window:
                raise ProxyError(
                    f"corpus {self.corpus.name!r} is too small for size {self.size.name!r}: its "
                    f"{part} part has {text.size} bytes and one sequence takes {window}; "
                    "give it more text"
                )

    @property
    def validation_windows(self) -> NDArray[np.uint8]:
        """Held-out sequences of shape (chunks, windows, context + 1), see `validation_windows`."""
        return validation_windows(self.corpus, self.size)


@dataclass(frozen=True, eq=False)
class Curve:
    """A logged run; every column has shape (rows,).

    Attributes:
        step: the update a row follows, 0-based, int64.
        lr: learning rate of that update.
        loss: validation loss after that update, nats per byte.
        train_loss: mean loss of the batches since the row before, each before its update.
        grad_norm: mean global gradient norm over the same updates, before clipping.
        param_norm: global L2 norm of the matrices after that update.
        seconds: wall time of the training, compilation included.
    """

    step: NDArray[np.int64]
    lr: NDArray[np.float64]
    loss: NDArray[np.float64]
    train_loss: NDArray[np.float64]
    grad_norm: NDArray[np.float64]
    param_norm: NDArray[np.float64]
    seconds: float = field(default=0.0)


class State(NamedTuple):
    """What an update changes: the parameters and the optimizer's moments."""

    parameters: model.Parameters
    moments: Any


def train(config: ProxyConfig, progress: Progress | None = None) -> Curve:
    """Train a model from scratch and log its validation loss.

    Args:
        config: what to train.
        progress: called with (step, loss) after every logged step.

    Returns:
        The curve, with a row after every `config.every` updates and after the last.

    Raises:
        ProxyError: if the loss stops being a number or leaves all bounds, naming the step.
    """
    begin = time.perf_counter()
    size, lr = config.size, config.schedule.lr
    key = jax.random.key(config.seed)
    tokens = jnp.asarray(config.corpus.train)
    held_out = jnp.asarray(config.validation_windows)
    weight_decay = jnp.asarray(config.weight_decay, jnp.float32)
    state = _start(jax.random.fold_in(key, 0), size)
    batches = jax.random.fold_in(key, 1)
    rows: list[tuple[float, ...]] = []
    for first in range(0, len(lr), config.every):
        last = min(first + config.every, len(lr)) - 1
        steps = jnp.arange(first, last + 1, dtype=jnp.uint32)
        rates = jnp.asarray(lr[first : last + 1], jnp.float32)
        state, losses, norms = _updates(state, rates, steps, tokens, batches, weight_decay, size)
        measured, weight_norm = (float(x) for x in _measure(state.parameters, held_out, size))
        _check(config, first, np.asarray(losses), measured)
        means = (float(np.asarray(each, np.float64).mean()) for each in (losses, norms))
        rows.append((last, lr[last], measured, *means, weight_norm))
        if progress is not None:
            progress(last, measured)
    step, rate, loss, train_loss, grad_norm, param_norm = np.array(rows, dtype=np.float64).T
    seconds = time.perf_counter() - begin
    return Curve(
        step.astype(np.int64), rate, loss, train_loss, grad_norm, param_norm, seconds=seconds
    )


def validation_windows(corpus: Corpus, size: Size) -> NDArray[np.uint8]:
    """Held-out sequences, evenly spread over the held-out bytes.

    Returns:
        Bytes of shape (chunks, windows, context + 1): `size.validation_windows` of them at most,
        fewer if the held-out part is short, so that no two overlap by more than one byte.
    """
    room = corpus.validation.size - size.context - 1
    count = min(size.validation_windows, max(1, room // size.context))
    chunk = min(EVALUATION_BATCH, count)
    count -= count % chunk
    starts = np.linspace(0, room, count).astype(np.int64)
    windows: NDArray[np.uint8] = corpus.validation[
        starts[:, None] + np.arange(size.context + 1)[None, :]
    ]
    return windows.reshape(-1, chunk, size.context + 1)


def batch_windows(tokens: jax.Array, key: jax.Array, step: jax.Array, size: Size) -> jax.Array:
    """The batch of one update: windows at random places, a pure function of (key, step).

    Args:
        tokens: bytes of shape (train bytes,).
        key: a `jax.random.key`.
        step: a uint32 scalar.
        size: gives batch and context.

    Returns:
        Bytes of shape (batch, context + 1).
    """
    starts = jax.random.randint(
        jax.random.fold_in(key, step), (size.batch,), 0, tokens.size - size.context, jnp.int32
    )
    return tokens[starts[:, None] + jnp.arange(size.context + 1, dtype=jnp.int32)[None, :]]


def _optimizer(weight_decay: jax.Array) -> optax.GradientTransformation:
    """AdamW up to the learning rate, which the caller multiplies in."""
    return optax.chain(
        optax.clip_by_global_norm(CLIP),
        optax.scale_by_adam(b1=BETA1, b2=BETA2, eps=1e-8),
        optax.add_decayed_weights(weight_decay, mask=model.is_matrix),
    )


@partial(jax.jit, static_argnames="size")
def _start(key: jax.Array, size: Size) -> State:
    parameters = model.initialize(key, size)
    return State(parameters, _optimizer(jnp.zeros((), jnp.float32)).init(parameters))


@partial(jax.jit, static_argnames="size")
def _updates(
    state: State,
    rates: jax.Array,
    steps: jax.Array,
    tokens: jax.Array,
    key: jax.Array,
    weight_decay: jax.Array,
    size: Size,
) -> tuple[State, jax.Array, jax.Array]:
    """Run one update for each of `rates` and `steps`, both of shape (updates,).

    Returns:
        The new state, and the batch losses and gradient norms, each of shape (updates,).
    """
    optimizer = _optimizer(weight_decay)

    def update(state: State, now: tuple[jax.Array, jax.Array]) -> tuple[State, Any]:
        rate, step = now
        windows = batch_windows(tokens, key, step, size)
        loss, gradient = jax.value_and_grad(model.loss)(state.parameters, windows, size)
        with jax.numpy_dtype_promotion("standard"):  # optax mixes floats and counts
            direction, moments = optimizer.update(gradient, state.moments, state.parameters)
        parameters = jax.tree.map(lambda p, d: p - rate * d, state.parameters, direction)
        return State(parameters, moments), (loss, _global_norm(gradient))

    state, (losses, norms) = jax.lax.scan(update, state, (rates, steps))
    return state, losses, norms


@partial(jax.jit, static_argnames="size")
def _measure(
    parameters: model.Parameters, held_out: jax.Array, size: Size
) -> tuple[jax.Array, jax.Array]:
    """Validation loss (nats per byte) and the global norm of the matrices, both scalars."""
    losses = jax.lax.map(lambda windows: model.loss(parameters, windows, size), held_out)
    matrices = [leaf for leaf in jax.tree.leaves(parameters) if leaf.ndim == 2]
    return jnp.mean(losses), _global_norm(matrices)


def _global_norm(tree: Any) -> jax.Array:
    """L2 norm over all numbers of all leaves; optax names its own differently in each release."""
    squares = [jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(tree)]
    return jnp.sqrt(sum(squares, start=jnp.zeros((), jnp.float32)))


def _check(config: ProxyConfig, first: int, losses: NDArray[np.float32], loss: float) -> None:
    """Raise for a run that cannot come back; `losses` are those of updates `first` on."""
    bad = ~(np.isfinite(losses) & (losses < DIVERGED))
    if bad.any():
        step = first + int(np.argmax(bad))
        value = float(losses[step - first])
        update = max(step - 1, 0)  # a batch's loss is taken before its own update
    elif not loss < DIVERGED:
        step = update = first + len(losses) - 1
        value = loss
    else:
        return
    raise ProxyError(
        f"{config.schedule.spec}: the loss is {value:g} nats at step {step} (a uniform guess costs "
        f"{math.log(VOCABULARY):.2f}): the run diverged at lr {config.schedule.lr[update]:g}; "
        f"lower the peak ({config.schedule.peak_lr:g}) or lengthen the warm-up. Nothing is written"
    )
