"""Compressed changes keep the moments that make them stand for the originals."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling_laws.numerics.quadrature import changes, compress, discrete_gauss, dyadic_groups
from tests.helpers import SCHEDULES


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


def test_groups_grow_away_from_the_points() -> None:
    edges = dyadic_groups(np.array([100, 300]), 16)
    assert edges.tolist() == [36, 68, 84, 100, 172, 236, 268, 284, 300]


@pytest.mark.parametrize("name", SCHEDULES)
def test_compress_keeps_each_gap_s_total(name: str) -> None:
    lr = SCHEDULES[name]
    points = np.unique(np.r_[np.arange(25, len(lr), 60), len(lr) - 1])
    position, weight = compress(changes(lr), lr, points, nodes=3, first=64)
    change = changes(lr)
    edges = np.concatenate([[-1], points])
    for low, high in itertools.pairwise(edges):
        inside = (position > low) & (position <= high)
        assert weight[inside].sum() == pytest.approx(change[low + 1 : high + 1].sum(), abs=1e-15)


def test_abrupt_drops_stay_where_they_are() -> None:
    lr = SCHEDULES["two drops"]
    position, weight = compress(changes(lr), lr, np.array([150, 250, 289]), nodes=3, first=64)
    np.testing.assert_array_equal(position, [100, 200])
    np.testing.assert_allclose(weight, [9e-4, 9e-5])


def test_many_small_changes_become_few() -> None:
    lr = np.concatenate([np.ones(100), np.linspace(1.0, 0.1, 20_000)])
    position, weight = compress(changes(lr), lr, np.arange(200, 20_100, 100), nodes=3, first=64)
    assert len(position) < 20_000 / 10
    assert weight.sum() == pytest.approx(lr[0] - lr[20_000], rel=1e-12)


def test_constant_schedule_has_no_events() -> None:
    position, weight = compress(np.zeros(50), np.ones(50), np.array([10, 49]), nodes=3, first=64)
    assert position.size == weight.size == 0
