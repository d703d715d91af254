"""What must hold of the norm clock on physical grounds, and the laws it contains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling_laws import CurveFit, fit, load_runs
from scaling_laws.common.errors import DataError, LawError
from scaling_laws.inference import predict
from scaling_laws.models.laws import get_schedule_law
from scaling_laws.models.schedules import schedule
from tests.helpers import SCHEDULES, draw_values

CLOCK = get_schedule_law("norm_clock")
MEASURED = get_schedule_law("norm_clock_measured")
VALUES = CLOCK.published["124M"]


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def losses(
    values: Mapping[str, float], lr: np.ndarray, decay: float, law: Any = CLOCK, **traces: Any
) -> np.ndarray:
    history = law.every_step(lr, facts={"weight_decay": decay}, traces=traces)
    return np.asarray(law.loss(dict(values), history))[: len(lr)]


def final(values: Mapping[str, float], lr: Any, decay: Any) -> Any:
    return CLOCK.loss(values, CLOCK.last_step(lr, facts={"weight_decay": decay}))[0]


def test_zero_rate_freezes_the_loss() -> None:
    lr = np.concatenate([SCHEDULES["linear to zero"], np.zeros(200)])
    loss = losses(VALUES, lr, 0.1)
    np.testing.assert_allclose(loss[257:], loss[257], rtol=0, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(
    rates=st.lists(st.floats(0.0, 5e-3), min_size=64, max_size=64),
    decay=st.floats(0.0, 1.0),
    seed=st.integers(0, 100),
)
def test_no_schedule_goes_below_the_floor(rates: list[float], decay: float, seed: int) -> None:
    values = draw_values(CLOCK, seed, 1.0) | {"early": 0.0}
    lr = np.array([1e-4, *rates[1:]])
    assert (losses(values, lr, decay) >= values["L0"] - 1e-9).all()


def test_constant_rate_and_norm_give_the_power_law() -> None:
    """What a constant rate keeps up is remembered fully in the long run; the rest is a power.

    Without the terms in the data seen, which are a power of the steps then.
    """
    lr, norm = np.full(400, 3e-4), np.full(400, 30.0)
    plain = {"early": 0.0, "gain_progress": 0.0, "data": 0.0, "gain_growth": 0.0}
    values = draw_values(MEASURED, 3, 1.0) | plain
    loss = losses(values, lr, 0.0, MEASURED, param_norm=norm)
    rate = 0.3 / np.sqrt(values["norm_scale"] * 900.0)
    clock = 1e-3 * rate ** values["clock_exponent"] * np.arange(1.0, 401.0)
    kept = 1.0 - (1.0 + values["C"] * clock) ** -values["beta"]
    level = values["B"] * rate ** values["gain_exponent"] * kept
    expected = values["L0"] + values["A"] * clock ** -values["alpha"] + level
    np.testing.assert_allclose(loss, expected, rtol=1e-10)


@pytest.mark.parametrize("name", ["cosine", "wsd", "two drops", "drop to zero"])
def test_contains_the_multi_power_law_without_its_level_exponent(name: str) -> None:
    """Norm fixed, both exponents 1, what else it has at 0: arXiv 2503.12811 with gamma 0.

    Their sum begins at the second step, ours at the first: the same where step 0 has no rate.
    """
    lr = np.concatenate([[0.0], SCHEDULES[name]])
    power = {"L0": 2.5, "A": 0.6, "B": 400.0, "alpha": 0.45, "C": 40.0, "beta": 0.6}
    own = {
        **power,
        "B": power["B"] * 1e-3,  # a gain of 1 is an LR of 1e-3
        "norm_scale": 1.0,
        "clock_exponent": 1.0,
        "gain_exponent": 1.0,
        "gain_progress": 0.0,
        "early": 0.0,
        "data": 0.0,
        "gain_growth": 0.0,
    }
    law = get_schedule_law("multi_power")
    theirs = np.asarray(law.loss({**power, "gamma": 0.0}, law.every_step(lr)))[: len(lr)]
    ours = losses(own, lr, 0.0, MEASURED, param_norm=np.ones(len(lr)))
    trained = np.cumsum(lr) > 0  # before that a floor under the clock decides
    np.testing.assert_allclose(ours[trained], theirs[trained], rtol=1e-8)


def test_at_a_constant_rate_the_data_term_is_a_power_of_the_steps() -> None:
    lr, norm = np.full(400, 3e-4), np.full(400, 30.0)
    values = draw_values(MEASURED, 3, 1.0) | {"gain_progress": 0.0}
    with_term, without = (
        losses({**values, "data": data}, lr, 0.0, MEASURED, param_norm=norm) for data in (0.1, 0.0)
    )
    rate = 0.3 / np.sqrt(values["norm_scale"] * 900.0)
    steps = 1e-4 * rate**0.25 * np.arange(1.0, 401.0)
    np.testing.assert_allclose(with_term - without, values["A"] * 0.1 * steps**-0.6, rtol=1e-9)


def test_weight_decay_to_zero_is_smooth() -> None:
    lr = jnp.asarray(SCHEDULES["cosine"] * 10)
    slope = jax.jit(jax.value_and_grad(lambda decay: final(VALUES, lr, decay)))
    at_zero, slope_at_zero = slope(jnp.float64(0.0))
    for decay in (1e-9, 1e-6, 1e-4):
        value, found = slope(jnp.float64(decay))
        assert value == pytest.approx(float(at_zero) + float(slope_at_zero) * decay, abs=1e-9)
        assert found == pytest.approx(float(slope_at_zero), rel=1e-2)
    assert np.isfinite(slope_at_zero) and slope_at_zero != 0


def test_gradient_in_weight_decay_equals_finite_difference() -> None:
    lr = jnp.asarray(schedule("cosine:peak=1e-3,steps=3000,warmup=100").lr)
    value = jax.jit(lambda decay: final(VALUES, lr, decay))
    found = jax.grad(value)(jnp.float64(0.3))
    numeric = (value(jnp.float64(0.3 + 1e-5)) - value(jnp.float64(0.3 - 1e-5))) / 2e-5
    assert found == pytest.approx(float(numeric), rel=1e-5)


def test_a_schedule_of_weight_decay_is_a_trace() -> None:
    lr = schedule("wsd:peak=1e-3,steps=3000,warmup=100,decay_fraction=0.2").lr
    plain = losses(VALUES, lr, 0.1)
    same = losses(VALUES, lr, 0.7, weight_decay=np.full(len(lr), 0.1))
    np.testing.assert_array_equal(same, plain)
    falling = losses(VALUES, lr, 0.1, weight_decay=np.linspace(0.2, 0.0, len(lr)))
    assert np.abs(falling - plain).max() > 1e-3
    points = CLOCK.chosen_steps(
        lr,
        np.array([500, 2999]),
        facts={"weight_decay": 0.1},
        traces={"weight_decay": np.linspace(0.2, 0.0, len(lr))},
    )
    near = jax.vmap(lambda history: CLOCK.loss(dict(VALUES), history))(points)
    np.testing.assert_allclose(near[0], falling[[500, 2999]], atol=2e-5)


def test_predicts_under_a_schedule_of_weight_decay() -> None:
    law = CurveFit.published("norm_clock", "124M")
    plan = "wsd:peak=1e-3,steps=2000,warmup=100,decay_fraction=0.2"
    known = predict(law, plan, facts={"weight_decay": 0.1})
    traced = predict(law, plan, traces={"weight_decay": np.full(2000, 0.1)})
    np.testing.assert_allclose(traced.loss, known.loss, rtol=1e-12)
    off = predict(law, plan, traces={"weight_decay": np.zeros(2000)})
    np.testing.assert_allclose(off.loss, predict(law, plan, facts={"weight_decay": 0.0}).loss)
    with pytest.raises(LawError, match="weight_decay must be finite and >= 0"):
        predict(law, plan, traces={"weight_decay": np.full(2000, -0.1)})


def test_reads_a_logged_schedule_of_weight_decay(tmp_path: Path) -> None:
    rows = "\n".join(
        f"{step},{3.0 - step / 1e3},{max(0.0, 0.1 - step / 1e3)}" for step in range(200)
    )
    (tmp_path / "run.csv").write_text(f"step,loss,weight_decay\n{rows}\n")
    (tmp_path / "dataset.toml").write_text(
        '[runs.run]\nschedule = "constant:peak=1e-3,steps=200"\n'
    )
    run = load_runs(tmp_path)["run"]
    assert run.traces["weight_decay"][[0, 50, 150]] == pytest.approx([0.1, 0.05, 0.0])
    fitted = fit("norm_clock", [run], draws=0, hold_out=False, starts=1)
    assert fitted.law.name == "norm_clock"
    assert fitted.range is not None and "weight_decay" in fitted.range.facts  # type: ignore[union-attr]
    (tmp_path / "run.csv").write_text("step,loss,weight_decay\n0,3.0,0.1\n10,2.9,-0.1\n")
    with pytest.raises(DataError, match=r"-0\.1 is not >= 0"):
        load_runs(tmp_path)


def test_an_interior_peak_is_best_for_a_cosine() -> None:
    """The 124M curves end lowest near 1e-3; a law of summed LR would always ask for more."""
    peaks = np.geomspace(1e-4, 3e-2, 13)
    ends = [
        float(
            final(
                VALUES, schedule(f"cosine:peak={peak},end={peak / 10},steps=25000,warmup=500").lr,
                0.1,
            )
        )
        for peak in peaks
    ]  # fmt: skip
    best = int(np.argmin(ends))
    assert 0 < best < len(peaks) - 1
    assert 5e-4 <= peaks[best] <= 1e-2


def test_without_weight_decay_the_fallback_is_fitted_and_said(shared_data: Path) -> None:
    runs = load_runs(shared_data / "mpl_25m")
    chosen = [runs[name] for name in ("cosine_24000", "constant_24000", "wsdcon_9")]
    unknown = [replace(run, facts={}) for run in chosen]
    fitted = fit("norm_clock", unknown, hold_out=False, draws=0, starts=2)
    assert fitted.law.name == "norm_clock_free_decay"
    assert fitted.record is not None
    assert any("needs weight_decay" in warning for warning in fitted.record.warnings)
    assert 0.001 < fitted.params["weight_decay"] < 3.0
    known = fit("norm_clock", chosen, hold_out=False, draws=0, starts=2)
    assert known.law.name == "norm_clock"


def test_published_numbers_describe_the_public_curves(shared_data: Path) -> None:
    """To .0015 in log loss, root mean square, over schedules of three peaks."""
    law = CurveFit.published("norm_clock", "124M")
    square = []
    for peak in ("0.0001", "0.0005", "0.001"):
        runs = load_runs(shared_data / f"llama_124m_peak{peak}")
        for name in ("cosine_to10_25000", "wsd_linear_0.2_50000", "constant_50000"):
            run = runs[name]
            late = run.steps >= 1000
            found = predict(law, run.schedule, run.steps, facts=run.facts)
            square.append(np.mean(np.log(found.loss / run.loss)[late] ** 2))
    assert np.sqrt(np.mean(square)) < 1.5e-3


def test_a_prediction_needs_the_weight_decay() -> None:
    law = CurveFit.published("norm_clock", "124M")
    with pytest.raises(LawError, match="norm_clock needs weight_decay"):
        predict(law, "cosine:peak=1e-3,steps=2000")
    assert predict(law, "cosine:peak=1e-3,steps=2000", facts={"weight_decay": 0.1}).final_loss > 2
