"""The few events of a point represent all events before it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling_laws.models.numerics.compression.discrete_gauss import changes
from scaling_laws.models.numerics.compression.tree import compress_history
from scaling_laws.models.schedules import schedule
from tests.helpers import SCHEDULES

LONG = "cosine:peak=3e-4,end=3e-5,steps=24000,warmup=2160"


@pytest.mark.parametrize("name", SCHEDULES)
def test_each_point_keeps_the_total_and_the_centre_of_its_past(name: str) -> None:
    lr = SCHEDULES[name]
    points = np.unique(np.r_[np.arange(25, len(lr), 60), len(lr) - 1])
    change = changes(lr)
    compressed = compress_history(change, lr, points, nodes=3)
    for place, point in enumerate(points):
        mine = compressed.point == place
        assert (compressed.position[mine] <= point).all()
        for power in (0, 1, 2):
            expected = np.sum(change[: point + 1] * np.arange(point + 1.0) ** power)
            found = np.sum(compressed.weight[mine] * compressed.position[mine] ** power)
            assert found == pytest.approx(expected, rel=1e-9, abs=1e-12 * point**power)


def test_few_events_stand_for_many() -> None:
    lr = schedule(LONG).lr
    points = np.arange(127, len(lr), 128)
    for per_step in (changes(lr), lr**2):
        held = np.bincount(compress_history(per_step, lr, points, nodes=3).point)
        assert held.max() < 200  # of 24,000


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(sorted(SCHEDULES)),
    beta=st.floats(0.05, 3.0),
    gamma=st.floats(0.0, 1.5),
    log_speed=st.floats(-10.0, 3.0),
)
def test_sums_against_a_kernel_equal_the_dense_ones(
    name: str, beta: float, gamma: float, log_speed: float
) -> None:
    """To 5e-5 of the peak: half the smallest gain of any schedule that we would call a gain."""
    lr = SCHEDULES[name] / SCHEDULES[name].max()
    points = np.unique(np.r_[np.arange(30, len(lr), 7), len(lr) - 1])
    clock, change = np.cumsum(lr), changes(lr)

    def kernel(distance: np.ndarray, level: np.ndarray) -> np.ndarray:
        speed = np.exp(log_speed) * np.maximum(level, 1e-6) ** -gamma
        return np.asarray(1.0 - (1.0 + speed * np.maximum(distance, 0.0)) ** -beta)

    compressed = compress_history(change, lr, points, nodes=3)
    every = np.arange(len(lr))
    level = np.interp(compressed.position, every, lr)
    distance = (
        clock[points[compressed.point]] - np.interp(compressed.position, every, clock) + level
    )
    near = np.bincount(compressed.point, compressed.weight * kernel(distance, level), len(points))
    dense = [
        np.sum(change[: p + 1] * kernel(clock[p] - clock[: p + 1] + lr[: p + 1], lr[: p + 1]))
        for p in points
    ]
    np.testing.assert_allclose(near, dense, rtol=0, atol=5e-5)


def test_abrupt_drops_stay_where_they_are() -> None:
    lr = SCHEDULES["two drops"]
    compressed = compress_history(changes(lr), lr, np.array([150, 250, 289]), nodes=3)
    assert compressed.point.tolist() == [0, 1, 1, 2, 2]
    np.testing.assert_array_equal(compressed.position, [100, 100, 200, 100, 200])
    np.testing.assert_allclose(compressed.weight, [9e-4, 9e-4, 9e-5, 9e-4, 9e-5])


def test_no_stretch_reaches_across_a_cut() -> None:
    lr = schedule(LONG).lr
    compressed = compress_history(lr**2, lr, np.array([23_000]), nodes=3, cuts=[12_345])
    early = compressed.position < 12_345
    assert compressed.weight[early].sum() == pytest.approx(np.sum(lr[:12_345] ** 2), rel=1e-12)


def test_constant_schedule_has_no_events() -> None:
    compressed = compress_history(np.zeros(50), np.ones(50), np.array([10, 49]), nodes=3)
    assert compressed.point.size == compressed.position.size == compressed.weight.size == 0
