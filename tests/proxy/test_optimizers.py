"""Directions against the papers, and what every registered optimizer must do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling_laws.common.errors import ProxyError
from scaling_laws.proxy import SIZES, train_curve
from scaling_laws.proxy.training import compiled_steps, transformer
from scaling_laws.proxy.training.model_sizes import BASE_WIDTH
from scaling_laws.proxy.training.optimizers import (
    BETA1,
    BETA2,
    MUON_BETA,
    OPTIMIZERS,
    WIDTH_RULES,
    Optimizer,
    get_optimizer,
    width_factors,
)
from tests.proxy.conftest import TINY
from tests.reference import proxy_optimizers as reference

WIDE = replace(TINY, layers=2, mlp_width=24, vocabulary=40)
EACH = pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda each: each.name)


@pytest.fixture(scope="module")
def parameters() -> transformer.Parameters:
    return transformer.initialize(jax.random.key(2), WIDE)


@pytest.fixture(scope="module")
def gradients(parameters: transformer.Parameters) -> list[Any]:
    """Four that have something in common, as those of a training do."""
    generator = np.random.default_rng(7)

    def draw(leaf: Any) -> Any:
        common = generator.normal(size=leaf.shape)
        drawn = [common + 2.0 * generator.normal(size=leaf.shape) for _ in range(4)]
        return [each.astype(np.float32) for each in drawn]

    drawn = jax.tree.map(draw, parameters)
    return [
        jax.tree.map(lambda many, i=i: many[i], drawn, is_leaf=lambda each: isinstance(each, list))
        for i in range(4)
    ]


def directions(optimizer: Optimizer, parameters: Any, gradients: list[Any]) -> list[Any]:
    transform = optimizer.transform(parameters)
    found = []
    with jax.numpy_dtype_promotion("standard"):
        state = transform.init(parameters)
        for gradient in gradients:
            direction, state = transform.update(gradient, state, parameters)
            found.append(direction)
    return found


def leaves(tree: Any) -> dict[str, Any]:
    """Leaves by their path, ``block_0/query``."""
    flat = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {"/".join(part.key for part in path): leaf for path, leaf in flat}


def is_hidden(path: str, leaf: Any) -> bool:
    return leaf.ndim == 2 and path not in ("embedding", "head")


def test_constants_are_those_of_the_reference() -> None:
    assert (BETA1, BETA2, MUON_BETA) == (
        reference.BETA1,
        reference.BETA2,
        reference.MOMENTUM,
    )


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_directions_are_those_of_the_reference(
    name: str, parameters: transformer.Parameters, gradients: list[Any]
) -> None:
    found = [leaves(each) for each in directions(get_optimizer(name), parameters, gradients)]
    given = [leaves(each) for each in gradients]
    for path, leaf in leaves(parameters).items():
        twin = reference.muon if name == "muon" and is_hidden(path, leaf) else reference.adam
        expected = twin([np.asarray(each[path], np.float64) for each in given])
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours[path], theirs, rtol=2e-3, atol=2e-4, err_msg=path)


def test_muon_is_nearly_orthogonal_and_as_large_as_adam(
    parameters: transformer.Parameters, gradients: list[Any]
) -> None:
    last = leaves(directions(get_optimizer("muon"), parameters, gradients)[-1])
    hidden = {path: leaf for path, leaf in last.items() if is_hidden(path, leaf)}
    assert len(hidden) == 2 * 6
    for leaf in hidden.values():
        singular = np.linalg.svd(np.asarray(leaf), compute_uv=False)
        scale = 0.2 * np.sqrt(max(leaf.shape))
        assert (singular / scale < 1.3).all() and np.median(singular / scale) > 0.6
        assert np.sqrt(np.mean(np.square(leaf))) == pytest.approx(0.2, rel=0.3)


@EACH
def test_a_direction_has_the_shape_of_the_parameters(
    optimizer: Optimizer, parameters: transformer.Parameters, gradients: list[Any]
) -> None:
    assert optimizer.description and get_optimizer(optimizer.name) is optimizer
    for direction in directions(optimizer, parameters, gradients):
        assert jax.tree.structure(direction) == jax.tree.structure(parameters)
        for ours, theirs in zip(
            jax.tree.leaves(direction), jax.tree.leaves(parameters), strict=True
        ):
            assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
            assert np.isfinite(ours).all() and (np.asarray(ours) != 0).any()


@EACH
def test_no_gradient_no_direction(optimizer: Optimizer, parameters: transformer.Parameters) -> None:
    nothing = jax.tree.map(jnp.zeros_like, parameters)
    for direction in directions(optimizer, parameters, [nothing] * 2):
        assert all((np.asarray(leaf) == 0).all() for leaf in jax.tree.leaves(direction))


@EACH
def test_the_size_of_the_loss_does_not_count(
    optimizer: Optimizer, parameters: transformer.Parameters, gradients: list[Any]
) -> None:
    larger = [jax.tree.map(lambda leaf: 8 * leaf, each) for each in gradients]
    both = (directions(optimizer, parameters, each) for each in (gradients, larger))
    for one, other in zip(*both, strict=True):
        for ours, theirs in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


@EACH
def test_it_learns_a_tiny_text(optimizer: Optimizer, configure) -> None:
    config = configure("constant:peak=4e-3,steps=60,warmup=5", optimizer=optimizer.name, every=20)
    curve = train_curve(config)
    assert curve.train_loss[0] > 2.3  # the mean of the first updates; 5.5 before them
    assert np.log(8) - 0.01 < curve.loss[-1] < 2.12  # eight letters, drawn evenly


def test_names_are_told_apart() -> None:
    assert len({each.name for each in OPTIMIZERS}) == len(OPTIMIZERS)
    with pytest.raises(ProxyError, match="unknown optimizer 'moun'; did you mean 'muon'"):
        get_optimizer("moun")


@pytest.mark.parametrize("size", [*SIZES, TINY], ids=lambda size: size.name)
@pytest.mark.parametrize("tied", [False, True])
def test_width_factors(size: Any, tied: bool) -> None:
    size = replace(size, tied=tied)
    shapes = jax.eval_shape(lambda: transformer.initialize(jax.random.key(0), size))
    assert set(jax.tree.leaves(width_factors(shapes, size, "none"))) == {1.0}
    found = leaves(width_factors(shapes, size, "per-layer"))
    for path, leaf in leaves(shapes).items():
        sums = leaf.ndim == 2 and path != "embedding"
        assert found[path] == (BASE_WIDTH / size.width if sums else 1.0), path
    muon = leaves(width_factors(shapes, size, "per-layer", "muon"))
    for path, factor in found.items():
        hidden = path not in ("embedding", "head")
        assert muon[path] == pytest.approx(factor**0.5 if hidden else factor), path
    if size.width == BASE_WIDTH:
        assert set(found.values()) == {1.0}  # exactly: such runs do not know of the rule
    assert WIDTH_RULES == ("per-layer", "none")


def moved(rule: str, decay: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """Leaves before and after one update of a model a quarter as wide as the base."""
    shapes = compiled_steps.Shapes(TINY, "adamw", "float32", rule, ())
    state = compiled_steps.initialize(jax.random.key(1), shapes)
    before = {path: np.array(leaf, np.float64) for path, leaf in leaves(state.parameters).items()}
    windows = np.random.default_rng(0).integers(97, 105, size=(1, 4, 17), dtype=np.uint8)
    rates = jnp.asarray([1e-2], jnp.float32)
    after, _ = compiled_steps.update(
        state, rates, jnp.asarray(windows), jnp.float32(decay), shapes=shapes
    )
    found = leaves(after.parameters)
    return before, {path: np.array(leaf, np.float64) for path, leaf in found.items()}


def test_the_rule_scales_directions_and_not_the_decay() -> None:
    before, plain = moved("none", 0.0)
    _, scaled = moved("per-layer", 0.0)
    _, decayed = moved("per-layer", 0.5)
    for path, start in before.items():
        factor = BASE_WIDTH / TINY.width if start.ndim == 2 and path != "embedding" else 1.0
        np.testing.assert_allclose(
            scaled[path] - start, factor * (plain[path] - start), atol=5e-7, err_msg=path
        )
        forgotten = 1e-2 * 0.5 * start if start.ndim == 2 else 0.0
        np.testing.assert_allclose(decayed[path], scaled[path] - forgotten, atol=5e-7, err_msg=path)
