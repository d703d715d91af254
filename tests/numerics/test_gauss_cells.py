"""Cells of two nodes represent their steps, for laws whose clock depends on parameters."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling_laws.models.laws import get_schedule_law
from scaling_laws.models.numerics.discretisations.final import FINAL
from scaling_laws.models.numerics.grids.gauss_cells import GaussCells
from scaling_laws.models.numerics.grids.single_steps import SingleSteps
from scaling_laws.models.numerics.precision import in_float64
from scaling_laws.models.numerics.scans import (
    affine_scan,
    affine_scan_sequential,
    cumsum_sequential,
)

FACTS = {"weight_decay": 0.1}
ROWS = st.lists(st.floats(0.0, 2e-3), min_size=1, max_size=40)


def singly(lr: Any, weight_decay: float = 0.1) -> GaussCells:
    """Cells of one step each."""
    twice = jnp.stack([lr, lr])
    zero = jnp.zeros_like(twice)
    return GaussCells(twice, weight_decay * twice, jnp.ones_like(lr), zero, zero[0])


def gathered(rate: Any, edges: Any, weight_decay: float = 0.1) -> GaussCells:
    """Cells between edges, of a rate known at any step."""
    low, count = edges[:-1], np.diff(edges)
    reach = 0.5 / np.sqrt(3.0) * np.sqrt(np.maximum(count**2 - 1.0, 0.0))
    since = 0.5 * (count - 1.0) + np.stack([-reach, reach])
    lr = rate(low + since)
    rows = (lr, weight_decay * lr, count, since, since[1] - since[0])
    return GaussCells(*map(jnp.asarray, rows))


@settings(max_examples=30, deadline=None)
@given(ROWS)
@in_float64
def test_cells_of_one_step_are_the_steps(rates: list[float]) -> None:
    law, lr = get_schedule_law("norm_clock"), jnp.asarray(rates)
    every = law.history(FINAL, lr, facts=FACTS)
    pairs = singly(lr)
    whole = SingleSteps.of(lr, 0.1 * lr)
    # sinh(d)/d of one step is taken as 1: d²/6 of what a step adds, 7e-9 at most here
    np.testing.assert_allclose(
        pairs.squared_norms(jnp.float64(3e-3)),
        whole.squared_norms(jnp.float64(3e-3)).repeat(2, 0),
        rtol=1e-8,
    )
    seen = law.loss(law.published["25M"], replace(every, time_grid=pairs))
    np.testing.assert_allclose(seen, law.loss(law.published["25M"], every), rtol=1e-7)


@in_float64
def test_the_error_is_of_fourth_order() -> None:
    steps = 4096
    row = 1e-3 * (1.0 + 0.5 * np.cos(np.pi * np.arange(steps) / steps))
    law = get_schedule_law("norm_clock")
    # a memory as long as the run: what is left is the error of the cells, not of their grading
    params = law.published["25M"] | {"C": 1.0}
    every = law.history(FINAL, jnp.asarray(row), facts=FACTS)
    exact = float(law.loss(params, every)[0])

    def error(cells: int) -> float:
        edges = np.linspace(0.0, steps, cells + 1)
        pairs = gathered(lambda at: 1e-3 * (1.0 + 0.5 * np.cos(np.pi * at / steps)), edges)
        return abs(float(law.loss(params, replace(every, time_grid=pairs))[0]) - exact)

    coarse, fine = error(16), error(32)
    assert fine < coarse / 8.0, (coarse, fine)


@pytest.mark.parametrize("rates", [[0.0, 0.0, 0.0], [0.0, 1e-3, 0.0], [1e-3, 1e-3, 0.0]])
@in_float64
def test_gradients_are_finite_where_the_rate_is_zero(rates: list[float]) -> None:
    law = get_schedule_law("norm_clock")
    every = law.history(FINAL, jnp.asarray(rates), facts=FACTS)

    def loss(params: Any, lr: Any) -> Any:
        return law.loss(params, replace(every, time_grid=singly(lr)))[0]

    found = jax.grad(loss, argnums=(0, 1))(dict(law.published["25M"]), jnp.asarray(rates))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))


@settings(max_examples=30, deadline=None)
@given(ROWS)
@in_float64
def test_loops_and_rows_agree(values: list[float]) -> None:
    row = jnp.asarray(values)
    tiny = 1e-300  # subnormal numbers count as zero
    np.testing.assert_allclose(cumsum_sequential(row), np.cumsum(row), rtol=1e-12, atol=tiny)
    np.testing.assert_allclose(
        cumsum_sequential(row, reverse=True), np.cumsum(row[::-1])[::-1], rtol=1e-12, atol=tiny
    )
    factor = jnp.exp(-100.0 * row)
    for found, same in zip(
        affine_scan(factor, row), affine_scan_sequential(factor, row), strict=True
    ):
        np.testing.assert_allclose(found, same, rtol=1e-12, atol=tiny)
