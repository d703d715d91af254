"""Fits: published optima, recovery of known laws, honest bookkeeping, clear refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from scaling_laws.common.errors import FitError, LawError, UsageError
from scaling_laws.data.runs import Run, load_runs
from scaling_laws.inference.fitting import fit, huber_objective
from scaling_laws.inference.fitting.fit_data import MAX_POINTS, prepare
from scaling_laws.inference.fitting.objective import Huber
from scaling_laws.inference.fitting.problem import SolverStatus
from scaling_laws.inference.fitting.solver import solve
from scaling_laws.inference.fitting.solver_registry import DEFAULT_SOLVER
from scaling_laws.inference.results import CurveFit
from scaling_laws.models.laws import Law, get_schedule_law, schedule_laws
from scaling_laws.models.schedules import schedule
from tests.helpers import draw_values, traces_for

FIT_RUNS = "cosine_24000,constant_24000,wsdcon_9"
SPECS = {
    "cosine": "cosine:peak=1e-3,end=1e-4,steps=2000,warmup=100",
    "constant": "constant:peak=1e-3,steps=2000,warmup=100",
    "drop": "multistage:peak=1e-3,at=900,to=2e-4,steps=1500,warmup=100",
}


def synthetic(law: Law, values: dict[str, float], noise: float = 0.0) -> list[Run]:
    """Runs whose losses are the law's own, with noise in log loss; each of its own model size."""
    known = CurveFit(law, values)
    generator = np.random.default_rng(3)
    runs = []
    for place, (name, spec) in enumerate(SPECS.items()):
        plan = schedule(spec)
        steps = np.arange(120, plan.steps, 40)
        size = {"model_params": 10.0 ** (6 + place)}
        facts = {"transfer_step": 700.0, "weight_decay": 0.1, **size}
        traces = traces_for(plan.lr)
        loss = known.predict(plan, steps, facts=facts, traces=traces).loss
        loss = loss * np.exp(noise * generator.standard_normal(len(steps)))
        runs.append(Run(name, plan, steps, loss, facts, traces=traces))
    return runs


@pytest.mark.parametrize(
    ("name", "objective"),
    # optimum of the published objective on the published split, found by several solvers
    [("mpl_25m", 1.38432e-4), ("mpl_100m", 2.13313e-5)],
)
def test_reaches_the_known_optimum(name: str, objective: float, shared_data: Path) -> None:
    runs = load_runs(f"{shared_data / name}:{FIT_RUNS}")
    fitted = fit("multi_power", runs, prior="none", draws=0, hold_out=False)
    assert fitted.record is not None
    assert fitted.record.objective == pytest.approx(objective, rel=5e-4)
    with jax.enable_x64(True):
        data = prepare(get_schedule_law("multi_power"), runs)
        solutions = solve(DEFAULT_SOLVER, data, data.requests(data.starts(64, 0)), Huber())
    assert {solution.status for solution in solutions} == {SolverStatus.CONVERGED}
    near = [solution.objective < objective * (1.0 + 1e-3) for solution in solutions]
    assert sum(near) >= 60


@pytest.mark.parametrize("law", schedule_laws(), ids=lambda law: law.name)
def test_recovers_a_known_law(law: Law) -> None:
    """Without noise the losses come back; each within the 2e-5 of gathered changes."""
    values = draw_values(law, 1, 1e-3)
    if law.name == "continual":  # two areas of this decay would bring the loss below zero
        values |= {name: values[name] * (1.0 - values["decay"]) for name in ("C1", "C2")}
    runs = synthetic(law, values)
    fitted = fit(law, runs, starts=8, prior="none", draws=0, hold_out=False)
    for run in runs:
        given = {"facts": run.facts, "traces": run.traces}
        predicted = fitted.predict(run.schedule, run.steps.tolist(), **given)
        np.testing.assert_allclose(predicted.loss, run.loss, rtol=1e-4)
    assert fitted.record is not None and not fitted.record.warnings
    unseen = schedule("linear:peak=1e-3,steps=1800,warmup=100")
    given = {"facts": runs[0].facts, "traces": traces_for(unseen.lr)}
    assert fitted.predict(unseen, **given).final_loss == pytest.approx(
        CurveFit(law, values).predict(unseen, **given).final_loss, rel=1e-3
    )


def test_recovery_error_shrinks_with_the_noise() -> None:
    law = get_schedule_law("linear_drop")
    values = {"L0": 2.0, "A": 0.5, "alpha": 0.5, "B": 150.0}
    errors = []
    for noise in (1e-3, 1e-5):
        fitted = fit(
            law, synthetic(law, values, noise), starts=4, prior="none", draws=0, hold_out=False
        )
        errors.append(max(abs(fitted.params[key] / value - 1.0) for key, value in values.items()))
    assert errors[0] < 0.1
    assert errors[1] < 0.02 * errors[0] + 1e-6


def test_objective_is_that_of_the_saved_parameters() -> None:
    law = get_schedule_law("linear_drop")
    runs = synthetic(law, draw_values(law, 2, 1e-3), noise=3e-3)
    fitted = fit(law, runs, starts=2)
    saved = CurveFit(law, dict(fitted.params))
    total = sum(
        huber_objective(run.loss, saved.predict(run.schedule, run.steps.tolist()).loss)
        for run in runs
    )
    assert fitted.record is not None
    assert fitted.record.objective == pytest.approx(total, rel=1e-5)  # see `numerics.compression`
    assert fitted.record.n_points == sum(len(run.loss) for run in runs)
    assert set(fitted.record.runs) == set(SPECS)


def test_scale_of_learning_rates_does_not_matter() -> None:
    law = get_schedule_law("multi_power")
    runs = synthetic(law, draw_values(law, 4, 1e-3), noise=1e-3)
    scaled = [
        Run(run.name, replace(run.schedule, lr=1e4 * run.schedule.lr), run.steps, run.loss)
        for run in runs
    ]
    plain, other = (fit(law, each, starts=4, draws=0, hold_out=False) for each in (runs, scaled))
    assert plain.record and other.record
    assert other.record.objective == pytest.approx(plain.record.objective, rel=1e-6)


def test_same_seed_same_answer_and_order_does_not_matter() -> None:
    law = get_schedule_law("lr_annealing")
    runs = synthetic(law, draw_values(law, 5, 1e-3), noise=1e-3)
    first, again = (fit(law, runs, starts=3, seed=7) for _ in range(2))
    assert dict(first.params) == dict(again.params)
    assert first.uncertainty == again.uncertainty
    turned = fit(law, runs[::-1], starts=3, seed=7)
    assert turned.params["L0"] == pytest.approx(first.params["L0"], rel=1e-5)


def test_amplitudes_are_never_negative() -> None:
    """Losses that rise when the LR falls: the drop is left out, and the fit says so."""
    law = get_schedule_law("linear_drop")
    plan = schedule(SPECS["cosine"])
    steps = np.arange(120, 2000, 40)
    clock = np.cumsum(plan.lr)[steps]
    loss = 2.0 + 0.5 * clock**-0.4 + 100.0 * (1e-3 - plan.lr[steps])
    fitted = fit(law, [Run("odd", plan, steps, loss)], starts=2)
    assert fitted.params["B"] == 0.0
    assert fitted.record is not None
    assert any(warning.startswith("B is 0") for warning in fitted.record.warnings)


def test_held_out_error_measures_what_the_law_misses() -> None:
    """Data of a law with memory, fitted with and without it: the interval must tell them apart."""
    law = get_schedule_law("multi_power")
    runs = synthetic(law, draw_values(law, 8, 1e-3), noise=2e-4)
    right = fit("multi_power", runs, starts=4).uncertainty
    wrong = fit("power", runs, starts=4).uncertainty
    assert right is not None and wrong is not None
    assert right.method == "leave_one_run_out" and right.folds == 3
    assert wrong.log_error > 5 * right.log_error
    assert float(right.half_width(0.99)) > float(right.half_width(0.9)) > 0


def test_a_single_run_is_judged_on_its_tail() -> None:
    law = get_schedule_law("power")
    runs = synthetic(law, draw_values(law, 3, 1e-3), noise=1e-3)[:1]
    uncertainty = fit(law, runs, starts=2).uncertainty
    assert uncertainty is not None
    assert (uncertainty.method, uncertainty.folds) == ("leave_tail_out", 1)


def test_from_step_leaves_points_out() -> None:
    law = get_schedule_law("power")
    runs = synthetic(law, draw_values(law, 3, 1e-3))
    fitted = fit(law, runs, starts=1, from_step=1000, hold_out=False)
    assert fitted.record is not None
    assert fitted.record.n_points == sum(int((run.steps >= 1000).sum()) for run in runs)


def test_long_logs_are_thinned_and_that_is_said() -> None:
    plan = schedule("constant:peak=1e-3,steps=20000,warmup=100")
    steps = np.arange(200, 20000)
    loss = 2.0 + 0.5 * np.cumsum(plan.lr)[steps] ** -0.4
    fitted = fit("power", [Run("long", plan, steps, loss)], starts=1)
    assert fitted.record is not None
    assert fitted.record.n_points <= MAX_POINTS
    assert "thinned" in fitted.record.warnings[0]
    assert fitted.range is not None and fitted.range.steps == 19999


def test_range_notes_where_a_schedule_leaves_the_fit() -> None:
    law = get_schedule_law("power")
    fitted = fit(law, synthetic(law, draw_values(law, 3, 1e-3)), starts=1, hold_out=False)
    assert fitted.predict(SPECS["cosine"]).notes == ()
    notes = fitted.predict("linear:peak=3e-3,steps=9000,warmup=100").notes
    assert len(notes) == 3
    assert "0.003" in notes[0] and "9000" in notes[1]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"data": []}, UsageError, "at least one run"),
        ({"law": "multipower"}, LawError, "did you mean 'multi_power'"),
        ({"starts": 0}, UsageError, "starts=0"),
        ({"from_step": 10**6}, UsageError, "no point at or after step 1000000"),
        ({"from_step": 1990}, FitError, "more points than parameters"),
    ],
)
def test_refuses_clearly(change: dict[str, object], error: type[Exception], words: str) -> None:
    law = get_schedule_law("power")
    plan = schedule(SPECS["cosine"])
    steps = np.arange(1500, 2000)
    arguments = {
        "law": law,
        "data": [Run("a", plan, steps[::-1][::200][::-1], np.full(3, 2.0))],
        **change,
    }
    with pytest.raises(error, match=words):
        fit(**arguments)  # type: ignore[arg-type]


def test_two_runs_of_one_name_are_refused() -> None:
    run = synthetic(get_schedule_law("power"), draw_values(get_schedule_law("power"), 3, 1e-3))[0]
    with pytest.raises(UsageError, match="two runs are named 'cosine'"):
        fit("power", [run, run])
