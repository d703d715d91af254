"""Replanning runs of an exactly known law: forecasts recover it, completed steps are kept."""

from __future__ import annotations

import numpy as np
import pytest

import scaling_laws as sl
from scaling_laws.common.errors import ScalingLawsError, UsageError
from scaling_laws.decisions.replanning import Replan, replan
from scaling_laws.decisions.replanning.endings import default_budgets
from scaling_laws.models.laws import get_schedule_law
from tests.replanning.runs import NOW, PLAN, TRUTH, final_of, law_of, run_of


@pytest.fixture(scope="module")
def found() -> Replan:
    return replan(run_of(TRUTH), law=law_of(TRUTH), at_step=NOW, budgets=[300, 600])


def test_forecast_of_a_run_like_those_fitted(found: Replan) -> None:
    truth = final_of(TRUTH, found.plan.schedule.lr)
    low, high = found.plan.interval_90
    assert found.scope == "same" and low < truth < high
    assert abs(found.plan.final_loss - truth) < 2e-3 * truth
    assert (found.now.step, found.now.lr) == (NOW, 1e-3)
    assert found.run.steps[-1] < NOW and found.now.loss == found.run.loss[-1]


def test_a_replan_is_shown_in_short(found: Replan) -> None:
    assert f"{found.best.final_loss:.4f}" in repr(found) and len(repr(found)) < 400


def test_completed_steps_are_kept(found: Replan) -> None:
    best = found.best.schedule
    assert np.array_equal(best.lr[:NOW], found.done)
    assert best.steps == found.plan.schedule.steps
    assert np.diff(best.lr[NOW - 1 :]).max() <= 1e-12  # does not rise again


def test_gain_is_the_difference_of_two_forecasts(found: Replan) -> None:
    assert found.gain is not None and found.gain >= 0 and found.gain_interval_90 is not None
    assert found.gain == pytest.approx(found.plan.final_loss - found.best.final_loss)
    low, high = found.gain_interval_90
    assert low <= found.gain <= high
    assert found.distinguishable == (low > 0)
    again = found.fitted.predict(found.best.schedule, facts=found.run.facts)
    assert again.final_loss == pytest.approx(found.best.final_loss, rel=1e-9)


def test_cooldowns_by_budget(found: Replan) -> None:
    assert [each.steps for each in found.cooldowns] == [300, 600]
    for each in found.cooldowns:
        tail = sl.schedule(each.spec)
        assert NOW + tail.steps == each.steps and NOW <= each.start < each.steps
        lr = np.concatenate([found.done, tail.lr])
        assert np.array_equal(lr[NOW : each.start], np.full(each.start - NOW, found.now.lr))
        again = found.fitted.predict(sl.Schedule("given", lr), facts=found.run.facts).final_loss
        assert again == pytest.approx(each.final_loss, rel=1e-9)
        assert each.interval_90[0] < each.final_loss < each.interval_90[1]
    assert found.cooldowns[0].final_loss > found.cooldowns[1].final_loss


def test_stopping(found: Replan) -> None:
    steps = [each.step for each in found.stopping]
    assert steps == sorted(set(steps)) and steps[0] > NOW and steps[-1] == 400
    last = found.stopping[-1]
    assert last.stopped_now == pytest.approx(found.plan.final_loss, rel=1e-9)
    losses = [each.cooled_down for each in found.stopping]
    assert losses == sorted(losses, reverse=True)  # more steps do not increase the loss
    for each in found.stopping[:-3]:
        assert each.stopped_now is not None and each.cooled_down < each.stopped_now
        assert NOW <= each.start < each.step


def test_same_answer_twice_and_as_json(found: Replan) -> None:
    again = replan(run_of(TRUTH), law=law_of(TRUTH), at_step=NOW, budgets=[300, 600])
    one, other = ({**each.as_json(), "seconds": 0} for each in (found, again))
    assert one == other
    assert list(one)[:6] == ["law", "scope", "params", "now", "plan", "best"]


def test_a_longer_budget_and_a_plan_that_has_ended() -> None:
    """A run whose plan has ended continues at its LR; plans of different lengths have no gain."""
    run = run_of(TRUTH, "constant:peak=1e-3,steps=200,warmup=20")
    found = replan(run, law=law_of(TRUTH), steps=300, budgets=[400])
    assert found.plan.schedule.steps == 300 and np.all(found.plan.schedule.lr[20:] == 1e-3)
    assert any("LR 0.001 is assumed constant up to 300" in note for note in found.notes)
    assert found.gain is not None and found.gain > 0
    other = replan(run_of(TRUTH), law=law_of(TRUTH), at_step=NOW, steps=500, budgets=[500])
    assert (other.gain, other.gain_interval_90, other.distinguishable) == (None, None, None)
    assert other.best.schedule.steps == 500 and other.plan.schedule.steps == 400
    assert [each.stopped_now is None for each in other.stopping][-1]


def test_another_plan_must_agree_with_the_completed_steps() -> None:
    run = run_of(TRUTH)
    same = "wsd:peak=1e-3,steps=400,warmup=20,decay_fraction=0.4"
    assert replan(run, law=law_of(TRUTH), plan=same, at_step=NOW).plan.schedule.spec == same
    with pytest.raises(UsageError, match=r"the plan gives LR 0\.\d+ at step \d+, which the run"):
        other = "cosine:peak=1e-3,steps=400,warmup=20"
        replan(run, law=law_of(TRUTH), plan=other, at_step=NOW)


@pytest.mark.slow
def test_notes_on_a_constant_and_on_a_short_log() -> None:
    truth = get_schedule_law("norm_clock").published["25M"]
    spec = "wsd:peak=3e-4,steps=2000,warmup=20,decay_fraction=0.2"
    run = run_of(truth, spec, "norm_clock")
    notes = " / ".join(replan(run, at_step=200, budgets=[500]).notes)
    assert "the data do not determine the gain of a decay yet" in notes
    assert "the log is short: " in notes and "200 of 2000 steps" in notes
    assert "the plan: 2000 steps are more than the fitted 200" in notes


def test_default_budgets_are_round_and_ahead() -> None:
    assert default_budgets(39_000, 40_000) == (40_000, 60_000, 80_000)
    assert 24_000 in default_budgets(5_000, 24_000)


LEVEL = "constant:peak=1e-3,steps=200,warmup=20"


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        (LEVEL, {}, "the plan ends at step 200 and 200 are done, so nothing is left to plan"),
        (LEVEL, {"steps": 205}, "nothing is left to plan"),
        (PLAN, {"at_step": 3}, "no loss is logged before step 3; the first is at step 4"),
        (PLAN, {"at_step": 15}, "step 15 lies in its warm-up of 20 steps"),
        (PLAN, {"at_step": 401}, "step 401 is past the plan's 400 steps"),
        (PLAN, {"at_step": 30}, "losses are logged in steps 20..29; a forecast needs at least 4"),
        (PLAN, {"at_step": 200, "from_step": 195}, "1 losses are logged in steps 195..199"),
        (PLAN, {"at_step": 200, "end_min": 1e-3}, "end_min=0.001 must be >= 0 and below the cur"),
        (PLAN, {"at_step": 200, "steps": 205}, "steps=205 must leave at least 10 steps after the"),
        (PLAN, {"at_step": 200, "budgets": [150]}, "budget=150 must leave at least 10 steps"),
        (PLAN, {"at_step": 200, "law": "linear_dro"}, "did you mean 'linear_drop'"),
        (PLAN, {"at_step": 200, "law": "linear_drop"}, "nothing is shipped that determines"),
        (PLAN, {"at_step": 200, "law": "multi_power"}, "or use norm_clock"),
        (PLAN, {"at_step": 200, "law": "norm_clock_measured"}, "would need param_norm at steps"),
        ("multistage:peak=1e-3,at=190,to=0,steps=400", {"at_step": 200}, "LR is 0 at step 199, so"),
    ],
)
def test_refused(spec: str, options: dict[str, object], message: str) -> None:
    run = run_of(TRUTH, spec)
    with pytest.raises(ScalingLawsError) as error:
        replan(run, **{"law": law_of(TRUTH), **options})  # type: ignore[arg-type]
    assert message in str(error.value)


def test_no_cooldown_beats_the_best(found: Replan) -> None:
    total = found.best.schedule.steps
    for each in found.cooldowns:
        if each.steps == total:
            assert found.best.final_loss <= each.final_loss
    run = found.run
    alone = replan(run, at_step=found.now.step)
    held = [each.final_loss for each in alone.cooldowns if each.steps == alone.best.schedule.steps]
    assert held and alone.best.final_loss <= min(held)
