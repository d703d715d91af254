"""A small decoder-only transformer on bytes, as pure functions of a nested dict of parameters.

Pre-norm blocks with RMSNorm, rotary positions, normalised queries and keys, a GELU MLP, no biases,
and an output head of its own. Weights are float32 whatever `jax_enable_x64` says.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from scaling_laws.proxy.sizes import VOCABULARY, Size

__all__ = ["Parameters", "apply", "initialize", "is_matrix", "loss"]

Parameters = dict[str, Any]
EPSILON = 1e-6
ROTARY_BASE = 10_000.0


def initialize(key: jax.Array, size: Size) -> Parameters:
    """Fresh parameters.

    Args:
        key: a `jax.random.key`.
        size: the shape of the model.

    Returns:
        A nested dict; matrices of shape (inputs, outputs) with entries ~ N(0, 1/inputs), those
        that add to the residual stream smaller by sqrt(2 layers), and gains of one.
    """
    width, wide = size.width, size.mlp_width
    residual = (2.0 * size.layers) ** -0.5

    def matrix(index: int, inputs: int, outputs: int, scale: float = 1.0) -> jax.Array:
        draw = jax.random.normal(jax.random.fold_in(key, index), (inputs, outputs), jnp.float32)
        return draw * float(scale * inputs**-0.5)

    def gain(count: int) -> jax.Array:
        return jnp.ones(count, jnp.float32)

    parameters: Parameters = {
        # a row is picked, not summed over: give it unit length, or it dwarfs the other matrices
        "embedding": matrix(0, VOCABULARY, width, (VOCABULARY / width) ** 0.5),
        "head": matrix(1, width, VOCABULARY),
        "final_gain": gain(width),
    }
    for layer in range(size.layers):
        index = 2 + 6 * layer
        parameters[f"block_{layer}"] = {
            "attention_gain": gain(width),
            "query": matrix(index, width, width),
            "key": matrix(index + 1, width, width),
            "value": matrix(index + 2, width, width),
            "attention_out": matrix(index + 3, width, width, residual),
            "query_gain": gain(size.head_width),
            "key_gain": gain(size.head_width),
            "mlp_gain": gain(width),
            "mlp_in": matrix(index + 4, width, wide),
            "mlp_out": matrix(index + 5, wide, width, residual),
        }
    return parameters


def is_matrix(parameters: Parameters) -> Parameters:
    """True for matrices, which decay, and False for gains, which do not; same nesting."""
    mask: Parameters = jax.tree.map(lambda leaf: leaf.ndim == 2, parameters)
    return mask


def apply(parameters: Parameters, tokens: jax.Array, size: Size) -> jax.Array:
    """Logits of the next byte after every position.

    Args:
        parameters: as from `initialize`.
        tokens: bytes of shape (batch, length), any integer type.
        size: the shape of the model.

    Returns:
        Logits of shape (batch, length, 256), float32.
    """
    # a product with one-hot rows: its gradient is a matrix product, a lookup's is a slow scatter
    stream = _one_hot(tokens) @ parameters["embedding"]
    rotation = _rotation(tokens.shape[1], size.head_width)
    for layer in range(size.layers):
        block = parameters[f"block_{layer}"]
        stream = stream + _attention(block, _norm(stream, block["attention_gain"]), rotation, size)
        hidden = jax.nn.gelu(_norm(stream, block["mlp_gain"]) @ block["mlp_in"])
        stream = stream + hidden @ block["mlp_out"]
    logits: jax.Array = _norm(stream, parameters["final_gain"]) @ parameters["head"]
    return logits


def loss(parameters: Parameters, windows: jax.Array, size: Size) -> jax.Array:
    """Mean cross-entropy of the next byte.

    Args:
        parameters: as from `initialize`.
        windows: bytes of shape (batch, length + 1), any integer type.
        size: the shape of the model.

    Returns:
        A float32 scalar, in nats per byte.
    """
    logits = apply(parameters, windows[:, :-1], size)
    target = jnp.sum(logits * _one_hot(windows[:, 1:]), axis=-1)
    return jnp.mean(jax.nn.logsumexp(logits, axis=-1) - target)


def _one_hot(tokens: jax.Array) -> jax.Array:
    return jax.nn.one_hot(tokens.astype(jnp.int32), VOCABULARY, dtype=jnp.float32)


def _norm(x: jax.Array, gain: jax.Array) -> jax.Array:
    """RMSNorm over the last axis, times a gain of shape (last axis,)."""
    scale = jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + EPSILON)
    return x * scale * jnp.reshape(gain, (1,) * (x.ndim - 1) + gain.shape)


def _rotation(length: int, head_width: int) -> tuple[jax.Array, jax.Array]:
    """Cosines and sines of shape (1, length, 1, head_width/2)."""
    half = jnp.arange(head_width // 2, dtype=jnp.float32) * (2.0 / head_width)
    position = jnp.arange(length, dtype=jnp.float32)
    angle = position[:, None] * (ROTARY_BASE**-half)[None, :]
    return jnp.cos(angle)[None, :, None, :], jnp.sin(angle)[None, :, None, :]


def _rotate(x: jax.Array, rotation: tuple[jax.Array, jax.Array]) -> jax.Array:
    cosine, sine = rotation
    left, right = jnp.split(x, 2, axis=-1)
    return jnp.concatenate([left * cosine - right * sine, left * sine + right * cosine], axis=-1)


def _attention(
    block: Parameters, x: jax.Array, rotation: tuple[jax.Array, jax.Array], size: Size
) -> jax.Array:
    """Causal attention over (batch, length, width)."""
    batch, length, width = x.shape

    def split(name: str) -> jax.Array:
        return jnp.reshape(x @ block[name], (batch, length, size.heads, size.head_width))

    query = _rotate(_norm(split("query"), block["query_gain"]), rotation)
    key = _rotate(_norm(split("key"), block["key_gain"]), rotation)
    score = jnp.einsum("bqhd,bkhd->bhqk", query, key) * size.head_width**-0.5
    seen = jnp.tril(jnp.ones((1, 1, length, length), dtype=bool))
    weight = jax.nn.softmax(jnp.where(seen, score, -jnp.inf), axis=-1)
    mixed = jnp.einsum("bhqk,bkhd->bqhd", weight, split("value"))
    out: jax.Array = jnp.reshape(mixed, (batch, length, width)) @ block["attention_out"]
    return out
