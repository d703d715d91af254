"""Registered sizes and what they count."""

from __future__ import annotations

import jax
import pytest

from scaling_laws.errors import ProxyError
from scaling_laws.proxy import SIZES, Size, get_size
from scaling_laws.proxy.model import initialize


@pytest.mark.parametrize("size", SIZES, ids=lambda size: size.name)
def test_counts_the_parameters_the_model_has(size: Size) -> None:
    shapes = jax.eval_shape(lambda: initialize(jax.random.key(0), size))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == size.parameters


def test_unknown_size_names_the_near_match() -> None:
    with pytest.raises(ProxyError, match=r"unknown proxy size 'nanno'; did you mean 'nano'"):
        get_size("nanno")


def test_refuses_a_shape_that_is_no_model() -> None:
    with pytest.raises(ProxyError, match="width=10 does not split into heads=4"):
        Size("odd", 10, 1, 4, 8, context=4, batch=1, validation_windows=1)
    with pytest.raises(ProxyError, match="batch=0 must be at least 1"):
        Size("none", 16, 1, 2, 8, context=4, batch=0, validation_windows=1)
