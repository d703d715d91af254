"""The plan: closed-form posterior, abrupt drops, budgets, errors."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest
from scipy.special import ndtri

from scaling_laws.common.errors import LawError, ScheduleError, UsageError
from scaling_laws.decisions.planning import Plan, default_candidates, plan
from scaling_laws.decisions.planning.candidate_runs import logged_steps
from scaling_laws.decisions.planning.information import (
    candidate_run,
    deviations,
    log_losses,
    posterior_sd,
)
from scaling_laws.inference.fitting.identifiability import ABRUPT, abrupt_drop
from scaling_laws.inference.results import CurveFit, FitRecord, PointFit, Range, Uncertainty
from scaling_laws.inference.results.uncertainty import robust_sd
from scaling_laws.models.schedules import schedule

DRAWS = 60
NORMAL = ndtri((np.arange(DRAWS) + 0.5) / DRAWS)  # quantiles: a deterministic sample
NORMAL /= robust_sd(NORMAL[:, None])
TRUTH = {"L0": 2.5, "A": 0.25, "C": 1.5, "alpha": 0.5, "decay": 0.98}
UNCERTAINTY = Uncertainty("leave_one_run_out", 1e-3, 3, 1e-3, 2e-3, 1.7, 1.6, 5.0)
PEAK = 1e-3
TARGET = f"linear:peak={PEAK},steps=1000"
CONSTANT = f"constant:peak={PEAK},steps=1000"
DROP = f"multistage:peak={PEAK},steps=1000,at=600,to=1e-4"
WARNING = "no abrupt drop among the fitted runs: the memory (decay) is not identified"


def law(warnings: tuple[str, ...] = (), from_step: int | str = 0, **draws: np.ndarray) -> CurveFit:
    """The annealing law with draws that vary in some parameters only."""
    record = FitRecord(0.0, 1e-3, 300, 4, 4, 0.0, 0, from_step, {}, {}, warnings)
    rows = {name: draws.get(name, np.full(DRAWS, value)) for name, value in TRUTH.items()}
    span = Range((PEAK, PEAK), 999, 0.05)
    return CurveFit(
        CurveFit.of("lr_annealing", TRUTH).law, TRUTH, UNCERTAINTY, span, record, {}, rows
    )


def memory_open() -> CurveFit:
    return law(decay=-np.expm1(np.log(0.02) + 0.3 * NORMAL))


def all_open() -> CurveFit:
    """Draws that vary independently in every parameter."""
    orders = [np.random.default_rng(seed).permutation(NORMAL) for seed in range(5)]
    return law(
        L0=TRUTH["L0"] * np.exp(2e-3 * orders[0]),
        A=TRUTH["A"] * np.exp(2e-2 * orders[1]),
        C=TRUTH["C"] * np.exp(0.2 * orders[2]),
        alpha=TRUTH["alpha"] * np.exp(2e-2 * orders[3]),
        decay=-np.expm1(np.log(0.02) + 0.3 * orders[4]),
    )


def ranks(found: Plan) -> list[str]:
    return [each.schedule.spec for each in found.ranking]


def test_posterior_in_closed_form() -> None:
    """With one uncertain parameter the posterior variance has a closed form."""
    fitted = law(L0=TRUTH["L0"] * (1.0 + 1e-4 * NORMAL))
    found = plan(fitted, TARGET, candidates=[DROP], every=25)
    lr, steps = schedule(DROP).lr, np.arange(24, 1000, 25)
    spread = 1e-4 * TRUTH["L0"]  # of L0; log losses change by its share of the loss
    slope = spread / fitted.predict(DROP, steps.tolist()).loss
    noise = np.zeros((40, 40))
    for i, first in enumerate(steps):
        for j, second in enumerate(steps):
            own = [np.hypot(1e-3, 2e-3 * (1.0 - lr[step] / PEAK)) for step in (first, second)]
            noise[i, j] = own[0] * own[1] * np.exp(-abs(first - second) / 100.0)
        noise[i, i] += slope[i] ** 2 / DRAWS
    now = spread / fitted.predict(TARGET).final_loss
    after = now / np.sqrt(1.0 + slope @ np.linalg.solve(noise, slope))
    assert found.now == pytest.approx(now, rel=1e-3)
    (choice,) = found.choices
    assert choice.expected == pytest.approx(after, rel=1e-3)
    assert choice.reduction == pytest.approx(found.now - choice.expected)
    assert found.floor == pytest.approx(np.hypot(1e-3, 2e-3 * 0.999), rel=1e-9)


def test_current_interval_is_that_of_a_prediction() -> None:
    fitted = all_open()
    found = plan(fitted, TARGET)
    prediction = fitted.predict(TARGET)
    low, high = prediction.interval(0.9)
    assert found.final_loss == pytest.approx(prediction.final_loss, rel=1e-5)
    assert found.interval_90 == pytest.approx((low[-1], high[-1]), rel=1e-5)
    assert found.half_width_90 == pytest.approx(0.5 * (high[-1] - low[-1]), rel=1e-3)
    assert 0 < found.floor_half_width_90 < found.half_width_90


def test_an_abrupt_drop_determines_the_memory_and_a_constant_run_does_not() -> None:
    found = plan(memory_open(), TARGET, candidates=[CONSTANT, DROP])
    assert ranks(found) == [DROP, CONSTANT]
    assert found.ranking[0].expected < 0.8 * found.now
    assert found.ranking[1].reduction == pytest.approx(0.0, abs=1e-12)
    # a run without information is not chosen, although three were requested
    assert [each.schedule.spec for each in found.choices] == [DROP]
    assert any(note.startswith("1 of 3 runs chosen") for note in found.notes)


def test_any_run_determines_the_floor() -> None:
    found = plan(law(L0=TRUTH["L0"] + 1e-2 * NORMAL), TARGET, candidates=[CONSTANT, DROP])
    # the law's error grows with the decay, so the constant run is more informative
    assert ranks(found) == [CONSTANT, DROP]


def test_target_itself_measures_its_loss() -> None:
    same = f"power:peak={PEAK},end=0,steps=1000,power=1"
    assert np.allclose(schedule(same).lr, schedule(TARGET).lr)
    found = plan(all_open(), TARGET, candidates=[DROP, CONSTANT, TARGET])
    assert ranks(found)[0] == TARGET
    assert [each.schedule.spec for each in found.choices] == [TARGET]
    assert found.choices[0].expected == 0.0
    assert found.choices[0].half_width_90 == pytest.approx(found.floor_half_width_90)
    assert any("is the target itself" in note for note in found.notes)


def test_default_candidates_omit_the_target() -> None:
    found = plan(all_open(), TARGET)
    assert schedule(TARGET) in default_candidates(schedule(TARGET))
    assert schedule(TARGET) not in [each.schedule for each in found.ranking]
    assert len(found.ranking) == 26


def test_more_runs_do_not_increase_the_variance() -> None:
    fitted = all_open()
    longest = plan(fitted, TARGET, runs=6)
    left = [longest.now, *(each.expected for each in longest.choices)]
    assert len(longest.choices) > 2
    assert (np.diff(left) < 0).all()
    widths = [longest.half_width_90, *(each.half_width_90 for each in longest.choices)]
    assert (np.diff(widths) < 0).all() and widths[-1] > longest.floor_half_width_90
    assert left[0] - left[-1] == pytest.approx(sum(each.reduction for each in longest.choices))
    shorter = plan(fitted, TARGET, runs=2)
    assert shorter.choices == longest.choices[:2]
    assert shorter.ranking == longest.ranking
    assert longest.choices[0] == longest.ranking[0]


def test_no_schedule_is_chosen_twice() -> None:
    found = plan(all_open(), TARGET, runs=6, candidates=[DROP, CONSTANT, DROP, f" {DROP}"])
    assert len(found.ranking) == 2
    assert len({each.schedule for each in found.choices}) == len(found.choices)


@pytest.mark.parametrize("budget", [250, 700, 1000, 1400, 10_000])
def test_budget(budget: int) -> None:
    fitted = all_open()
    found = plan(fitted, TARGET, runs=4, step_budget=budget)
    assert 0 < sum(each.schedule.steps for each in found.choices) <= budget
    assert all(each.schedule.steps <= budget for each in found.ranking)
    assert found.choices[-1].expected >= plan(fitted, TARGET, runs=4).choices[-1].expected


def test_budget_is_not_used_up_by_one_long_run() -> None:
    """A long run is slightly more informative than a short one, but less than three."""
    fitted = law(L0=TRUTH["L0"] * np.exp(2e-3 * NORMAL))
    short = [f"constant:peak={PEAK},steps={steps}" for steps in (250, 251, 252)]
    found = plan(fitted, TARGET, candidates=[CONSTANT, *short], step_budget=1000)
    assert ranks(found)[0] == CONSTANT
    assert {each.schedule.spec for each in found.choices} == set(short)
    assert found.choices[-1].expected < found.ranking[0].expected


def test_drop_comes_first_if_none_was_fitted() -> None:
    level = {"A": TRUTH["A"] * np.exp(3e-2 * NORMAL)}
    free = plan(law(**level), TARGET)
    assert abrupt_drop(free.choices[0].schedule) < ABRUPT
    warned = plan(law((WARNING,), **level), TARGET)
    assert abrupt_drop(warned.choices[0].schedule) >= ABRUPT
    assert warned.ranking == free.ranking
    assert warned.notes[0].startswith("no abrupt drop among the fitted runs: the first run is one")
    assert "decay" in warned.notes[0]
    best = next(each for each in free.ranking if abrupt_drop(each.schedule) >= ABRUPT)
    assert warned.choices[0] == best
    # the next one may be any candidate
    assert abrupt_drop(warned.choices[1].schedule) < ABRUPT


def test_drop_comes_first_even_if_the_draws_agree_on_the_memory() -> None:
    found = plan(law((WARNING,)), TARGET, candidates=[CONSTANT, DROP])
    assert found.now == 0.0
    assert [each.schedule.spec for each in found.choices] == [DROP]


def test_no_drop_among_the_candidates_is_reported() -> None:
    found = plan(law((WARNING,), L0=2.5 + 1e-2 * NORMAL), TARGET, candidates=[CONSTANT])
    assert [each.schedule.spec for each in found.choices] == [CONSTANT]
    assert "add a multistage candidate" in found.notes[0]
    long = f"multistage:peak={PEAK},steps=2000,at=600,to=1e-4"
    other = plan(
        law((WARNING,), L0=2.5 + 1e-2 * NORMAL),
        TARGET,
        candidates=[CONSTANT, long],
        step_budget=1500,
    )
    assert "add a multistage candidate" in other.notes[0]


def test_a_law_without_memory_needs_no_drop() -> None:
    params = {"L0": 2.5, "A": 0.25, "alpha": 0.5, "B": 150.0}
    draws = {name: np.full(DRAWS, value) for name, value in params.items()}
    draws["L0"] = 2.5 + 1e-2 * NORMAL
    base = law((WARNING,))
    fitted = CurveFit(
        CurveFit.of("linear_drop", params).law, params, UNCERTAINTY, None, base.record, {}, draws
    )
    assert not any(note.startswith("no abrupt drop") for note in plan(fitted, TARGET).notes)


def test_same_arguments_same_plan_in_any_order_of_candidates() -> None:
    fitted = all_open()
    candidates = default_candidates(schedule(TARGET))[::4]
    first = plan(fitted, TARGET, candidates=candidates)
    assert plan(fitted, TARGET, candidates=candidates).as_json() == first.as_json()
    other = plan(fitted, TARGET, candidates=[each.spec for each in reversed(candidates)])
    assert other.as_json() == first.as_json()
    json.dumps(first.as_json(), allow_nan=False)


def test_an_outlier_draw_changes_little() -> None:
    tame = all_open()
    wild = {name: row.copy() for name, row in tame.draws.items()}
    wild["L0"][0] *= 3.0
    wild["C"][1] = 1e-9
    before = plan(tame, TARGET, candidates=[CONSTANT, DROP])
    after = plan(replace(tame, draws=wild), TARGET, candidates=[CONSTANT, DROP])
    assert after.now == pytest.approx(before.now, rel=0.15)
    assert after.ranking[0].expected == pytest.approx(before.ranking[0].expected, rel=0.15)


def test_chance_correlations_carry_little_information() -> None:
    """Curves under shuffled draws are unrelated to the target; any correlation is chance."""
    fitted = all_open()
    plans = [schedule(spec) for spec in (DROP, f"wsd:peak={PEAK},steps=1000,decay_fraction=0.2")]
    exact = replace(
        UNCERTAINTY, sigma_constant=1e-6, sigma_decay=0.0
    )  # no error other than that of chance correlations
    with jax.enable_x64(True):
        steps = logged_steps(fitted, plans[0], None)
        target = log_losses(fitted, schedule(TARGET), np.array([999]), None)[1:]
        curves = [log_losses(fitted, each, steps, None)[1:] for each in plans]
    wanted = deviations(target)[:, 0]
    shuffle = np.random.default_rng(0).permutation
    for each, rows in zip(plans, curves, strict=True):
        run = candidate_run(each, steps, deviations(rows), exact)
        told = 1.0 - (posterior_sd(np.eye(DRAWS), wanted, run) / np.linalg.norm(wanted)) ** 2
        chance = [
            1.0 - (posterior_sd(np.eye(DRAWS), shuffle(wanted), run) / np.linalg.norm(wanted)) ** 2
            for _ in range(50)
        ]
        assert told > 0.9
        assert np.mean(chance) < 0.12  # five uncertain parameters: 5 of 59 by chance


def test_default_candidates() -> None:
    target = schedule("wsd:peak=4e-4,steps=4000,warmup=100,warmup_from=1e-5,decay_fraction=0.1")
    found = default_candidates(target)
    assert len(found) == len(set(found)) == 27
    assert {each.steps for each in found} == {4000, 2000, 1000}
    for each in found:
        assert each.warmup == 100
        np.testing.assert_array_equal(each.lr[:100], target.lr[:100])
        assert each.peak_lr == target.peak_lr
        assert schedule(each.spec) == each
    assert sum(abrupt_drop(each) >= ABRUPT for each in found) == 12
    # a drop at 40 % must come after the warm-up and after `from_step`
    assert {each.steps for each in default_candidates(target, from_step=401)} == {4000, 2000}
    assert default_candidates(schedule("one_cycle:peak=1e-3,steps=400,rise_fraction=0.5")) == []


def test_steps_that_the_fit_omits_carry_no_information() -> None:
    """A fall before `from_step`, forgotten by then, carries no information about the memory."""
    early = f"multistage:peak={PEAK},steps=1000,at=20,to=9e-4"
    fitted = memory_open()
    assert fitted.record is not None
    seen = plan(fitted, TARGET, candidates=[early]).ranking[0]
    late = replace(fitted, record=replace(fitted.record, from_step=900))
    unseen = plan(late, TARGET, candidates=[early]).ranking[0]
    assert unseen.reduction < seen.reduction
    with pytest.raises(UsageError, match="steps=800 ends before step 900, the first that the fit"):
        plan(late, TARGET, candidates=[f"constant:peak={PEAK},steps=800"])
    with pytest.raises(UsageError, match=r"no candidates to choose from.*give candidates"):
        plan(late, TARGET)
    warm = replace(fitted, record=replace(fitted.record, from_step="warmup"))
    assert plan(warm, TARGET, candidates=[early]) == plan(fitted, TARGET, candidates=[early])


def test_notes_report_where_the_target_leaves_the_range() -> None:
    found = plan(all_open(), f"cosine:peak={2 * PEAK},end=1e-4,steps=3000", candidates=[DROP])
    notes = [note for note in found.notes if note.startswith("target: ")]
    assert "target: peak LR 0.002 is outside the fitted 0.001 to 0.001" in notes
    assert "target: 3000 steps are more than the fitted 1000" in notes


def test_notes_report_when_the_law_s_error_dominates() -> None:
    little = plan(law(L0=2.5 + 1e-4 * NORMAL), TARGET)
    assert any("already today the law's own error" in note for note in little.notes)
    much = plan(law(L0=2.5 + 3e-2 * NORMAL), TARGET)
    assert much.now > much.floor > much.choices[-1].expected
    assert any("after these runs the law's own error" in note for note in much.notes)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"runs": 0}, UsageError, "runs=0 must be >= 1"),
        ({"step_budget": 0}, UsageError, "step_budget=0 must be >= 1"),
        ({"every": 0}, UsageError, "every=0 must be >= 1"),
        ({"candidates": []}, UsageError, "no candidates to choose from: give at least one"),
        ({"step_budget": 249}, UsageError, "step_budget=249 is too small for every"),
        ({"candidates": ["cosin:peak=1"]}, ScheduleError, "did you mean 'cosine'"),
        ({"candidates": ["csv:none.csv"]}, Exception, "no such file"),
        ({"facts": {"model_parms": 1.0}}, UsageError, "model_params"),
    ],
)
def test_refused(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        plan(all_open(), TARGET, **options)


def test_refused_laws() -> None:
    fitted = all_open()
    with pytest.raises(
        LawError, match=r"lr_annealing has 0 draws.*fit the law to runs, with draws"
    ):
        plan(CurveFit.of("lr_annealing", TRUTH), TARGET)
    few = {name: row[:9] for name, row in fitted.draws.items()}
    with pytest.raises(LawError, match="has 9 draws of its parameters and a plan needs 10"):
        plan(replace(fitted, draws=few), TARGET)
    with pytest.raises(LawError, match=r"its errors were not measured.*hold_out=True"):
        plan(replace(fitted, uncertainty=None), TARGET)
    with pytest.raises(LawError, match="chinchilla does not take a schedule"):
        plan(PointFit.published("chinchilla", "hoffmann"), TARGET)
    with pytest.raises(ScheduleError, match="every learning rate is 0"):
        plan(fitted, "multistage:peak=1e-3,at=0,to=0,steps=20")


def test_facts_of_the_runs() -> None:
    params = {**TRUTH, "B": 3.0, "beta": 0.1, "gamma": 0.1}
    draws = {name: np.full(DRAWS, value) for name, value in params.items()}
    draws["gamma"] = 0.1 + 1e-2 * NORMAL
    chosen = CurveFit.of("lr_annealing_size", params).law
    fitted = CurveFit(chosen, params, UNCERTAINTY, draws=draws)
    with pytest.raises(LawError, match="lr_annealing_size needs model_params, which the law file"):
        plan(fitted, TARGET, candidates=[DROP])
    small, large = (
        plan(fitted, TARGET, candidates=[DROP], facts={"model_params": size}) for size in (1e3, 1e9)
    )
    # gamma enters with the logarithm of the size, the drop in loss with a power of it
    assert small.now > 0 and large.now > 0 and small.now != large.now
    known = replace(fitted, facts={"model_params": 1e9})
    assert plan(known, TARGET, candidates=[DROP]) == large
