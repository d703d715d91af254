"""A small decoder-only transformer, as pure functions of a nested dict of parameters.

Pre-norm blocks with RMSNorm, rotary positions, a GELU MLP and no biases. By default queries and
keys are normalised and the head is not tied to the embedding. Weights are float32 whatever the
value of `jax_enable_x64`; products may use another dtype.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from scaling_laws.proxy.training.model_sizes import Size

__all__ = ["Parameters", "apply", "initialize", "is_matrix", "loss"]

Parameters = dict[str, Any]
EPSILON = 1e-6
ROTARY_BASE = 10_000.0
ONE_HOT = 1024  # largest vocabulary with lookup by a matrix product, see `_rows`


def initialize(key: jax.Array, size: Size) -> Parameters:
    """Initial parameters.

    Args:
        key: a `jax.random.key`.
        size: the shape of the model.

    Returns:
        A nested dict; matrices of shape (inputs, outputs) with entries ~ N(0, 1/inputs), divided by
        sqrt(2 layers) where they write to the residual stream, and gains of one.
    """
    width, wide, vocabulary = size.width, size.mlp_width, size.vocabulary
    residual = (2.0 * size.layers) ** -0.5

    def matrix(index: int, inputs: int, outputs: int, scale: float = 1.0) -> jax.Array:
        draw = jax.random.normal(jax.random.fold_in(key, index), (inputs, outputs), jnp.float32)
        return draw * float(scale * inputs**-0.5)

    def gain(count: int) -> jax.Array:
        return jnp.ones(count, jnp.float32)

    parameters: Parameters = {
        # unit-length rows, since a lookup selects one row instead of summing over all
        "embedding": matrix(0, vocabulary, width, (vocabulary / width) ** 0.5),
        "final_gain": gain(width),
    }
    if not size.tied:
        parameters["head"] = matrix(1, width, vocabulary)
    for layer in range(size.layers):
        index = 2 + 6 * layer
        block = {
            "attention_gain": gain(width),
            "query": matrix(index, width, width),
            "key": matrix(index + 1, width, width),
            "value": matrix(index + 2, width, width),
            "attention_out": matrix(index + 3, width, width, residual),
            "mlp_gain": gain(width),
            "mlp_in": matrix(index + 4, width, wide),
            "mlp_out": matrix(index + 5, wide, width, residual),
        }
        if size.qk_norm:
            block |= {"query_gain": gain(size.head_width), "key_gain": gain(size.head_width)}
        parameters[f"block_{layer}"] = block
    return parameters


def is_matrix(parameters: Parameters) -> Parameters:
    """True for matrices, which decay, and False for gains, which do not; same nesting."""
    mask: Parameters = jax.tree.map(lambda leaf: leaf.ndim == 2, parameters)
    return mask


def apply(
    parameters: Parameters, tokens: jax.Array, size: Size, dtype: Any = jnp.float32
) -> jax.Array:
    """Logits of the next token at every position.

    Args:
        parameters: as from `initialize`.
        tokens: of shape (batch, length), any integer type.
        size: the shape of the model.
        dtype: of the products and the activations.

    Returns:
        Logits of shape (batch, length, vocabulary), float32.
    """
    batch, length = tokens.shape
    logits = _logits(parameters, tokens, size, dtype)
    return jnp.reshape(logits, (batch, length, size.vocabulary))


def loss(
    parameters: Parameters, windows: jax.Array, size: Size, dtype: Any = jnp.float32
) -> jax.Array:
    """Mean cross-entropy of the next token.

    Args:
        parameters: as from `initialize`.
        windows: tokens of shape (batch, length + 1), any integer type.
        size: the shape of the model.
        dtype: as for `apply`.

    Returns:
        A float32 scalar, in nats per token.
    """
    logits = _logits(parameters, windows[:, :-1], size, dtype)
    target = jnp.reshape(windows[:, 1:], -1).astype(jnp.int32)
    if size.vocabulary <= ONE_HOT:
        hit = jnp.sum(logits * jax.nn.one_hot(target, size.vocabulary, dtype=jnp.float32), axis=-1)
    else:
        hit = jnp.take_along_axis(logits, target[:, None], axis=-1)[:, 0]
    return jnp.mean(jax.nn.logsumexp(logits, axis=-1) - hit)


def _logits(parameters: Parameters, tokens: jax.Array, size: Size, dtype: Any) -> jax.Array:
    """Logits of shape (batch·length, vocabulary), float32.

    Outside attention there is one row per token, so all products are of two matrices.
    """
    batch, length = tokens.shape
    weights = jax.tree.map(lambda leaf: leaf.astype(dtype), parameters)
    stream = _rows(weights["embedding"], jnp.reshape(tokens, -1).astype(jnp.int32))
    rotation = _rotation(length, size.head_width, dtype)
    for layer in range(size.layers):
        block = weights[f"block_{layer}"]
        inner = _norm(stream, block["attention_gain"])
        stream = stream + _attention(block, inner, rotation, size, batch)
        hidden = jax.nn.gelu(_dense(_norm(stream, block["mlp_gain"]), block["mlp_in"]))
        stream = stream + _dense(hidden, block["mlp_out"])
    head = weights["embedding"].T if size.tied else weights["head"]
    return _dense(_norm(stream, weights["final_gain"]), head).astype(jnp.float32)


@jax.custom_vjp
def _dense(x: jax.Array, matrix: jax.Array) -> jax.Array:
    """The product of (tokens, inputs) and (inputs, outputs).

    Has a custom derivative: the automatic one is a transposed product that first copies its
    operands column by column, which made a whole update on a CPU 1.5 times as slow.
    """
    return x @ matrix


def _dense_forward(x: jax.Array, matrix: jax.Array) -> tuple[jax.Array, Any]:
    return x @ matrix, (x, matrix)


def _dense_backward(saved: Any, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, matrix = saved
    return gradient @ matrix.T, jax.lax.dot_general(x, gradient, (((0,), (0,)), ((), ())))


_dense.defvjp(_dense_forward, _dense_backward)


def _rows(table: jax.Array, tokens: jax.Array) -> jax.Array:
    """Rows of a table; by a product if it is small: the gradient of a lookup is a slow scatter."""
    if len(table) <= ONE_HOT:
        return _dense(jax.nn.one_hot(tokens, len(table), dtype=table.dtype), table)
    return table[tokens]


def _norm(x: jax.Array, gain: jax.Array) -> jax.Array:
    """RMSNorm over the last axis in float32, times a gain of shape (last axis,)."""
    wide = x.astype(jnp.float32)
    scale = jax.lax.rsqrt(jnp.mean(jnp.square(wide), axis=-1, keepdims=True) + EPSILON)
    return (wide * scale).astype(x.dtype) * jnp.reshape(gain, (1,) * (x.ndim - 1) + gain.shape)


def _rotation(length: int, head_width: int, dtype: Any) -> tuple[jax.Array, jax.Array]:
    """Cosines and sines of shape (1, length, 1, head_width/2)."""
    half = jnp.arange(head_width // 2, dtype=jnp.float32) * (2.0 / head_width)
    position = jnp.arange(length, dtype=jnp.float32)
    angle = (position[:, None] * (ROTARY_BASE**-half)[None, :])[None, :, None, :]
    return jnp.cos(angle).astype(dtype), jnp.sin(angle).astype(dtype)


def _rotate(x: jax.Array, rotation: tuple[jax.Array, jax.Array]) -> jax.Array:
    cosine, sine = rotation
    left, right = jnp.split(x, 2, axis=-1)
    return jnp.concatenate([left * cosine - right * sine, left * sine + right * cosine], axis=-1)


def _attention(
    block: Parameters,
    x: jax.Array,
    rotation: tuple[jax.Array, jax.Array],
    size: Size,
    batch: int,
) -> jax.Array:
    """Causal attention over (batch·length, width)."""
    length = len(x) // batch

    def split(name: str) -> jax.Array:
        return jnp.reshape(_dense(x, block[name]), (batch, length, size.heads, size.head_width))

    def rotated(name: str) -> jax.Array:
        normed = _norm(split(name), block[f"{name}_gain"]) if size.qk_norm else split(name)
        return _rotate(normed, rotation)

    query, key, value = (
        jnp.transpose(projection, (0, 2, 1, 3))
        for projection in (rotated("query"), rotated("key"), split("value"))
    )
    score = jnp.einsum("bhqd,bhkd->bhqk", query, key).astype(jnp.float32) * size.head_width**-0.5
    causal = jnp.tril(jnp.ones((1, 1, length, length), dtype=bool))
    weight = jax.nn.softmax(jnp.where(causal, score, -jnp.inf), axis=-1).astype(x.dtype)
    mixed = jnp.transpose(jnp.einsum("bhqk,bhkd->bhqd", weight, value), (0, 2, 1, 3))
    return _dense(jnp.reshape(mixed, x.shape), block["attention_out"])
