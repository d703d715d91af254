"""What a user can ask of a fit: objectives, priors, given parameters, weights, windows, sizes."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scaling_laws import evaluate, load_law
from scaling_laws.common.errors import LawError, UsageError
from scaling_laws.data.runs import Run, load_runs
from scaling_laws.inference.fitting import Prior, fit
from scaling_laws.inference.fitting.identifiability import abrupt_drop
from scaling_laws.inference.results import CurveFit
from scaling_laws.models.laws import get_law, get_schedule_law
from scaling_laws.models.schedules import schedule

VALUES = {"L0": 2.0, "A": 0.4, "alpha": 0.5, "B": 300.0, "C": 1.5, "beta": 0.5, "gamma": 0.6}
SPECS = {
    "cosine": "cosine:peak=1e-3,end=1e-4,steps=2000,warmup=100",
    "constant": "constant:peak=1e-3,steps=2000,warmup=100",
    "drop": "multistage:peak=1e-3,at=900,to=2e-4,steps=1500,warmup=100",
}
BARE = {"draws": 0, "hold_out": False, "starts": 4}


def made(noise: float = 3e-4, names: str = "cosine constant drop", **facts: float) -> list[Run]:
    """Runs of a known multi_power law."""
    known = CurveFit(get_law("multi_power"), VALUES)
    generator = np.random.default_rng(11)
    runs = []
    for name in names.split():
        plan = schedule(SPECS[name])
        steps = np.arange(120, plan.steps, 20)
        loss = known.predict(plan, steps).loss
        loss = loss * np.exp(noise * generator.standard_normal(len(steps)))
        runs.append(Run(name, plan, steps, loss, facts))
    return runs


@pytest.mark.parametrize("objective", ["huber", "huber:0.01", "least-squares", "student-t:3e-4,4"])
def test_every_objective_finds_the_law(objective: str) -> None:
    fitted = fit("multi_power", made(), objective=objective, **BARE)
    assert fitted.record is not None
    assert fitted.record.minimised.startswith(objective.split(":")[0])
    assert fitted.params["alpha"] == pytest.approx(0.5, rel=0.1)
    assert max(run["rmse"] for run in fitted.record.runs.values()) < 2e-3


def test_robust_objectives_shrug_off_a_spike() -> None:
    runs = made()
    loss = runs[0].loss.copy()
    loss[30:33] *= 1.2
    spiked = [replace(runs[0], loss=loss), *runs[1:]]
    truth = CurveFit(get_law("multi_power"), VALUES).predict(SPECS["cosine"]).final_loss
    errors = {
        objective: abs(
            fit("multi_power", spiked, objective=objective, **BARE)
            .predict(SPECS["cosine"])
            .final_loss
            - truth
        )
        for objective in ("huber", "student-t:5e-4,3", "least-squares")
    }
    assert errors["huber"] < 0.3 * errors["least-squares"]
    assert errors["student-t:5e-4,3"] < 0.3 * errors["least-squares"]


def test_a_prior_fills_in_what_the_runs_do_not_say() -> None:
    """Without a drop the memory is open: it then comes from the prior, and the fit says so."""
    runs = made(names="cosine constant")
    fitted = fit("multi_power", runs, draws=40, hold_out=False, starts=4)
    assert fitted.record is not None and set(fitted.record.prior) == {"alpha", "C", "beta", "gamma"}
    warnings = " ".join(fitted.record.warnings)
    assert "no abrupt drop among the fitted runs: the memory (C, beta, gamma)" in warnings
    assert re.search(r"\bgamma\b.*: value and interval come from the prior", warnings)
    bare = fit("multi_power", runs, prior="none", **BARE)
    assert bare.record is not None and bare.record.prior == {}
    assert bare.record.objective <= fitted.record.objective * (1 + 1e-6)
    assert bare.record.objective == pytest.approx(bare.record.lowest, rel=1e-4)


def test_a_prior_of_ones_own_is_obeyed() -> None:
    tight = Prior({"gamma": np.log(1.3)}, {"gamma": 1e-3}, "a colleague")
    fitted = fit("multi_power", made(), prior=tight, **BARE)
    assert fitted.params["gamma"] == pytest.approx(1.3, rel=0.01)
    with pytest.raises(UsageError, match="no nonlinear parameter 'gama'"):
        fit("multi_power", made(), prior=Prior({"gama": 0.0}, {"gama": 1.0}, ""), **BARE)


@pytest.mark.parametrize(
    "fixed", [{"gamma": 0.6}, {"L0": 2.01}, {"C": 1.5}, {"B": 300.0, "beta": 0.5}]
)
def test_fixed_parameters_stay_in_the_unit_of_the_logs(fixed: dict[str, float]) -> None:
    fitted = fit("multi_power", made(), fix=fixed, prior="none", **BARE)
    for name, value in fixed.items():
        assert fitted.params[name] == pytest.approx(value, rel=1e-12)
    assert fitted.record is not None and fitted.record.fixed == fixed
    free = fit("multi_power", made(), prior="none", **BARE)
    assert free.record is not None
    assert free.record.objective <= fitted.record.objective * (1 + 1e-3)
    # the truth or near it is among what is left: the fit stays good
    assert fitted.record.objective < 10 * free.record.objective


def test_tied_parameters_are_equal() -> None:
    fitted = fit("multi_power", made(), tie={"beta": "gamma"}, **BARE)
    assert fitted.params["beta"] == fitted.params["gamma"]
    assert fitted.record is not None and fitted.record.ties == {"beta": "gamma"}


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"objective": "hubber"}, UsageError, "did you mean 'huber'"),
        ({"objective": "huber:-1"}, UsageError, "numbers > 0"),
        ({"prior": "strong"}, UsageError, "'weak', 'none' or a Prior"),
        ({"fix": {"gama": 1.0}}, LawError, "did you mean 'gamma'"),
        ({"fix": {"gamma": -1.0}}, LawError, "gamma=-1.0 must be > 0"),
        ({"tie": {"beta": "L0"}}, LawError, "'L0' cannot be tied"),
        ({"tie": {"beta": "beta"}}, LawError, "cannot tie beta to beta"),
        ({"weights": {"cosin": 1.0}}, UsageError, "did you mean 'cosine'"),
        ({"weights": {"cosine": -1.0}}, UsageError, "must be finite and >= 0"),
        ({"solver": "newton"}, UsageError, "unknown solver 'newton'"),
        ({"draws": -1}, UsageError, "draws=-1"),
    ],
)
def test_options_that_make_no_sense(
    options: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        fit("multi_power", made(), **options)  # type: ignore[arg-type]


def test_weights_of_runs_and_points_decide_who_is_heard() -> None:
    odd = made(names="cosine constant")
    odd[1] = replace(odd[1], loss=odd[1].loss + 0.1)
    alone = fit("power", odd[:1], **BARE)
    for muted in (
        fit("power", odd, weights={"constant": 0.0}, **BARE),
        fit("power", [odd[0], replace(odd[1], weight=np.zeros(len(odd[1].loss)))], **BARE),
    ):
        assert muted.params["L0"] == pytest.approx(alone.params["L0"], rel=1e-5)
    both = fit("power", odd, **BARE)
    assert abs(both.params["L0"] - alone.params["L0"]) > 1e-3


@pytest.mark.parametrize("window", [3, 20, 200])
def test_averaged_logs_are_fitted_as_averages(window: int) -> None:
    """Losses averaged over windows, of a known law: taken as they are they mislead the fit."""
    known = CurveFit(get_law("multi_power"), VALUES)
    runs = []
    for name, spec in SPECS.items():
        plan = schedule(spec)
        every = known.predict(plan).loss
        empty = Run(
            name, plan, np.arange(319, plan.steps, 20), np.ones(len(range(319, plan.steps, 20)))
        )
        averaging = replace(empty, window=window)
        runs.append(replace(averaging, loss=averaging.averaged(every)))
    told = fit("multi_power", runs, prior="none", **BARE)
    naive = fit("multi_power", [replace(run, window=1) for run in runs], prior="none", **BARE)
    assert told.record and naive.record
    # eight nodes stand for a window: 1e-5 in the loss where it bends most
    assert told.record.objective < 0.05 * naive.record.objective
    assert evaluate(told, runs).mean["rmse"] < 2e-4


def test_runs_of_weight_zero_change_no_number_of_a_fit() -> None:
    runs = made(noise=3e-3)
    few = fit("power", runs[:2], prior="none", **BARE)
    more = fit("power", runs, prior="none", weights={"drop": 0.0}, **BARE)
    assert few.params == pytest.approx(dict(more.params), rel=1e-4)
    assert few.record is not None and more.record is not None
    assert few.record.log_error == pytest.approx(more.record.log_error, rel=1e-4)
    assert few.record.condition == pytest.approx(more.record.condition, rel=1e-3)


def test_range_and_facts_are_of_what_was_logged() -> None:
    runs = made(model_params=1e6)
    early = [run.at(np.flatnonzero(run.steps < 800)) for run in runs]  # before any drop
    early[0] = replace(early[0], facts={"model_params": 1e6, "weight_decay": 0.1})
    fitted = fit("power", early, **BARE)
    assert dict(fitted.facts) == {"model_params": 1e6}  # one run alone states a weight decay
    span = fitted.range
    assert span is not None
    last = int(early[0].steps[-1])
    assert (span.steps, span.peak_lr) == (last, (1e-3, 1e-3))
    assert span.lowest_lr == pytest.approx(early[0].schedule.lr[last] / 1e-3, rel=1e-12)
    assert span.fastest_fall is None


def test_draws_spread_as_the_noise_does() -> None:
    spreads = []
    for noise in (1e-4, 1e-3):
        fitted = fit("power", made(noise, "constant"), draws=60, hold_out=False, starts=2)
        assert set(fitted.draws) == {"L0", "A", "alpha"}
        assert all(row.shape == (60,) for row in fitted.draws.values())
        low, high = fitted.parameter_intervals(0.9)["L0"]
        assert low < fitted.params["L0"] < high
        spreads.append(high - low)
    again = fit("power", made(1e-3, "constant"), draws=60, hold_out=False, starts=2)
    np.testing.assert_array_equal(again.draws["L0"], fitted.draws["L0"])  # seeded
    assert spreads[1] > 2 * spreads[0] > 0


def test_intervals_widen_away_from_the_runs() -> None:
    """A horizon ten times as long, from runs that leave the exponents open."""
    fitted = fit("multi_power", made(1e-3), starts=4)
    near = fitted.predict(SPECS["cosine"])
    far = fitted.predict("cosine:peak=1e-3,end=1e-4,steps=20000,warmup=100")
    widths = []
    for prediction in (near, far):
        low, high = prediction.interval(0.9)
        assert (low < prediction.loss).all() and (prediction.loss < high).all()
        widths.append(float(high[-1] - low[-1]))
    assert widths[1] > 1.5 * widths[0]
    low, high = near.interval(0.5)
    assert float(high[-1] - low[-1]) < 0.7 * widths[0]


@pytest.mark.slow
def test_intervals_cover_what_they_say_when_the_law_is_right() -> None:
    """Thirty data sets of a known law with noise: its final loss is inside nine times in ten."""
    unseen = "wsd:peak=1e-3,end=0,steps=2000,warmup=100,decay_fraction=0.3"
    known = CurveFit(get_law("linear_drop"), {"L0": 2.0, "A": 0.4, "alpha": 0.5, "B": 120.0})
    truth = known.predict(unseen).final_loss
    inside = 0
    for seed in range(30):
        generator = np.random.default_rng(seed)
        runs = []
        for name, spec in SPECS.items():
            plan = schedule(spec)
            steps = np.arange(120, plan.steps, 40)
            loss = known.predict(plan, steps).loss
            runs.append(
                Run(name, plan, steps, loss * np.exp(1e-3 * generator.standard_normal(len(steps))))
            )
        low, high = (
            fit("linear_drop", runs, starts=1, draws=50).predict(unseen, [1999]).interval(0.9)
        )
        inside += bool(low[0] < truth < high[0])
    assert inside >= 25  # P(fewer) = 0.07 % at a coverage of 95 %, 7 % at 90 %


def test_sizes_share_their_shapes(tmp_path: Path) -> None:
    base = get_schedule_law("multi_power")
    law = get_schedule_law("multi_power_across_sizes")
    assert get_law("multi_power_across_sizes") is law
    size_law = {"L0_size": 0.8, "size_exponent": 0.35, "A_exponent": -0.05, "B_exponent": -0.1}
    runs = []
    for size in (1e7, 5e7, 4e8):
        n = size / 1e8
        values = {
            **VALUES,
            "L0": VALUES["L0"] + 0.8 * n**-0.35,
            "A": VALUES["A"] * n**0.05,
            "B": VALUES["B"] * n**0.1,
        }
        known = CurveFit(base, values)
        for name, spec in SPECS.items():
            plan = schedule(spec)
            steps = np.arange(120, plan.steps, 40)
            loss = known.predict(plan, steps).loss
            runs.append(Run(f"{name}_{size:g}", plan, steps, loss, {"model_params": size}))
            whole = CurveFit(law, {**VALUES, **size_law})
            np.testing.assert_allclose(
                whole.predict(plan, steps, facts={"model_params": size}).loss, loss, rtol=1e-12
            )
    fitted = fit(law, runs, prior="none", starts=8, draws=0, hold_out=False)
    for run in runs:
        predicted = fitted.predict(run.schedule, run.steps.tolist(), facts=run.facts)
        np.testing.assert_allclose(predicted.loss, run.loss, rtol=2e-4)
    unseen = {"model_params": 2e8}
    fitted.save(str(tmp_path / "law.json"))
    again = load_law(tmp_path / "law.json")
    truth = CurveFit(law, {**VALUES, **size_law}).predict(SPECS["drop"], facts=unseen).final_loss
    found = again.predict(SPECS["drop"], facts=unseen).final_loss
    assert found == pytest.approx(truth, rel=2e-3)
    with pytest.raises(LawError, match="includes the model size already"):
        get_law("lr_annealing_size_across_sizes")


def test_runs_that_are_alike_are_told() -> None:
    first = made(names="constant")[0]
    twin = replace(first, name="again", loss=first.loss * 1.0001)
    fitted = fit("power", [first, twin], **BARE)
    assert fitted.record is not None
    assert any("follow the same schedule" in line for line in fitted.record.warnings)


def test_what_counts_as_an_abrupt_drop() -> None:
    assert abrupt_drop(schedule(SPECS["drop"])) == pytest.approx(0.8)
    assert abrupt_drop(schedule(SPECS["drop"]), 800) == 0.0
    for spec in (SPECS["cosine"], "wsd:peak=1e-3,steps=2000,warmup=100,decay_fraction=0.1"):
        assert abrupt_drop(schedule(spec)) < 0.3


def test_scipy_agrees_with_the_default_solver() -> None:
    runs = made()
    ours = fit("lr_annealing", runs, **BARE)
    theirs = fit("lr_annealing", runs, solver="scipy", **BARE)
    assert ours.record and theirs.record
    assert ours.record.objective == pytest.approx(theirs.record.objective, rel=1e-4)


def test_windows_and_weights_come_from_files(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("step,loss,weight\n9,3.0,1\n19,2.5,0\n29,2.4,2\n")
    (tmp_path / "dataset.toml").write_text(
        'window = 10\n[runs.a]\nschedule = "constant:peak=1e-3,steps=30"\n'
    )
    run = load_runs(tmp_path)["a"]
    assert run.window == 10 and run.weight is not None
    assert run.weight.tolist() == [1.0, 0.0, 2.0]
    losses = np.arange(30.0)
    assert run.averaged(losses).tolist() == [4.5, 14.5, 24.5]
    assert load_runs(tmp_path, window=1)["a"].averaged(losses).tolist() == [9.0, 19.0, 29.0]
