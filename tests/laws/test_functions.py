"""What some laws bring along beside their formula."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling_laws.common.errors import LawError
from scaling_laws.models.laws.collapse_noise import transfer_loss
from scaling_laws.models.laws.convex_bound import bound, optimal_base_lr
from scaling_laws.models.laws.exponential_forecast import denoise

STEPS = 4000
LATE = np.clip((np.arange(1, STEPS + 1) - 0.8 * STEPS) / (0.2 * STEPS), 0.0, 1.0)
SHAPES = {
    "constant": np.ones(STEPS),
    "linear": 1.0 - np.arange(STEPS) / STEPS,
    "cosine": 0.5 * (1.0 + np.cos(np.pi * np.arange(STEPS) / STEPS)),
    "wsd linear 20 %": 1.0 - LATE,
    "wsd 1-sqrt 20 %": 1.0 - np.sqrt(LATE),
}


def as_printed(lr: np.ndarray, norms: np.ndarray) -> float:
    """The bound of arXiv 2501.18965 with its sums inside sums, D = 1."""
    squares = lr**2 * norms**2
    total = 1.0 / (2.0 * lr.sum()) + squares.sum() / (2.0 * lr.sum())
    for k in range(len(lr) - 1):
        total += 0.5 * lr[k] / lr[k + 1 :].sum() * squares[k:].sum() / lr[k:].sum()
    return float(total)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(1e-3, 1.0), st.floats(0.1, 3.0)), min_size=1, max_size=30),
)
def test_bound_by_parts_is_the_bound_as_printed(steps: list[tuple[float, float]]) -> None:
    lr, norms = np.array(steps).T
    assert bound(lr, norms) == pytest.approx(as_printed(lr, norms), rel=1e-9)
    assert bound(np.append(lr, [0.0, 0.0]), np.append(norms, [1.0, 1.0])) == bound(lr, norms)


@pytest.mark.parametrize(
    ("name", "base", "value"),
    # √T·γ* and √T·Ω* at T = 4000, G = D = 1, from the definitions of fabian-sp/lr-scheduling
    [
        ("constant", 0.318, 3.142),
        ("linear", 0.999, 2.002),
        ("cosine", 0.970, 2.061),
        ("wsd linear 20 %", 0.513, 2.164),
        ("wsd 1-sqrt 20 %", 0.542, 2.129),
    ],
)
def test_optimal_base_lr_of_common_shapes(name: str, base: float, value: float) -> None:
    found, lowest = optimal_base_lr(SHAPES[name])
    # which step of a cooldown is the first moves the third digit by one
    assert found * STEPS**0.5 == pytest.approx(base, abs=1.1e-3)
    assert lowest * STEPS**0.5 == pytest.approx(value, abs=1.1e-3)
    assert bound(found * SHAPES[name]) == pytest.approx(lowest, rel=1e-12)
    for factor in (0.9, 1.1):
        assert bound(factor * found * SHAPES[name]) > lowest


def test_bound_scales_with_distance_and_gradient() -> None:
    lr = SHAPES["cosine"]
    base, lowest = optimal_base_lr(lr, 2.0, 3.0)
    plain, value = optimal_base_lr(lr)
    assert base == pytest.approx(1.5 * plain) and lowest == pytest.approx(6.0 * value)


@pytest.mark.parametrize("lr", [[0.0, 0.0], [1.0, -1.0], [np.nan], [[1.0]]])
def test_bound_refuses_what_is_no_schedule(lr: list[float]) -> None:
    with pytest.raises(LawError, match=r"lr must be a 1-D array|every learning rate is 0"):
        bound(lr)


def test_denoise_follows_the_curve_and_drops_outliers() -> None:
    steps = np.arange(0, 2000, 10)
    truth = 3.0 + 2.0 * np.exp(-steps / 400.0)
    noise = 0.02 * np.random.default_rng(0).standard_normal(len(steps))
    observed = truth + noise
    observed[30] += 1.5  # a spike in the first half
    smooth = denoise(steps, observed)
    assert np.abs(smooth - truth)[5:-5].max() < 0.03
    assert np.std(smooth - truth) < 0.5 * np.std(noise)
    with pytest.raises(LawError, match="at least 8 points"):
        denoise([1, 2], [3.0, 3.0])
    with pytest.raises(LawError, match="steps must increase"):
        denoise(np.zeros(9), np.ones(9))


def test_transfer_moves_the_reference_by_the_noise() -> None:
    found = transfer_loss([3.0, 2.9], [1.0, 1.0], [0.5, 0.0], [0.2, 0.1])
    np.testing.assert_allclose(found, [3.0 - 0.21 * 0.5 * 0.2, 2.9 - 0.21 * 0.1])
    with pytest.raises(LawError, match="rows must be of one length"):
        transfer_loss([3.0], [1.0, 1.0], [0.5], [0.2])
