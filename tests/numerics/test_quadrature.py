"""Quadrature nodes keep the moments that make them stand for the originals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling_laws.models.numerics.compression.discrete_gauss import discrete_gauss


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), nodes=st.integers(1, 5))
def test_gauss_nodes_keep_the_moments(seed: int, nodes: int) -> None:
    generator = np.random.default_rng(seed)
    sizes = generator.integers(nodes + 1, 40, size=4)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    position = np.concatenate([np.sort(generator.uniform(-3, 5, size)) for size in sizes])
    weight = generator.uniform(0.1, 2.0, sizes.sum())
    where, mass = discrete_gauss(position, weight, starts, nodes)
    assert (mass > 0).all()
    for group, (start, size) in enumerate(zip(starts, sizes, strict=True)):
        atoms, weights = position[start : start + size], weight[start : start + size]
        assert atoms.min() - 1e-9 <= where[group].min() <= where[group].max() <= atoms.max() + 1e-9
        for degree in range(2 * nodes):
            expected = np.sum(weights * atoms**degree)
            scale = np.sum(weights * np.abs(atoms) ** degree)
            assert np.sum(mass[group] * where[group] ** degree) == pytest.approx(
                expected, abs=1e-9 * scale
            )
