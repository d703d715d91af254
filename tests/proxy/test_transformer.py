"""The transformer against one written out in NumPy, and what must hold of any such model."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from scaling_laws.proxy import Size
from scaling_laws.proxy.training import transformer
from tests.reference import proxy_model as reference

DEEP = Size("deep", 16, 2, 2, 24, context=8, batch=4, validation_windows=8)


@pytest.fixture(scope="module")
def parameters() -> transformer.Parameters:
    """Fresh ones, but with gains that differ from one, so that a forgotten gain shows."""
    fresh = transformer.initialize(jax.random.key(5), DEEP)
    return jax.tree.map(
        lambda leaf: leaf * jnp.linspace(0.5, 1.5, leaf.size) if leaf.ndim == 1 else leaf, fresh
    )


@pytest.fixture(scope="module")
def tokens() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(256, size=(4, 8), dtype=np.uint8)


@pytest.fixture(scope="module")
def logits(parameters: transformer.Parameters) -> Any:
    return jax.jit(lambda tokens: transformer.apply(parameters, tokens, DEEP))


@pytest.fixture(scope="module")
def loss() -> Any:
    return jax.jit(lambda parameters, windows: transformer.loss(parameters, windows, DEEP))


def double(parameters: transformer.Parameters) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), parameters)


def test_logits_are_those_of_the_reference(
    parameters: transformer.Parameters, tokens: NDArray[np.uint8], logits: Any
) -> None:
    found = logits(tokens)
    assert found.shape == (4, 8, 256) and found.dtype == jnp.float32
    for sequence, row in zip(tokens, found, strict=True):
        np.testing.assert_allclose(
            row, reference.logits(double(parameters), sequence, DEEP), atol=2e-5
        )


def test_loss_is_the_mean_surprise_of_the_next_byte(
    parameters: transformer.Parameters, tokens: NDArray[np.uint8], loss: Any
) -> None:
    expected = np.mean([reference.surprise(double(parameters), each, DEEP) for each in tokens])
    assert float(loss(parameters, tokens)) == pytest.approx(expected, rel=1e-5)


VARIANTS = {
    "tied": replace(DEEP, tied=True),
    "raw queries": replace(DEEP, qk_norm=False),
    "odd vocabulary": replace(DEEP, vocabulary=300),
    "lookup": replace(DEEP, vocabulary=1500),
    "lookup, tied": replace(DEEP, vocabulary=1500, tied=True, qk_norm=False),
}


def gained(size: Size) -> transformer.Parameters:
    """Fresh parameters with gains that differ from one."""
    fresh = transformer.initialize(jax.random.key(5), size)
    return jax.tree.map(
        lambda leaf: leaf * jnp.linspace(0.5, 1.5, leaf.size) if leaf.ndim == 1 else leaf, fresh
    )


def windows_of(size: Size) -> NDArray[np.uint16]:
    drawn = np.random.default_rng(1).integers(size.vocabulary, size=(2, 9), dtype=np.uint16)
    drawn[0, -1] = size.vocabulary - 1
    return drawn


@pytest.mark.parametrize("size", VARIANTS.values(), ids=VARIANTS.keys())
def test_variants_are_those_of_the_reference(size: Size) -> None:
    own, windows = gained(size), windows_of(size)
    found = jax.jit(
        lambda p, w: (transformer.apply(p, w[:, :-1], size), transformer.loss(p, w, size))
    )
    logits, loss = found(own, windows)
    for window, row in zip(windows, logits, strict=True):
        expected = reference.logits(double(own), window[:-1], size)
        np.testing.assert_allclose(row, expected, atol=3e-5)
    expected = np.mean([reference.surprise(double(own), window, size) for window in windows])
    assert float(loss) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["tied", "lookup"])
def test_gradients_are_those_of_plain_products(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    size = VARIANTS[name]
    own, windows = gained(size), windows_of(size)

    def gradient() -> Any:
        return jax.jit(jax.grad(lambda p: transformer.loss(p, windows, size)))(own)

    ours = gradient()
    monkeypatch.setattr(transformer, "_dense", lambda x, matrix: x @ matrix)
    monkeypatch.setattr(transformer, "_rows", lambda table, tokens: table[tokens])
    for left, right in zip(jax.tree.leaves(ours), jax.tree.leaves(gradient()), strict=True):
        np.testing.assert_allclose(left, right, atol=2e-6)
        assert float(jnp.max(jnp.abs(right))) > 1e-5


def test_gradients_are_slopes() -> None:
    """Along a random direction, against the reference's difference in float64."""
    size = DEEP
    own, windows = gained(size), windows_of(size)[:1]
    gradient = jax.jit(jax.grad(lambda p: transformer.loss(p, windows, size)))(own)
    generator = np.random.default_rng(3)
    way = jax.tree.map(lambda leaf: generator.normal(size=leaf.shape), own)
    pairs = zip(jax.tree.leaves(gradient), jax.tree.leaves(way), strict=True)
    slope = sum(float(np.sum(np.asarray(g, np.float64) * w)) for g, w in pairs)

    def at(distance: float) -> float:
        moved = jax.tree.map(lambda p, w: p + distance * w, double(own), way)
        return float(reference.surprise(moved, windows[0], size))

    assert slope == pytest.approx((at(1e-5) - at(-1e-5)) / 2e-5, rel=1e-4)


@given(
    rows=st.integers(1, 5), inputs=st.integers(1, 5), outputs=st.integers(1, 5), seed=st.integers(0)
)
@settings(max_examples=20, deadline=None)
def test_the_products_own_derivative(rows: int, inputs: int, outputs: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    x, matrix, back = (
        jnp.asarray(generator.normal(size=shape), jnp.float32)
        for shape in ((rows, inputs), (inputs, outputs), (rows, outputs))
    )
    plain, pull_plain = jax.vjp(jnp.matmul, x, matrix)
    found, pull = jax.vjp(transformer._dense, x, matrix)
    np.testing.assert_array_equal(found, plain)
    for left, right in zip(pull(back), pull_plain(back), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-6)


def test_bfloat16_is_close(parameters: transformer.Parameters, tokens: NDArray[np.uint8]) -> None:
    both = [
        jax.jit(jax.value_and_grad(lambda p, d=dtype: transformer.loss(p, tokens, DEEP, d)))(
            parameters
        )
        for dtype in (jnp.float32, jnp.bfloat16)
    ]
    (wide, slope), (narrow, other) = both
    assert narrow.dtype == jnp.float32
    assert float(narrow) == pytest.approx(float(wide), rel=2e-2)
    assert float(narrow) != float(wide)  # it was another type
    assert {leaf.dtype for leaf in jax.tree.leaves(other)} == {jnp.dtype("float32")}
    a, b = (np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(s)]) for s in (slope, other))
    assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) > 0.99


@pytest.mark.parametrize("place", [0, 3, 7])
def test_a_later_byte_changes_no_earlier_logit(
    tokens: NDArray[np.uint8], logits: Any, place: int
) -> None:
    changed = tokens.copy()
    changed[:, place] ^= 0x55
    before, after = np.asarray(logits(tokens)), np.asarray(logits(changed))
    np.testing.assert_array_equal(after[:, :place], before[:, :place])
    assert (after[:, place:] != before[:, place:]).any(axis=-1).all()


def test_matrices_decay_and_gains_do_not(parameters: transformer.Parameters) -> None:
    assert {leaf.dtype for leaf in jax.tree.leaves(parameters)} == {jnp.dtype("float32")}
    mask = transformer.is_matrix(parameters)
    assert mask["embedding"] and mask["head"] and mask["block_0"]["mlp_in"]
    assert not mask["final_gain"] and not mask["block_0"]["query_gain"]


def test_at_first_nothing_is_known(tokens: NDArray[np.uint8], loss: Any) -> None:
    losses = [
        float(loss(transformer.initialize(jax.random.key(i), DEEP), tokens)) for i in range(6)
    ]
    # a uniform guess, and half the variance of the logits, which is one
    assert np.mean(losses) == pytest.approx(math.log(256) + 0.5, abs=0.3)
    assert len(set(losses)) == 6


def test_scales_at_first(parameters: transformer.Parameters) -> None:
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
