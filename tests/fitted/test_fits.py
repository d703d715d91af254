"""What users of lmfit and statsmodels expect of a fit: statistics, residuals, frames, pictures."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scaling_laws.common import ExtrapolationWarning, LawError, ScheduleError, UsageError
from scaling_laws.data.runs import Run
from scaling_laws.decisions import optimize, plan, screen
from scaling_laws.inference.comparison import compare
from scaling_laws.inference.fitting import fit
from scaling_laws.inference.metrics import information_criteria
from scaling_laws.inference.results import (
    CurveFit,
    InputRange,
    PointFit,
    evaluate,
    from_params,
    load_law,
    published,
    require_curve_fit,
)
from scaling_laws.models.laws import get_law
from scaling_laws.models.schedules import schedule

TRUTH = CurveFit.of("linear_drop", {"L0": 2.0, "A": 0.5, "alpha": 0.5, "B": 150.0})
SPECS = {
    "constant": "constant:peak=1e-3,steps=400,warmup=20",
    "cosine": "cosine:peak=1e-3,end=1e-4,steps=400,warmup=20",
    "drop": "multistage:peak=1e-3,at=200,to=3e-4,steps=300,warmup=20",
}


def run_of(name: str, seed: int) -> Run:
    plan = schedule(SPECS[name])
    steps = np.arange(30, plan.steps, 10)
    noise = np.random.default_rng(seed).standard_normal(len(steps))
    return Run(name, plan, steps, TRUTH.predict(plan, steps).loss * np.exp(1e-3 * noise))


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    return [run_of(name, seed) for seed, name in enumerate(SPECS)]


@pytest.fixture(scope="module")
def fitted(runs: list[Run]) -> CurveFit:
    return fit("linear_drop", runs, starts=2, draws=20)


def test_residuals_are_those_of_the_fitted_points(fitted: CurveFit, runs: list[Run]) -> None:
    assert fitted.nobs == sum(len(run.steps) for run in runs) == len(fitted.resid)
    np.testing.assert_array_equal(fitted.observed, np.concatenate([run.loss for run in runs]))
    np.testing.assert_array_equal(fitted.resid, fitted.observed - fitted.fittedvalues)
    predicted = [fitted.predict(run.schedule, run.steps).loss for run in runs]
    np.testing.assert_allclose(fitted.fittedvalues, np.concatenate(predicted), rtol=1e-9)
    assert fitted.points is not None
    frame = fitted.points.to_frame()
    assert list(frame.columns) == ["run", "step", "observed", "fitted"]
    assert frame[frame.run == "drop"].step.tolist() == runs[2].steps.tolist()


def test_a_loaded_fit_says_how_to_get_its_points(
    fitted: CurveFit, runs: list[Run], tmp_path: Path
) -> None:
    again = CurveFit.load(fitted.save(tmp_path / "law.json"))
    for name in ("observed", "fittedvalues", "resid"):
        with pytest.raises(LawError, match=r"fit again, or call \.with_points\(data\)"):
            getattr(again, name)
    with pytest.raises(LawError, match="with_points"):
        again.plot()
    np.testing.assert_allclose(again.with_points(runs).resid, fitted.resid, rtol=1e-7, atol=1e-9)
    assert (again.aic, again.bic, again.nobs) == (fitted.aic, fitted.bic, fitted.nobs)


def test_criteria_are_those_of_a_comparison(fitted: CurveFit, runs: list[Run]) -> None:
    score = compare(["linear_drop"], runs, starts=2).laws["linear_drop"]
    assert fitted.aic == pytest.approx(score.aic, rel=1e-6)
    assert fitted.bic == pytest.approx(score.bic, rel=1e-6)
    errors = np.log(fitted.observed / fitted.fittedvalues)
    expected = information_criteria(float(np.sqrt(np.mean(errors**2))), 30.0, 4)
    assert (fitted.aic, fitted.bic) == pytest.approx(expected, rel=1e-9)
    with pytest.raises(LawError, match="need a fit"):
        _ = TRUTH.bic
    with pytest.raises(LawError, match="given, not fitted"):
        _ = TRUTH.nobs


def test_fixed_parameters_are_not_counted_and_have_no_error(runs: list[Run]) -> None:
    fixed = fit("linear_drop", runs, starts=1, draws=5, hold_out=False, fix={"alpha": 0.5})
    assert fixed.record is not None and fixed.record.log_error is not None
    assert fixed.aic == information_criteria(fixed.record.log_error, 30.0, 3)[0]
    assert np.isnan(fixed.bse["alpha"]) and fixed.bse["L0"] > 0
    assert fixed.conf_int().loc["alpha"].isna().all()
    frame = fixed.to_frame()
    assert frame.fixed.to_dict() == {"L0": False, "A": False, "alpha": True, "B": False}


def test_intervals_of_parameters(fitted: CurveFit) -> None:
    interval = fitted.conf_int(0.9)
    assert list(interval.columns) == ["lower", "upper"]
    assert list(interval.index) == list(fitted.law.names)
    for name, row in fitted.draws.items():
        assert interval.loc[name].tolist() == np.quantile(row, [0.05, 0.95]).tolist()
    wide = fitted.conf_int(0.99)
    for name, row in fitted.draws.items():
        assert wide.loc[name].tolist() == pytest.approx(np.quantile(row, [0.005, 0.995]).tolist())
    assert fitted.to_frame().value.to_dict() == dict(fitted.params)
    assert TRUTH.conf_int().isna().all(axis=None) and np.isnan(TRUTH.bse["A"])
    with pytest.raises(LawError, match="between 0 and 1"):
        fitted.conf_int(95)


def test_evaluation_is_the_same_as_a_method(fitted: CurveFit, runs: list[Run]) -> None:
    assert evaluate(fitted, runs).runs == fitted.evaluate(runs).runs
    with pytest.raises(UsageError, match="source is about tables; linear_drop takes runs"):
        evaluate(fitted, runs, source="x")  # type: ignore[call-overload]


def test_data_of_the_other_kind_are_refused(runs: list[Run]) -> None:
    with pytest.raises(LawError, match="fit it to runs, not to a table"):
        fit("power", {"loss": [1.0, 2.0]})
    with pytest.raises(LawError, match="fitted to a table with the columns model_params, tokens"):
        fit("chinchilla", runs)
    with pytest.raises(LawError, match="model_params, tokens, loss, not to runs"):
        fit("chinchilla", {run.name: run for run in runs})
    with pytest.raises(UsageError, match="prior is about fits to runs; chinchilla takes a table"):
        fit("chinchilla", {}, prior="none")  # type: ignore[call-overload]
    with pytest.raises(UsageError, match="source is about fits to tables; power takes runs"):
        fit("power", runs, source="a.csv")  # type: ignore[call-overload]
    with pytest.raises(UsageError, match="unknown run 'x'") as caught:
        fit("power", runs, weights={"x": 1.0})
    assert caught.value.value == "x"


@pytest.mark.parametrize("law", ["power", get_law("power"), None])
def test_a_law_is_not_a_fit(law: Any) -> None:
    frame: dict[str, Any] = {"steps": 400, "peak": 1e-3}
    calls = (
        lambda: optimize(law, **frame),
        lambda: screen(law, candidates=1024, **frame),
        lambda: plan(law, SPECS["cosine"]),
    )
    for call in calls:
        with pytest.raises(UsageError, match="pass a fitted law") as caught:
            call()
        assert caught.value.value is law


@pytest.mark.parametrize("schedule", [3, [1e-3, 1e-3], None])
def test_rates_are_not_a_schedule(fitted: CurveFit, schedule: Any) -> None:
    with pytest.raises(ScheduleError, match="pass a spec or Schedule") as caught:
        fitted.predict(schedule)
    assert caught.value.value is schedule


def test_leaving_the_fitted_range_warns(fitted: CurveFit) -> None:
    with pytest.warns(ExtrapolationWarning, match="peak LR 0.002 is outside") as caught:
        prediction = fitted.predict("constant:peak=2e-3,steps=400,warmup=20")
    assert any("peak LR" in note for note in prediction.notes)
    assert caught[0].filename == __file__  # points at the caller, not into the package
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fitted.predict(SPECS["cosine"]).notes == ()
    law = published("chinchilla", "hoffmann")
    assert isinstance(law, PointFit)
    known = replace(law, range=InputRange({"model_params": (1e8, 1e9), "tokens": (1e9, 1e11)}))
    with pytest.warns(ExtrapolationWarning, match="model_params 1e\\+12 is outside"):
        known.at(model_params=1e12, tokens=1e10)


def test_short_texts(fitted: CurveFit, runs: list[Run]) -> None:
    assert repr(fitted).startswith("CurveFit(linear_drop: L0=1.999, A=")
    assert repr(fitted).endswith("points of 3 runs)")
    prediction = fitted.predict(SPECS["cosine"])
    low, high = prediction.interval(0.9)
    assert f"{prediction.final_loss:.4f}" in repr(prediction)
    assert f"{low[-1]:.4f} to {high[-1]:.4f}" in repr(prediction)
    found = compare(["linear_drop", "power"], runs, starts=1)
    assert repr(found).startswith("Comparison(") and found.best in repr(found)
    point = published("chinchilla", "hoffmann").at(model_params=1e9, tokens=1e10)
    texts = [repr(point), repr(fitted.evaluate(runs)), repr(fitted.points)]
    frame: dict[str, Any] = {"steps": 400, "peak": 1e-3, "warmup": 20}
    best = optimize(fitted, **frame)
    screening = screen(fitted, candidates=1024, families=["linear"], **frame)
    planned = plan(fitted, SPECS["cosine"], runs=1)
    assert best.schedule.spec in repr(best) and f"{best.final_loss:.4f}" in repr(best)
    assert screening.best.spec in repr(screening) and SPECS["cosine"] in repr(planned)
    texts += [repr(best), repr(screening), repr(planned)]
    assert all(len(text) < 300 and "array(" not in text for text in texts)


def test_notebooks_show_escaped_tables(fitted: CurveFit, runs: list[Run]) -> None:
    assert fitted.record is not None
    doubts = replace(fitted.record, warnings=("1 < 2 & <script>",), runs={"<b>": {"n": 3.0}})
    shown = replace(fitted, record=doubts)._repr_html_()
    assert "<script>" not in shown and "1 &lt; 2 &amp; &lt;script&gt;" in shown
    assert "&lt;b&gt;" in shown
    assert all(f">{name}</td>" in shown for name in fitted.params)
    for value in (
        fitted.predict(SPECS["cosine"]),
        fitted.evaluate(runs),
        compare(["linear_drop", "power"], runs, starts=1),
        TRUTH,
        PointFit.published("chinchilla", "hoffmann").at(model_params=[1e9, 1e10], tokens=1e10),
    ):
        text = value._repr_html_()
        assert text.count("<table") == text.count("</table>") >= 1
        assert "background:white" not in text and "color:black" not in text


def test_frames_of_predictions(fitted: CurveFit) -> None:
    prediction = fitted.predict(SPECS["cosine"], [100, 399])
    frame = prediction.to_frame(0.8)
    low, high = prediction.interval(0.8)
    assert frame.index.tolist() == [100, 399]
    assert frame.loss.tolist() == prediction.loss.tolist()
    assert (frame.lower.tolist(), frame.upper.tolist()) == (low.tolist(), high.tolist())
    assert list(TRUTH.predict(SPECS["cosine"]).to_frame().columns) == ["lr", "loss"]
    points = PointFit.published("chinchilla", "hoffmann").at(model_params=[1e9, 1e10], tokens=1e10)
    assert points.to_frame().columns.tolist() == ["model_params", "tokens", "loss"]
    assert points.to_frame().loss.tolist() == points.value.tolist()


def test_pictures(fitted: CurveFit, tmp_path: Path) -> None:
    figure = fitted.plot()
    losses, residuals = figure.axes
    shown = np.concatenate([line.get_ydata() for line in losses.lines if line.get_marker() == "."])
    np.testing.assert_array_equal(shown, fitted.observed)
    assert residuals.get_xlabel() == "step"
    prediction = fitted.predict(SPECS["drop"])
    rates, losses = prediction.plot().axes
    np.testing.assert_array_equal(rates.lines[0].get_ydata(), prediction.schedule.lr)
    np.testing.assert_array_equal(losses.lines[0].get_ydata(), prediction.loss)
    (interval,) = losses.collections
    edges = interval.get_paths()[0].vertices[:, 0]
    assert edges.max() == prediction.steps[-1]
    # not at the first steps, whose losses are above the axis
    assert prediction.loss[int(edges.min())] <= losses.get_ylim()[1] < prediction.loss[0]
    figure.savefig(tmp_path / "fit.png")
    assert (tmp_path / "fit.png").stat().st_size > 1000


def test_the_kind_of_a_fit_is_that_of_its_law(tmp_path: Path) -> None:
    assert isinstance(from_params("power", {"L0": 1, "A": 1, "alpha": 1}), CurveFit)
    point = from_params("data_mixing", {name: 0.1 for name in ("c", "k", "t_web")})
    assert isinstance(point, PointFit) and "share_web" in point.law.input_names
    assert isinstance(load_law(point.save(tmp_path / "law.json")), PointFit)
    with pytest.raises(LawError, match=r"does not take a schedule; use PointFit and \.at\("):
        require_curve_fit(point)
    with pytest.raises(LawError, match="does not take a schedule"):
        CurveFit(get_law("chinchilla"), {})  # type: ignore[arg-type]
    with pytest.raises(LawError, match="does not take a schedule"):
        CurveFit.published("chinchilla", "hoffmann")
    with pytest.raises(LawError, match="predicts from a schedule"):
        PointFit.of("power", {"L0": 1, "A": 1, "alpha": 1})


def test_points_of_a_table() -> None:
    truth = PointFit.published("chinchilla", "hoffmann")
    sizes = np.repeat([1e8, 1e9, 1e10], 3)
    tokens = np.tile([1e9, 1e10, 1e11], 3)
    table = {"model_params": sizes, "tokens": tokens}
    table["loss"] = truth.at(**table).value * 1.01
    fitted = fit("chinchilla", table, starts=4, hold_out=False, source="a.csv")
    np.testing.assert_array_equal(fitted.observed, table["loss"])
    assert fitted.points is not None and set(fitted.points.run) == {"a.csv"}
    assert fitted.record is not None and fitted.record.effective_points == 9.0
    again = truth.with_points(table)
    np.testing.assert_allclose(again.resid, table["loss"] * (1 - 1 / 1.01), rtol=1e-12)
