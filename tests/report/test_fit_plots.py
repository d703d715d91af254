"""Pictures of a fit: what their lines hold, what their labels say, that they are written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from scaling_laws.common.errors import LawError, UsageError
from scaling_laws.data.runs import Run
from scaling_laws.inference.fitting import Profile
from scaling_laws.inference.results import CurveFit, PointFit, Uncertainty
from scaling_laws.inference.results.prediction import predict_losses
from scaling_laws.interface.report.figures import drawn_steps, save_figure, style_of, ticks_between
from scaling_laws.interface.report.fit_plots import (
    contributions,
    plot_draws,
    plot_fit,
    plot_profiles,
    plot_terms,
)
from scaling_laws.interface.report.plots import plot_predictions
from scaling_laws.models.laws import Law, get_schedule_law, schedule_laws
from scaling_laws.models.schedules import schedule
from tests.helpers import FACTS, draw_values, traces_for

PARAMS = dict(CurveFit.published("multi_power", "25M").params)
SPECS = {
    "cosine": "cosine:peak=3e-4,end=3e-5,steps=900,warmup=50",
    "drop": "multistage:peak=3e-4,at=400,to=6e-5,steps=700,warmup=50",
}
UNCERTAINTY = Uncertainty("leave_one_run_out", 0.002, 2, 0.001, 0.003, 1.9, 2.3, 4.0)


def law_with_draws(**still: float) -> CurveFit:
    """multi_power with draws; parameters in `still` do not move."""
    generator = np.random.default_rng(0)
    draws = {
        name: value * np.exp(0.1 * generator.standard_normal(60)) for name, value in PARAMS.items()
    }
    return CurveFit(
        get_schedule_law("multi_power"),
        {**PARAMS, **still},
        UNCERTAINTY,
        draws={**draws, **{name: np.full(60, value) for name, value in still.items()}},
    )


def run_of(name: str, window: int = 1) -> Run:
    """A run whose losses are 1 % above the law's."""
    plan = schedule(SPECS[name])
    steps = np.arange(9, plan.steps, 10)
    bare = Run(name, plan, steps, np.ones(len(steps)), window=window)
    whole = CurveFit.of("multi_power", PARAMS).predict(plan).loss
    return Run(name, plan, steps, 1.01 * bare.averaged(whole), window=window)


def lines_of(axes: Any) -> dict[str, Any]:
    """Lines with a label of their own."""
    return {
        line.get_label(): line for line in axes.lines if not str(line.get_label()).startswith("_")
    }


def legend_of(where: Any) -> list[str]:
    return [text.get_text() for text in where.get_legend().get_texts()]


def check_written(figure: Figure, folder: Path) -> None:
    path = save_figure(figure, folder / "figure.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [each.name for each in folder.iterdir()] == ["figure.png"]


@pytest.mark.parametrize("window", [1, 30])
def test_fit_shows_rates_losses_and_residuals(window: int, tmp_path: Path) -> None:
    fitted = law_with_draws()
    runs = [run_of(name, window) for name in SPECS]
    figure = plot_fit(fitted, runs, 100, title="two runs")
    rates, losses, residuals = figure.axes
    for line, run in zip(rates.lines, runs, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), run.schedule.lr[line.get_xdata()])
        assert line.get_xdata()[0] == 0 and line.get_xdata()[-1] == run.steps[-1]
    found = lines_of(losses)
    assert list(found) == legend_of(losses) == list(SPECS)
    dots = [line for line in losses.lines if line.get_marker() == "."]
    for place, run in enumerate(runs):
        prediction = fitted.predict(run.schedule)
        steps = found[run.name].get_xdata()
        assert steps[0] == run.from_step(100).steps[0] and steps[-1] == run.steps[-1]
        np.testing.assert_array_equal(found[run.name].get_ydata(), prediction.loss[steps])
        np.testing.assert_array_equal(dots[place].get_ydata(), run.from_step(100).loss)
        assert dots[place].get_color() == found[run.name].get_color()
        low, high = prediction.interval(0.9)
        band = losses.collections[place].get_paths()[0].vertices
        assert band[:, 1].min() == pytest.approx(low[steps].min())
        assert band[:, 1].max() == pytest.approx(high[steps].max())
        left = residuals.lines[place]
        # the losses were made 1 % too high, averaged over the window as they would be logged
        np.testing.assert_allclose(left.get_ydata(), 100.0 * (1.0 / 1.01 - 1.0), rtol=1e-9)
    assert "%" in residuals.get_ylabel() and residuals.get_xlabel() == "step"
    assert figure.get_suptitle() == "two runs"
    check_written(figure, tmp_path)


def test_fit_names_its_runs_for_all_panels() -> None:
    fitted, runs = law_with_draws(), [run_of(name) for name in SPECS]
    figure = plot_fit(fitted, runs)
    assert figure.get_suptitle() == "multi_power: cosine, drop"
    assert figure.axes[1].get_legend().get_title().get_text() == "run, in all panels"
    for axes in figure.axes:
        drawn = [line for line in axes.lines if line.get_color() != "black"]
        styles = [
            (line.get_color(), line.get_linestyle()) for line in drawn if line.get_marker() != "."
        ]
        assert len(set(styles)) == len(runs)
    assert plot_fit(fitted, [runs[0]] * 4).get_suptitle() == "multi_power: 4 runs"


def test_fit_without_uncertainty_has_no_band_and_warm_up_ends_itself() -> None:
    figure = plot_fit(
        CurveFit.of("multi_power", PARAMS), {name: run_of(name) for name in SPECS}, "warmup"
    )
    _, losses, residuals = figure.axes
    assert not losses.collections
    assert residuals.lines[0].get_xdata()[0] == 59  # the warm-up of 50 steps ends before
    with pytest.raises(UsageError, match="5000"):
        plot_fit(CurveFit.of("multi_power", PARAMS), [run_of("drop")], 5000)


def test_many_runs_have_styles_of_their_own_and_a_legend_outside(tmp_path: Path) -> None:
    plan = schedule("constant:peak=3e-4,steps=60,warmup=5")
    steps = np.arange(9, 60, 10)
    runs = [Run(f"run{place}", plan, steps, np.full(6, 4.0)) for place in range(34)]
    figure = plot_fit(CurveFit.of("multi_power", PARAMS), runs)
    losses = figure.axes[1]
    assert losses.get_legend() is None
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [run.name for run in runs]
    styles = {(str(style["color"]), str(style["linestyle"])) for style in map(style_of, range(34))}
    assert len(styles) == 34
    check_written(figure, tmp_path)
    figure.canvas.draw()
    box = legend.get_window_extent()
    assert box.x0 >= losses.get_window_extent().x1
    assert box.y0 >= 0 and box.y1 <= figure.bbox.y1  # all names fit in


@pytest.mark.parametrize("law", schedule_laws(), ids=lambda law: law.name)
def test_contributions_add_up_to_the_loss(law: Law) -> None:
    plan = schedule("wsd:peak=1e-3,steps=290,warmup=10,decay_fraction=0.3")
    fitted = CurveFit(law, draw_values(law, 1, 1e-3))
    traces = traces_for(plan.lr)
    run = Run("run", plan, [50], [3.0], FACTS, traces=traces)  # type: ignore[arg-type]
    terms = contributions(fitted, run)
    assert list(terms) == [each.name for each in law.linear_parameters]
    total = np.sum(list(terms.values()), axis=0)
    # a prediction is kept within the losses that a run can have; a sum of terms is not
    expected = predict_losses(law, fitted.params, plan.lr, FACTS, traces)
    shown = expected > 1e-3
    np.testing.assert_allclose(total[shown], expected[shown], rtol=1e-10)


def test_terms_stand_below_the_loss_with_their_last_values(tmp_path: Path) -> None:
    fitted, run = law_with_draws(), run_of("drop")
    figure = plot_terms(fitted, run)
    rates, losses, power, drop = figure.axes
    terms = contributions(fitted, run)
    assert figure.get_suptitle() == "multi_power: drop"
    np.testing.assert_array_equal(rates.lines[0].get_ydata(), run.schedule.lr)
    assert set(legend_of(losses)) == {
        "logged",
        "predicted (sum of the terms)",
        "L0: loss that no schedule removes",
    }
    line = lines_of(losses)["predicted (sum of the terms)"]
    np.testing.assert_array_equal(line.get_ydata(), fitted.predict(run.schedule).loss[50:])
    for axes, name in ((power, "A"), (drop, "B")):
        (line,) = axes.lines
        assert str(line.get_label()).startswith(f"{name}: ")
        assert line.get_xdata()[0] == 50  # after the warm-up
        np.testing.assert_array_equal(line.get_ydata(), terms[name][50:])
        assert [text.get_text() for text in axes.texts] == [f"{terms[name][-1]:.3g}"]
    assert drop.get_xlabel() == "step"
    # an abrupt drop: the term of the drop falls after it, and only then
    at = drop.lines[0].get_ydata()
    assert (np.diff(at[:340]) >= 0).all() and (np.diff(at[360:]) < 0).all()
    later = plot_terms(fitted, run, 300, title="mine")
    assert later.axes[2].lines[0].get_xdata()[0] == 300
    assert later.get_suptitle() == "mine"
    check_written(figure, tmp_path)


PROFILES = {
    "alpha": Profile(np.array([0.3, 0.5, 0.8]), np.array([3.0, 1.0, 2.0]), 0.5, (0.4, 0.7)),
    "beta": Profile(np.array([0.1, 0.6, 3.0]), np.array([np.inf, 1.0, 9.0]), 0.6),
    "gamma": Profile(np.array([0.4, 0.6]), np.array([1.0, 2.0]), 0.4, (0.4, 0.5)),
}


def test_profiles_mark_the_fit_and_the_draws(tmp_path: Path) -> None:
    figure = plot_profiles(PROFILES, law_with_draws())
    assert [axes.get_xlabel() for axes in figure.axes] == list(PROFILES)
    for axes, each in zip(figure.axes, PROFILES.values(), strict=True):
        assert axes.get_xscale() == "log"
        curve, mark = axes.lines
        fine = np.isfinite(each.objective)
        np.testing.assert_array_equal(curve.get_xdata(), each.values[fine])
        np.testing.assert_array_equal(curve.get_ydata(), each.objective[fine])
        assert mark.get_xdata() == [each.fit]
        assert mark.get_ydata() == [1.0]
        spans = [
            patch.get_extents().transformed(axes.transData.inverted()) for patch in axes.patches
        ]
        ends = [(pytest.approx(span.x0), pytest.approx(span.x1)) for span in spans]
        assert ends == ([] if each.interval_90 is None else [each.interval_90])
        low, high = axes.get_xlim()
        assert low < each.values[0] and each.values[-1] < high
    (legend,) = figure.legends
    assert {text.get_text() for text in legend.get_texts()} == {"90 % of draws", "fit"}
    assert figure.axes[0].get_ylabel() == "objective"
    check_written(figure, tmp_path)


def test_profiles_of_a_forgetting_factor_are_not_logarithmic() -> None:
    law = get_schedule_law("lr_annealing")
    fitted = CurveFit(law, draw_values(law, 1, 1e-3))
    values = np.array([0.99, 0.995, 0.999])
    figure = plot_profiles({"decay": Profile(values, values, 0.995)}, fitted)
    assert figure.axes[0].get_xscale() == "linear"


def test_profiles_of_nothing_or_another_law_are_refused() -> None:
    with pytest.raises(LawError, match="no nonlinear parameter"):
        plot_profiles({}, law_with_draws())
    with pytest.raises(LawError, match="beta"):
        plot_profiles(PROFILES, CurveFit.of("power", {"L0": 2.0, "A": 0.5, "alpha": 0.5}))


def test_draws_against_each_other(tmp_path: Path) -> None:
    fitted = law_with_draws()
    figure = plot_draws(fitted)
    names = ["alpha", "C", "beta", "gamma"]
    assert len(figure.axes) == 10  # the lower triangle of four by four
    bottom = [axes.get_xlabel() for axes in figure.axes if axes.get_xlabel()]
    left = [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()]
    assert (bottom, left) == (names, names[1:])
    assert figure.get_suptitle() == "multi_power: 60 draws; lines mark the fit"
    axes = next(axes for axes in figure.axes if axes.get_ylabel() == "C")
    assert axes.get_xscale() == axes.get_yscale() == "log"
    dots, *fit = axes.lines
    across, upward = dots.get_data()
    pairs = set(zip(fitted.draws["alpha"], fitted.draws["C"], strict=True))
    assert 50 <= len(across) <= 60
    assert set(zip(across, upward, strict=True)) <= pairs
    assert {fit[0].get_ydata()[0], fit[1].get_xdata()[0]} == {PARAMS["C"], PARAMS["alpha"]}
    diagonal = figure.axes[0]
    assert sum(patch.get_height() for patch in diagonal.patches) >= 50
    assert {line.get_xdata()[0] for line in diagonal.lines} == {PARAMS["alpha"]}
    check_written(figure, tmp_path)


def test_one_wild_draw_does_not_squeeze_the_others() -> None:
    fitted = law_with_draws()
    wild = {name: np.array([*row, 1e9 * row[0]]) for name, row in fitted.draws.items()}
    figure = plot_draws(CurveFit(fitted.law, fitted.params, UNCERTAINTY, draws=wild))
    low, high = figure.axes[0].get_xlim()
    assert high / low < 3.0


def test_draws_that_are_not_there_are_refused() -> None:
    with pytest.raises(LawError, match="no draws"):
        plot_draws(CurveFit.of("multi_power", PARAMS))
    row = {name: np.full(5, value) for name, value in {"L0": 2.0, "A": 0.5, "B": 9.0}.items()}
    law = get_schedule_law("convex_bound")
    bound = CurveFit(law, {name: values[0] for name, values in row.items()}, draws=row)
    with pytest.raises(LawError, match="no nonlinear parameter"):
        plot_draws(bound)


def test_one_shape_parameter_has_one_panel(tmp_path: Path) -> None:
    draws = {"L0": np.full(30, 2.0), "A": np.full(30, 0.5), "alpha": np.linspace(0.4, 0.6, 30)}
    fitted = CurveFit(get_schedule_law("power"), {"L0": 2.0, "A": 0.5, "alpha": 0.5}, draws=draws)
    (axes,) = plot_draws(fitted).axes
    assert axes.get_xlabel() == "alpha"
    check_written(axes.figure, tmp_path)


def test_a_point_law_has_no_curves() -> None:
    fitted = PointFit.published("chinchilla", "hoffmann_rounded")
    for draw in (lambda: plot_fit(fitted, [run_of("drop")]), lambda: plot_draws(fitted)):
        with pytest.raises(LawError, match="schedule"):
            draw()


def test_predictions_of_unseen_runs_use_their_facts() -> None:
    """Runs of two sizes: each is predicted at its own."""
    law = get_schedule_law("lr_annealing_size")
    fitted = CurveFit(law, draw_values(law, 2, 3e-4))
    base = run_of("drop")
    runs = {
        str(size): Run(str(size), base.schedule, base.steps, base.loss, {"model_params": size})
        for size in (1e6, 1e9)
    }
    lines = lines_of(plot_predictions(fitted, runs).axes[1])
    for name, run in runs.items():
        expected = fitted.predict(run.schedule, facts=run.facts).loss[9:]
        np.testing.assert_array_equal(lines[name].get_ydata(), expected[: len(run.steps) * 10 - 9])


def test_pictures_leave_the_settings_of_matplotlib_alone() -> None:
    before = dict(mpl.rcParams)
    plot_fit(law_with_draws(), [run_of("drop")])
    plot_draws(law_with_draws())
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.27, 0.83, [0.3, 0.4, 0.6]),
        (0.15, 2.1, [0.2, 0.5, 1.0, 2.0]),
        (0.02, 150.0, [0.1, 1.0, 10.0, 100.0]),
        (2e-7, 3e2, [1e-6, 1e-4, 1e-2, 1.0, 1e2]),
        (0.46, 0.52, [0.46, 0.48, 0.5, 0.52]),
    ],
)
def test_ticks_are_few_and_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks_between(low, high, logarithmic=True) == pytest.approx(expected)


def test_ticks_of_linear_axes_may_be_negative() -> None:
    assert ticks_between(-1.2, 1.3, logarithmic=False) == pytest.approx([-1.0, 0.0, 1.0])


def test_lines_have_no_more_points_than_a_picture_has_columns() -> None:
    steps = drawn_steps(7, 99_999)
    assert steps[0] == 7 and steps[-1] == 99_999 and len(steps) <= 2000
    assert drawn_steps(3, 6).tolist() == [3, 4, 5, 6]
    assert drawn_steps(3, 3).tolist() == [3]
