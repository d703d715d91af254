"""The compiled functions: many updates in one loop, and the evaluation between them.

Learning rates, batches and weight decay are arguments, so another schedule of the same shapes needs
no compilation. With `fleet` every argument has a leading axis of runs, trained side by side.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from scaling_laws.proxy.training import transformer
from scaling_laws.proxy.training.model_sizes import Size
from scaling_laws.proxy.training.optimizers import CLIP, TABLES, get_optimizer, width_factors
from scaling_laws.proxy.training.proxy_config import ProxyConfig

__all__ = ["GROUPS", "Shapes", "State", "evaluate", "initialize", "norms", "shapes_of", "update"]

GROUPS = ("embedding", "hidden", "head")  # of matrices, whose norms are logged separately


class Shapes(NamedTuple):
    """Everything a compiled program depends on; runs with equal shapes can train as one fleet."""

    size: Size
    optimizer: str
    precision: str
    width_rule: str
    ema: tuple[float, ...]


class State(NamedTuple):
    """Everything an update changes: parameters, optimizer moments and averaged parameters."""

    parameters: transformer.Parameters
    moments: Any
    averages: tuple[transformer.Parameters, ...]


def shapes_of(config: ProxyConfig) -> Shapes:
    """The shapes of a configuration."""
    return Shapes(config.size, config.optimizer, config.precision, config.width_rule, config.ema)


@partial(jax.jit, static_argnames=("shapes", "fleet"))
def initialize(key: jax.Array, shapes: Shapes, fleet: bool = False) -> State:
    """The state before the first update; `key` is a `jax.random.key`, or (runs,) of them."""

    def one(key: jax.Array) -> State:
        parameters = transformer.initialize(key, shapes.size)
        moments = _direction(parameters, shapes).init(parameters)
        return State(parameters, moments, (parameters,) * len(shapes.ema))

    with jax.numpy_dtype_promotion("standard"):  # optax mixes floats and counts
        return (jax.vmap(one) if fleet else one)(key)


@partial(jax.jit, static_argnames=("shapes", "fleet"), donate_argnames="state")
def update(
    state: State,
    rates: jax.Array,
    windows: jax.Array,
    weight_decay: jax.Array,
    shapes: Shapes,
    fleet: bool = False,
) -> tuple[State, jax.Array]:
    """Run one update per learning rate.

    Args:
        state: before the first update; donated.
        rates: learning rates of shape (updates,), float32.
        windows: tokens of shape (updates, batch, context + 1), unsigned.
        weight_decay: a float32 scalar.
        shapes: of the runs.
        fleet: whether all of these have a leading axis of runs.

    Returns:
        The new state; and an array of shape (updates, 3), float32: the loss of the batch before the
        update, the global gradient norm before clipping, and the norm of the change of the
        matrices.
    """

    def one(
        state: State, rates: jax.Array, windows: jax.Array, weight_decay: jax.Array
    ) -> tuple[State, jax.Array]:
        step = partial(_update, weight_decay=weight_decay, shapes=shapes)
        return jax.lax.scan(step, state, (rates, windows))

    return (jax.vmap(one) if fleet else one)(state, rates, windows, weight_decay)


def _direction(parameters: transformer.Parameters, shapes: Shapes) -> optax.GradientTransformation:
    return optax.chain(
        optax.clip_by_global_norm(CLIP), get_optimizer(shapes.optimizer).transform(parameters)
    )


def _update(
    state: State, now: tuple[jax.Array, jax.Array], weight_decay: jax.Array, shapes: Shapes
) -> tuple[State, jax.Array]:
    rate, windows = now
    before = state.parameters
    loss, gradient = jax.value_and_grad(transformer.loss)(
        before, windows, shapes.size, jnp.dtype(shapes.precision)
    )
    with jax.numpy_dtype_promotion("standard"):  # optax mixes floats and counts
        direction, moments = _direction(before, shapes).update(gradient, state.moments, before)
    factors = width_factors(before, shapes.size, shapes.width_rule, shapes.optimizer)

    def move(leaf: jax.Array, direction: jax.Array, factor: float) -> jax.Array:
        decay = weight_decay * leaf if leaf.ndim == 2 else jnp.zeros_like(leaf)
        return -rate * (factor * direction + decay)

    moves = jax.tree.map(move, before, direction, factors)
    after = jax.tree.map(jnp.add, before, moves)
    averages = tuple(
        jax.tree.map(lambda a, p, d=decay: d * a + (1.0 - d) * p, average, after)
        for decay, average in zip(shapes.ema, state.averages, strict=True)
    )
    logged = jnp.stack([loss, _norm(jax.tree.leaves(gradient)), _norm(_matrices(moves))])
    return State(after, moments, averages), logged


@partial(jax.jit, static_argnames=("shapes", "fleet"))
def evaluate(
    parameters: transformer.Parameters, held_out: jax.Array, shapes: Shapes, fleet: bool = False
) -> jax.Array:
    """Mean loss over held-out windows of shape (chunks, windows, context + 1), shared by a fleet.

    Returns:
        A float32 scalar in nats per token, or an array (runs,) of them.
    """

    def one(parameters: transformer.Parameters) -> jax.Array:
        dtype = jnp.dtype(shapes.precision)
        return jnp.mean(
            jax.lax.map(
                lambda each: transformer.loss(parameters, each, shapes.size, dtype), held_out
            )
        )

    return (jax.vmap(one) if fleet else one)(parameters)


@partial(jax.jit, static_argnames="fleet")
def norms(parameters: transformer.Parameters, fleet: bool = False) -> jax.Array:
    """L2 norms of matrices, (4,) or (runs, 4): all, embedding, hidden, head (zero if tied)."""

    def one(parameters: transformer.Parameters) -> jax.Array:
        hidden = {name: part for name, part in parameters.items() if name not in TABLES}
        groups = [[parameters["embedding"]], _matrices(hidden)]
        groups.append([parameters["head"]] if "head" in parameters else [])
        return jnp.stack([_norm(_matrices(parameters)), *map(_norm, groups)])

    return (jax.vmap(one) if fleet else one)(parameters)


def _matrices(tree: Any) -> list[jax.Array]:
    return [leaf for leaf in jax.tree.leaves(tree) if leaf.ndim == 2]


def _norm(leaves: list[jax.Array]) -> jax.Array:
    """L2 norm over all entries of all leaves; the name of optax's own differs between releases."""
    squares = [jnp.sum(jnp.square(leaf)) for leaf in leaves]
    return jnp.sqrt(sum(squares, start=jnp.zeros((), jnp.float32)))
