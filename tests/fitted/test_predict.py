"""Predictions: conventions, intervals, refusals."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from scaling_laws.common.errors import LawError, ScheduleError
from scaling_laws.inference.results import CurveFit, Range, Uncertainty, final_losses, predict
from scaling_laws.inference.results.ranges import fastest_fall
from scaling_laws.inference.results.uncertainty import VarianceInputs, interval_around
from scaling_laws.models.laws import get_law
from scaling_laws.models.schedules import Schedule, schedule

POWER = {"L0": 2.0, "A": 0.5, "alpha": 0.5}
SPEC = "linear:peak=1e-3,steps=100"


def test_a_loss_at_step_s_has_seen_updates_0_to_s() -> None:
    plan = schedule(SPEC)
    losses = CurveFit.of("power", POWER).predict(plan)
    expected = 2.0 + 0.5 * np.array([plan.lr[: step + 1].sum() for step in range(100)]) ** -0.5
    np.testing.assert_allclose(losses, expected, rtol=1e-13)


def test_behaves_as_its_losses() -> None:
    prediction = CurveFit.of("power", POWER).predict(SPEC, [0, 50, 99])
    assert len(prediction) == 3 and prediction.steps.tolist() == [0, 50, 99]
    assert list(prediction) == np.asarray(prediction).tolist() == prediction.loss.tolist()
    assert prediction[-1] == prediction.final_loss
    assert prediction.loss.dtype == np.float64


def test_predicting_changes_no_jax_setting() -> None:
    predict(CurveFit.of("power", POWER), SPEC)
    assert not jax.config.jax_enable_x64


@pytest.mark.parametrize("value", [0.1, 3.0])
def test_the_interval_of_a_negative_value_is_mirrored(value: float) -> None:
    error = Uncertainty.plain("leave_rows_out", 0.2, 3)
    low, high = interval_around(np.array([value, -value]), error, 0.9)
    assert low[1] == pytest.approx(-high[0]) and high[1] == pytest.approx(-low[0])
    assert high[0] - value > 1.2 * (value - low[0]) > 0  # wider away from zero


def test_the_end_of_a_run_has_a_width_of_its_own() -> None:
    error = Uncertainty("leave_one_run_out", 0.01, 3, 0.01, 0.0, 2.0, 3.0, 6.0)
    prediction = CurveFit(get_law("power"), POWER, error).predict(SPEC, [10, 99])
    expected = np.exp([2.0 * 0.01, 3.0 * 0.01])
    np.testing.assert_allclose(prediction.interval(0.9)[1] / prediction.loss, expected, rtol=1e-9)


def test_a_rate_has_decayed_from_the_highest_one_before_it() -> None:
    lr = np.array([0.0, 1.0, 2.0, 1.0, 0.5, 4.0, 1.0])
    inputs = VarianceInputs.of(lr, np.array([1, 2, 3, 4, 5, 6]))
    np.testing.assert_allclose(inputs.decayed_fraction, [0.0, 0.0, 0.5, 0.75, 0.0, 0.75])


def test_interval_holds_the_loss_and_widens_with_the_level() -> None:
    law = CurveFit(get_law("power"), POWER, Uncertainty.plain("leave_one_run_out", 0.01, 3))
    prediction = law.predict(SPEC, [10, 99])
    low, high = prediction.interval(0.9)
    # Student t with 3 degrees of freedom: 2.3534 at 95 %
    np.testing.assert_allclose(high / prediction.loss, np.exp(2.3533634 * 0.01), rtol=1e-6)
    np.testing.assert_allclose(low * high, prediction.loss**2, rtol=1e-12)
    assert (prediction.interval(0.99)[1] > high).all()
    for level in (0.0, 1.0, 90):
        with pytest.raises(LawError, match=r"between 0 and 1, e\.g\. 0\.9"):
            prediction.interval(level)


def test_given_parameters_have_no_interval() -> None:
    with pytest.raises(LawError, match="given, not fitted"):
        CurveFit.of("power", POWER).predict(SPEC).interval()


@pytest.mark.parametrize(
    ("steps", "words"),
    [([100], "step 100 is not in 0..99"), ([-1], "step -1"), ([], "non-empty")],
)
def test_steps_outside_the_schedule(steps: list[int], words: str) -> None:
    with pytest.raises(ScheduleError, match=words):
        CurveFit.of("power", POWER).predict(SPEC, steps)


def test_summary_says_what_matters() -> None:
    text = CurveFit.of("power", POWER).summary()
    assert "given, not fitted" in text
    for name in POWER:
        assert f"  {name}" in text


def test_params_cannot_be_changed() -> None:
    law = CurveFit.of("power", POWER)
    with pytest.raises(TypeError):
        law.params["L0"] = 3.0  # type: ignore[index]


def test_a_schedule_of_zeros_is_refused() -> None:
    with pytest.raises(ScheduleError, match="every learning rate is 0"):
        CurveFit.of("power", POWER).predict(Schedule("zeros", np.zeros(5)))


def test_final_losses_of_many_schedules() -> None:
    law = CurveFit.published("multi_power", "25M")
    plans = [schedule(f"cosine:peak={peak},steps=400,warmup=20") for peak in (1e-4, 2e-4, 3e-4)]
    lr = np.stack([plan.lr for plan in plans] * 9)  # more than one batch, the last one short
    found = final_losses(law, lr)
    expected = [law.predict(plan).final_loss for plan in plans] * 9
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    single = final_losses(law, lr, dtype=np.float32)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, rtol=2e-5)


@pytest.mark.parametrize(
    ("lr", "words"),
    [
        (np.ones(5), r"lr has shape \(5,\); it must be \(schedules, steps\)"),
        (np.array([[1.0, 1.0], [0.0, 0.0]]), "schedule 1: rates must be finite, >= 0 and not all"),
        (np.array([[1.0, np.nan]]), "schedule 0: rates must be finite"),
        (np.array([[1.0, -1.0]]), "schedule 0: rates must be finite"),
    ],
)
def test_final_losses_refuse_bad_rates(lr: np.ndarray, words: str) -> None:
    with pytest.raises(ScheduleError, match=words):
        final_losses(CurveFit.published("multi_power", "25M"), lr)


@pytest.mark.parametrize(
    ("spec", "fall"),
    [
        ("constant:peak=1e-3,steps=50", None),
        ("multistage:peak=1e-3,at=20,to=4e-4,steps=50", 1),
        ("multistage:peak=1e-3,at=20,to=6e-4,steps=50", None),
        ("linear:peak=1e-3,steps=1000", 500),
    ],
)
def test_the_speed_of_a_decay(spec: str, fall: int | None) -> None:
    assert fastest_fall(schedule(spec).lr) == fall


def test_falling_faster_than_the_fitted_runs_is_said() -> None:
    covered = Range((1e-3, 1e-3), 2000, 0.0, fastest_fall=500)
    sudden = schedule("multistage:peak=1e-3,at=800,to=1e-5,steps=1000")
    assert any(
        "within 1 step, the fitted runs take at least 500" in note
        for note in covered.departures(sudden)
    )
    assert not covered.departures(schedule("linear:peak=1e-3,steps=1000"))
