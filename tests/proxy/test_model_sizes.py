"""Registered sizes and what they count."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from scaling_laws.common.errors import ProxyError
from scaling_laws.proxy import SIZES, Size, get_size
from scaling_laws.proxy.training import transformer
from scaling_laws.proxy.training.model_sizes import BASE_WIDTH

VARIANTS = [
    replace(size, tied=tied, qk_norm=qk_norm, vocabulary=vocabulary)
    for size in SIZES
    for tied, qk_norm, vocabulary in ((False, True, 256), (True, True, 512), (False, False, 5000))
]


def label(size: Size) -> str:
    return f"{size.name}-{size.vocabulary}" + "-tied" * size.tied + "-raw" * (not size.qk_norm)


@pytest.mark.parametrize("size", VARIANTS, ids=label)
def test_counts_the_parameters_the_model_has(size: Size) -> None:
    shapes = jax.eval_shape(lambda: transformer.initialize(jax.random.key(0), size))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == size.parameters


def products(jaxpr: Any) -> int:
    """Multiplications and additions of all matrix products in a traced function."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            ((left, _), _) = equation.params["dimension_numbers"]
            summed = math.prod(equation.invars[0].aval.shape[axis] for axis in left)
            total += 2 * summed * math.prod(equation.outvars[0].aval.shape)
        for part in equation.params.values():
            inner = getattr(part, "jaxpr", part)
            if hasattr(inner, "eqns"):
                total += products(inner)
    return total


@pytest.mark.parametrize("size", VARIANTS, ids=label)
def test_counts_the_products_that_are_computed(size: Size) -> None:
    parameters = jax.eval_shape(lambda: transformer.initialize(jax.random.key(0), size))
    tokens = jax.ShapeDtypeStruct((2, size.context), jnp.uint16)
    windows = jax.ShapeDtypeStruct((2, size.context + 1), jnp.uint16)
    forward = jax.make_jaxpr(lambda p, t: transformer.apply(p, t, size))(parameters, tokens)
    update = jax.make_jaxpr(jax.grad(lambda p, w: transformer.loss(p, w, size)))(
        parameters, windows
    )
    # rows of a small table are picked by a product, forward and back, which counts as a lookup
    product = 2 * size.vocabulary * size.width if size.vocabulary <= transformer.ONE_HOT else 0
    count = 2 * size.context
    assert products(forward.jaxpr) == count * (size.forward_flops + product)
    backward = 3 * size.forward_flops + 2 * product
    assert products(update.jaxpr) in (count * backward, count * (backward + product))


def test_sizes_are_told_apart_and_grow() -> None:
    assert len({size.name for size in SIZES}) == len(SIZES)
    counts = [size.parameters for size in SIZES]
    assert counts == sorted(counts)
    assert get_size("nano").width == BASE_WIDTH  # what was trained before means the same
    assert get_size("nano").parameters == 131_520
    for size in SIZES:
        assert size.head_width == 32 and size.mlp_width == 4 * size.width
        assert size.tokens_per_step == size.batch * size.context


def test_unknown_size_names_the_near_match() -> None:
    with pytest.raises(ProxyError, match=r"unknown proxy size 'nanno'; did you mean 'nano'"):
        get_size("nanno")


def test_refuses_a_shape_that_is_no_model() -> None:
    with pytest.raises(ProxyError, match="width=10 does not split into heads=4"):
        Size("odd", 10, 1, 4, 8, context=4, batch=1, validation_windows=1)
    with pytest.raises(ProxyError, match="batch=0 must be at least 1"):
        Size("none", 16, 1, 2, 8, context=4, batch=0, validation_windows=1)
