"""Schedules from gradient-norm traces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling_laws.common.errors import DataError, ScalingLawsError, ScheduleError
from scaling_laws.models.schedules import refine, schedule


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return tmp_path / "norms.csv"


def by_hand(norms: list[float], power: float, peak: float) -> list[float]:
    """The equation, word for word."""
    weights = [norm**-power for norm in norms]
    rates = [weight * sum(weights[place + 1 :]) for place, weight in enumerate(weights)]
    return [peak * rate / max(rates) for rate in rates]


@given(
    st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=40),
    st.sampled_from([0.5, 1.0, 2.0]),
    st.floats(1e-6, 10.0),
)
def test_equation(norms: list[float], power: float, peak: float) -> None:
    rates = refine(norms, peak=peak, norm_power=power, smoothing=0)
    np.testing.assert_allclose(rates, by_hand(norms, power, peak), rtol=1e-11)
    assert rates.max() == pytest.approx(peak, rel=1e-15)
    assert rates[-1] == 0.0


@pytest.mark.parametrize("power", [1.0, 2.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("norm", [1e-200, 0.3, 1e200])
def test_constant_norms_give_linear_decay(norm: float, smoothing: float, power: float) -> None:
    rates = refine(np.full(101, norm), peak=3e-4, norm_power=power, smoothing=smoothing)
    np.testing.assert_allclose(rates, np.linspace(3e-4, 0.0, 101), rtol=1e-13, atol=1e-19)


def test_smaller_norms_raise_the_rate() -> None:
    # G from 4 down to 1: the rate goes with log(G)/G, which is largest at G = e
    falling = refine(np.linspace(4.0, 1.0, 3001), smoothing=0)
    assert np.argmax(falling) == pytest.approx((4 - np.e) * 1000, abs=5)
    halves = refine(np.repeat([2.0, 1.0], 200), smoothing=0)
    assert halves[100] / halves[200] == pytest.approx(0.5 * (0.5 * 99 + 200) / 199, rel=1e-13)


def test_median_ignores_short_spikes() -> None:
    norms = np.ones(200)
    norms[[0, 50, 51, 120, 199]] = 30.0
    np.testing.assert_array_equal(refine(norms), refine(np.ones(200)))
    assert not np.allclose(refine(norms, smoothing=0), refine(np.ones(200)))


@pytest.mark.parametrize(
    ("norms", "options", "message"),
    [
        ([1.0], {}, "two or more norms"),
        ([[1.0, 2.0]], {}, "two or more norms"),
        ([1.0, 0.0], {}, "gradient norm 0 at step 1"),
        ([np.nan, 1.0], {}, "gradient norm nan at step 0"),
        ([1.0, np.inf], {}, "gradient norm inf at step 1"),
        ([1.0, 1.0], {"smoothing": 1.0}, "smoothing=1"),
        ([1.0, 1.0], {"norm_power": 0.0}, "norm_power=0"),
        ([1.0, 1.0], {"peak": np.nan}, "peak=nan"),
        ([1e-200, 1e200], {"norm_power": 2.0, "smoothing": 0}, "increase smoothing"),
    ],
)
def test_refine_refuses(norms: list[float], options: dict[str, float], message: str) -> None:
    with pytest.raises(ScheduleError, match=message):
        refine(norms, **options)


def test_trace_is_drawn_through_its_rows(trace: Path) -> None:
    trace.write_text("grad_norm,loss,step\n2,5,1\n4,5,3\n1,5,6\n")
    plan = schedule(f"refined:peak=0.5,steps=9,smoothing=0,trace={trace},norm_power=2")
    np.testing.assert_allclose(plan.lr, by_hand([2, 2, 3, 4, 3, 2, 1, 1, 1], 2.0, 0.5), rtol=1e-14)


def test_warm_up_rises_to_the_first_refined_rate(trace: Path) -> None:
    norms = [9.0, 9.0, 9.0, 9.0, 3.0, 2.0, 1.0, 1.0, 1.0, 1.0]
    trace.write_text("step,grad_norm\n" + "".join(f"{t},{g}\n" for t, g in enumerate(norms)))
    plan = schedule(f"refined:peak=1,steps=10,warmup=4,trace={trace},smoothing=0")
    after = by_hand(norms[4:], 1.0, 1.0)
    np.testing.assert_allclose(plan.lr[4:], after, rtol=1e-14)
    np.testing.assert_allclose(plan.lr[:4], np.linspace(0.0, after[0], 4), rtol=1e-14)
    assert plan.peak_lr == 1.0 > after[0]


def test_path_starts_from_the_base_folder(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "norms.csv").write_text("step,grad_norm\n0,1\n")
    plan = schedule("refined:trace=sub/norms.csv,peak=1,steps=5", base=tmp_path)
    assert plan.lr.tolist() == [1.0, 0.75, 0.5, 0.25, 0.0]


@pytest.mark.parametrize(
    ("text", "options", "error", "message"),
    [
        ("step,norm\n0,1\n", "", DataError, "row 1: no column 'grad_norm'"),
        ("step,grad_norm\n0,1\n\n5,0\n", "", DataError, "row 4, column 'grad_norm': 0 is not > 0"),
        ("step,grad_norm\n0,-2\n", "", DataError, "row 2, column 'grad_norm': -2 is not > 0"),
        ("step,grad_norm\n0,nan\n", "", DataError, "column 'grad_norm': 'nan' is not finite"),
        ("step,grad_norm\n0,1\n0,1\n", "", DataError, "row 3, column 'step': 0 does not increase"),
        ("step,grad_norm\n0,1\n9,1\n12,1\n", "", DataError, "row 3, column 'step': 9 is beyond"),
        ("step,grad_norm\n0,1\n", ",warmup=8", ScheduleError, "leaves one step of steps=9"),
        ("step,grad_norm\n0,1\n", ",warmup=9", ScheduleError, "leaves no step of steps=9"),
    ],
)
def test_bad_traces(
    trace: Path, text: str, options: str, error: type[ScalingLawsError], message: str
) -> None:
    trace.write_text(text)
    with pytest.raises(error) as caught:
        schedule(f"refined:peak=1,steps=9,trace={trace}{options}")
    assert message in str(caught.value)
    assert str(trace) in str(caught.value)
