"""Merged checkpoints and the decay they stand for."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from scaling_laws.common.errors import ScheduleError
from scaling_laws.models.schedules import (
    checkpoint_weights,
    decay_from_merge_weights,
    merge_weights_from_decay,
    schedule,
)

SCALE = 2**20  # fractions of a power of two: sums and differences are exact


@given(st.lists(st.integers(0, SCALE), min_size=1, max_size=20))
def test_round_trips_are_exact(cuts: list[int]) -> None:
    decay = np.array(sorted(cuts, reverse=True)) / SCALE
    weights = merge_weights_from_decay(decay)
    assert weights.shape == (len(cuts) + 1,)
    assert weights.min() >= 0.0 and weights.sum() == 1.0
    np.testing.assert_array_equal(decay_from_merge_weights(weights), decay)
    again = merge_weights_from_decay(decay_from_merge_weights(weights))
    np.testing.assert_array_equal(again, weights)


@given(st.lists(st.floats(0.0, 1.0), min_size=2, max_size=30).filter(lambda row: sum(row) > 0.01))
def test_round_trip_of_any_weights(row: list[float]) -> None:
    weights = np.array(row) / sum(row)
    decay = decay_from_merge_weights(weights)
    assert (np.diff(decay) <= 0).all() and decay.min() >= 0 and decay.max() <= 1
    np.testing.assert_allclose(merge_weights_from_decay(decay), weights, rtol=0, atol=1e-14)


def test_uniform_weights_are_linear_decay() -> None:
    decay = decay_from_merge_weights(np.full(11, 1 / 11))
    np.testing.assert_allclose(decay, np.linspace(1, 0, 12)[1:-1], rtol=1e-13)


def train(lr: NDArray[np.float64], gradients: NDArray[np.float64]) -> NDArray[np.float64]:
    """The weights after 0, 1, ..., len(lr) updates of plain SGD, from zero."""
    path = [np.zeros(gradients.shape[1])]
    for rate, gradient in zip(lr, gradients, strict=True):
        path.append(path[-1] - rate * gradient)
    return np.array(path)


@pytest.mark.parametrize("weights", [[1, 1, 1, 1], [0, 5, 0.5, 2], [0, 0, 1], [1, 0], [3]])
@pytest.mark.parametrize("every", [1, 7])
def test_merged_checkpoints_are_the_run_with_the_decayed_rate(
    weights: list[float], every: int
) -> None:
    steps, options = 40, "peak=0.3,steps=40,warmup=5"
    gradients = np.random.default_rng(7).normal(size=(steps, 6))
    constant = train(schedule(f"constant:{options}").lr, gradients)
    saved = [steps - every * back for back in reversed(range(len(weights)))]
    merged = np.average(constant[saved], axis=0, weights=weights)

    spec = f"wsm:{options},weights={'/'.join(map(str, weights))},every={every}"
    decayed = train(schedule(spec).lr, gradients)
    np.testing.assert_allclose(decayed[-1], merged, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("weights", [[1, 1, 1, 1], [0, 5, 0.5, 2], [2, 0, 0, 1]])
def test_weights_are_read_back_from_the_schedule(weights: list[float]) -> None:
    words = "/".join(map(str, weights))
    lr = schedule(f"wsm:peak=0.3,steps=40,warmup=5,weights={words},every=4").lr
    found = checkpoint_weights(lr, [28, 32, 36, 40])
    np.testing.assert_allclose(found, np.array(weights) / sum(weights), rtol=1e-12, atol=1e-15)


def test_multipliers_are_means_over_the_intervals() -> None:
    lr = schedule("wsd:peak=7e-4,steps=400,warmup=10,decay_fraction=0.25,decay=1-sqrt").lr
    saved = [300, 310, 350, 400]
    means = [lr[one:two].mean() / 7e-4 for one, two in pairwise(saved)]
    decay = decay_from_merge_weights(checkpoint_weights(lr, saved))
    np.testing.assert_allclose(decay, means, rtol=1e-12)


def test_nearest_of_all_merges() -> None:
    lr = schedule("cosine:peak=1,steps=60").lr
    saved = np.array([0, 20, 40, 60])
    best = decay_from_merge_weights(checkpoint_weights(lr, saved))

    def distance(decay: NDArray[np.float64]) -> float:
        return float(np.sum((np.repeat(decay, 20) - lr) ** 2))

    for change in np.random.default_rng(1).normal(scale=0.02, size=(50, 3)):
        assert distance(best + change) > distance(best)


@pytest.mark.parametrize("peak", [1.0, 3e-4, 0.1, 7e-4 / 3])
def test_constant_schedule_takes_the_last_checkpoint(peak: float) -> None:
    lr = schedule(f"constant:peak={peak!r},steps=100,warmup=10").lr
    found = checkpoint_weights(lr, [10, 17, 50, 83, 100])
    np.testing.assert_allclose(found, [0, 0, 0, 0, 1], atol=1e-14)
    assert found.min() >= 0.0


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([], "the array is empty"),
        ([0.5, 0.4], "they sum to 0.9, not 1"),
        ([1.5, -0.5], "-0.5 is negative"),
        ([np.nan, 1.0], "nan is not finite"),
        ([[1.0]], r"got shape \(1, 1\)"),
    ],
)
def test_bad_merge_weights(weights: list[float], message: str) -> None:
    with pytest.raises(ScheduleError, match=message):
        decay_from_merge_weights(weights)


@pytest.mark.parametrize(
    ("decay", "message"),
    [
        ([1.0, 1.1], "w_2 = 1.1 is not in"),
        ([0.5, -0.1], "w_2 = -0.1 is not in"),
        ([0.5, 0.4, 0.45], "w_3 = 0.45 is above w_2 = 0.4"),
        ([np.inf], "inf is not finite"),
        (0.5, r"got shape \(\)"),
    ],
)
def test_bad_decays(decay: list[float], message: str) -> None:
    with pytest.raises(ScheduleError, match=message):
        merge_weights_from_decay(decay)


def test_no_decay_is_the_one_checkpoint() -> None:
    assert merge_weights_from_decay([]).tolist() == [1.0]
    assert decay_from_merge_weights([1.0]).tolist() == []


@pytest.mark.parametrize(
    ("lr", "checkpoints", "message"),
    [
        ([1, 1, 0.5, 0.2], [2], "two or more increasing whole numbers"),
        ([1, 1, 0.5, 0.2], [2, 2, 4], "2/2/4 must be .* increasing"),
        ([1, 1, 0.5, 0.2], [1.5, 4], "two or more increasing whole numbers"),
        ([1, 1, 0.5, 0.2], [2, 3], "to 4, where the schedule ends"),
        ([1, 1, 0.5, 0.2], [2, 5], "to 4, where the schedule ends"),
        ([1, 1, 0.5, 0.2], [-1, 4], "from 0 or later"),
        ([1, 1, 0.5, 0.2], [3, 4], "at the first checkpoint, 3, it is not at its peak 1"),
        ([1, 0.5, 1, 0.2], [3, 4], "or it fell before"),
        ([0.5, 0.7, 1, 0.2], [2, 4], "at the first checkpoint, 2, it is not at its peak 1"),
        ([1, 1, 0.2, 0.5], [2, 4], "rises at step 3, after the first checkpoint, 2"),
        ([0, 0], [0, 2], "one above 0"),
        ([], [0, 2], "one learning rate"),
        ([1, -1], [0, 2], "one learning rate"),
    ],
)
def test_schedules_that_no_merge_imitates(
    lr: list[float], checkpoints: list[float], message: str
) -> None:
    with pytest.raises(ScheduleError, match=message):
        checkpoint_weights(lr, checkpoints)
