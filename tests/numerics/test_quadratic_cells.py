"""Cells of three nodes represent the steps that they contain."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling_laws.models.numerics.grids.quadratic_cells import QuadraticCells
from scaling_laws.models.numerics.grids.single_steps import SingleSteps
from scaling_laws.models.schedules import schedule
from tests.helpers import SCHEDULES

LONG = "wsd:peak=1e-3,steps=50000,warmup=500,decay_fraction=0.2"


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("name", SCHEDULES)
def test_weights_sum_any_parabola_to_every_point(name: str) -> None:
    lr = SCHEDULES[name]
    points = np.unique(np.r_[0, 1, 2, np.arange(3, len(lr), 7), len(lr) - 1])
    table = QuadraticCells.of(lr, 0.1 * lr, points)
    position = _positions(table)
    for power in (0, 1, 2):
        by_node = position**power
        before = np.concatenate([[0.0], np.cumsum((table.weight * by_node).sum(axis=0))])
        within = (table.points.weight * by_node[:, table.points.cell]).sum(axis=0)
        expected = [np.sum(np.arange(point + 1.0) ** power) for point in points]
        np.testing.assert_allclose(before[table.points.cell] + within, expected, rtol=1e-9)


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 64, 65, 5000])
def test_sums_at_nodes_follow_any_parabola(steps: int) -> None:
    points = np.array([steps - 1])
    table = QuadraticCells.of(np.full(steps, 1e-3), np.full(steps, 1e-4), points)
    position = _positions(table) + 0.5
    found = table.cumulative_at_nodes(3.0 - position / steps)
    # what the steps before hold, and half of the node's own step
    expected = 3.0 * position - (position**2 + 0.25) / (2.0 * steps)
    # slopes at the ends of n steps are taken half a step inside: off by (n + 1)/8 of their change
    most = np.rint(table.weight.sum(axis=0)).max()
    within = 0.0 if most == 1 else (most + 1.0) / (8.0 * steps)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12 + within)
    single = SingleSteps.of(np.ones(steps), np.ones(steps))
    sums = single.cumulative_at_nodes(np.full((1, steps), 2.0))
    np.testing.assert_allclose(sums[0], 2.0 * np.arange(steps) + 1.0, rtol=1e-12)


def _positions(table: QuadraticCells) -> np.ndarray:
    """Steps of the nodes of every cell: (3, K)."""
    counts = np.rint(table.weight.sum(axis=0)).astype(int)
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    last = first + counts - 1
    return np.stack([first, (first + last) // 2, last]).astype(float)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1, 3.0])
@pytest.mark.parametrize("name", SCHEDULES)
def test_norms_at_nodes_are_those_of_the_step_by_step_recursion(
    name: str, weight_decay: float
) -> None:
    lr = SCHEDULES[name]
    n, expected = 3e-4, []
    for rate in lr:
        expected.append(n)
        d = rate * weight_decay
        push = rate**2 if d < 1e-9 else -rate / (2 * weight_decay) * np.expm1(-2 * d)
        n = n * np.exp(-2 * d) + push
    exact = np.asarray(SingleSteps.of(lr, weight_decay * lr).squared_norms(3e-4))[0]
    np.testing.assert_allclose(exact, expected, rtol=1e-10)
    table = QuadraticCells.of(lr, weight_decay * lr, np.array([len(lr) - 1]))
    gathered = np.asarray(table.squared_norms(3e-4))
    place = _positions(table).astype(int)
    np.testing.assert_allclose(gathered, np.array(expected)[place], rtol=1e-6)


def test_a_long_run_is_a_few_hundred_cells() -> None:
    lr = schedule(LONG).lr
    table = QuadraticCells.of(lr, 0.1 * lr, np.arange(999, 50000, 200))
    assert table.lr.shape[1] < 250
    assert table.weight.sum() == pytest.approx(50000)


def test_a_schedule_without_straight_pieces_has_its_bends_smoothed_over() -> None:
    generator = np.random.default_rng(0)
    lr = 1e-3 * generator.uniform(0.5, 1.0, 20000)
    table = QuadraticCells.of(lr, 0.1 * lr, np.array([19999]))
    assert table.lr.shape[1] <= 2048
    exact = np.asarray(SingleSteps.of(lr, 0.1 * lr).squared_norms(1e-3))[0, -1]
    assert np.asarray(table.squared_norms(1e-3))[-1, -1] == pytest.approx(exact, rel=1e-6)


@settings(max_examples=25, deadline=None)
@given(
    rates=st.lists(st.floats(0.0, 1e-2), min_size=1, max_size=60),
    weight_decay=st.floats(0.0, 10.0),
)
def test_the_norm_is_positive_and_pulled_towards_equilibrium(
    rates: list[float], weight_decay: float
) -> None:
    lr = np.array(rates)
    found = np.asarray(SingleSteps.of(lr, weight_decay * lr).squared_norms(1e-3))[0]
    assert np.isfinite(found).all() and (found > 0).all()
    if weight_decay > 0:  # never beyond the larger of the start and the highest equilibrium
        # times 2·weight_decay on both sides: the quotient overflows for the smallest decays
        twice = 2 * weight_decay
        assert found.max() * twice <= max(1e-3 * twice, lr.max()) * (1 + 1e-9)
