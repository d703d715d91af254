"""The transformer against one written out in NumPy, and what must hold of any such model."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray

from scaling_laws.proxy import Size, model

DEEP = Size("deep", 16, 2, 2, 24, context=8, batch=4, validation_windows=8)
Array = NDArray[np.float64]


@pytest.fixture(scope="module")
def parameters() -> model.Parameters:
    """Fresh ones, but with gains that differ from one, so that a forgotten gain shows."""
    fresh = model.initialize(jax.random.key(5), DEEP)
    return jax.tree.map(
        lambda leaf: leaf * jnp.linspace(0.5, 1.5, leaf.size) if leaf.ndim == 1 else leaf, fresh
    )


@pytest.fixture(scope="module")
def tokens() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(256, size=(4, 8), dtype=np.uint8)


@pytest.fixture(scope="module")
def logits(parameters: model.Parameters) -> Any:
    return jax.jit(lambda tokens: model.apply(parameters, tokens, DEEP))


@pytest.fixture(scope="module")
def loss() -> Any:
    return jax.jit(lambda parameters, windows: model.loss(parameters, windows, DEEP))


def norm(x: Array, gain: Array) -> Array:
    return x / np.sqrt(np.mean(x**2) + 1e-6) * gain


def rotate(x: Array, position: int) -> Array:
    """Pairs (i, i + half) as complex numbers, turned by position / 10000^(i/half)."""
    half = len(x) // 2
    turned = (x[:half] + 1j * x[half:]) * np.exp(
        1j * position * 10_000.0 ** (-np.arange(half) / half)
    )
    return np.concatenate([turned.real, turned.imag])


def reference(p: Any, sequence: NDArray[np.uint8], size: Size) -> Array:
    """Logits of one sequence, position by position and head by head, in float64."""
    p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), p)
    stream = [p["embedding"][token] for token in sequence]
    for layer in range(size.layers):
        b = p[f"block_{layer}"]
        inner = [norm(x, b["attention_gain"]) for x in stream]
        out = [np.zeros(size.width) for _ in stream]
        for head in range(size.heads):
            part = slice(head * size.head_width, (head + 1) * size.head_width)
            key = [
                rotate(norm((x @ b["key"])[part], b["key_gain"]), i) for i, x in enumerate(inner)
            ]
            for i, x in enumerate(inner):
                query = rotate(norm((x @ b["query"])[part], b["query_gain"]), i)
                score = np.array([query @ k for k in key[: i + 1]]) / math.sqrt(size.head_width)
                weight = np.exp(score - score.max())
                weight /= weight.sum()
                out[i][part] = sum(
                    w * (x @ b["value"])[part] for w, x in zip(weight, inner, strict=False)
                )
        stream = [x + o @ b["attention_out"] for x, o in zip(stream, out, strict=True)]
        for i, x in enumerate(stream):
            h = norm(x, b["mlp_gain"]) @ b["mlp_in"]
            h = 0.5 * h * (1 + np.tanh(math.sqrt(2 / math.pi) * (h + 0.044715 * h**3)))
            stream[i] = x + h @ b["mlp_out"]
    return np.array([norm(x, p["final_gain"]) @ p["head"] for x in stream])


def test_logits_are_those_of_the_reference(
    parameters: model.Parameters, tokens: NDArray[np.uint8], logits: Any
) -> None:
    found = logits(tokens)
    assert found.shape == (4, 8, 256) and found.dtype == jnp.float32
    for sequence, row in zip(tokens, found, strict=True):
        np.testing.assert_allclose(row, reference(parameters, sequence, DEEP), atol=2e-5)


def test_loss_is_the_mean_surprise_of_the_next_byte(
    parameters: model.Parameters, tokens: NDArray[np.uint8], loss: Any
) -> None:
    surprise = []
    for sequence in tokens:
        row = reference(parameters, sequence[:-1], DEEP)
        log_probability = row - np.log(np.exp(row).sum(axis=1, keepdims=True))
        surprise += [-log_probability[i, token] for i, token in enumerate(sequence[1:])]
    assert float(loss(parameters, tokens)) == pytest.approx(np.mean(surprise), rel=1e-5)


@pytest.mark.parametrize("place", [0, 3, 7])
def test_a_later_byte_changes_no_earlier_logit(
    tokens: NDArray[np.uint8], logits: Any, place: int
) -> None:
    changed = tokens.copy()
    changed[:, place] ^= 0x55
    before, after = np.asarray(logits(tokens)), np.asarray(logits(changed))
    np.testing.assert_array_equal(after[:, :place], before[:, :place])
    assert (after[:, place:] != before[:, place:]).any(axis=-1).all()


def test_matrices_decay_and_gains_do_not(parameters: model.Parameters) -> None:
    assert {leaf.dtype for leaf in jax.tree.leaves(parameters)} == {jnp.dtype("float32")}
    mask = model.is_matrix(parameters)
    assert mask["embedding"] and mask["head"] and mask["block_0"]["mlp_in"]
    assert not mask["final_gain"] and not mask["block_0"]["query_gain"]


def test_at_first_nothing_is_known(tokens: NDArray[np.uint8], loss: Any) -> None:
    losses = [float(loss(model.initialize(jax.random.key(i), DEEP), tokens)) for i in range(6)]
    # a uniform guess, and half the variance of the logits, which is one
    assert np.mean(losses) == pytest.approx(math.log(256) + 0.5, abs=0.3)
    assert len(set(losses)) == 6


def test_scales_at_first(parameters: model.Parameters) -> None:
    block = parameters["block_1"]
    for matrix, variance in (
        (parameters["embedding"], 1 / 16),
        (parameters["head"], 1 / 16),
        (block["query"], 1 / 16),
        (block["mlp_in"], 1 / 16),
        (block["attention_out"], 1 / 16 / 4),
        (block["mlp_out"], 1 / 24 / 4),
    ):
        assert np.mean(np.asarray(matrix) ** 2) == pytest.approx(variance, rel=0.3)
    leaves = (np.asarray(leaf) for leaf in jax.tree.leaves(parameters))
    first = np.array([leaf.ravel()[:14] for leaf in leaves if leaf.ndim == 2])
    assert np.linalg.matrix_rank(first) == len(first) == 14  # no two drawn from one key
