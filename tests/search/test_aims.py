"""Other objectives: upper ends, several horizons, branches; searches over peak and weight decay."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from scaling_laws.common.errors import UsageError
from scaling_laws.decisions.constraints import ScheduleConstraints
from scaling_laws.decisions.search import optimize, optimize_branches
from scaling_laws.decisions.search.evaluator import ObjectiveEvaluator, ScoredSchedule
from scaling_laws.decisions.search.extrapolation import penalty_of, range_distance
from scaling_laws.decisions.search.free_form import search_problem
from scaling_laws.decisions.search.gains import gains_on, shared_error
from scaling_laws.decisions.search.search_objective import HorizonTerm, cells_for, objective_of
from scaling_laws.decisions.search.spline import spline_of
from scaling_laws.decisions.search.weight_decay import DecayRange, decay_rows
from scaling_laws.inference.results import CurveFit, Range, Uncertainty
from scaling_laws.models.numerics.cells import cells_of
from scaling_laws.models.numerics.precision import in_float64
from scaling_laws.models.schedules import Schedule, schedule

PLAIN = CurveFit.published("multi_power", "25M")
CLOCK = replace(CurveFit.published("norm_clock", "124M"), facts={"weight_decay": 0.1})
FRAME = {"steps": 3000, "peak": 3e-4, "warmup": 200}


def measured(law: CurveFit, spread: float = 0.05, **given: object) -> CurveFit:
    """A law with draws around its parameters and a measured error."""
    random = np.random.default_rng(0)
    draws = {
        name: value * np.exp(spread * random.standard_normal(40))
        for name, value in law.params.items()
    }
    draws["L0"] = np.full(40, law.params["L0"])
    uncertainty = Uncertainty("leave_one_run_out", 1e-3, 3, 5e-4, 1e-3, 2.0, 2.0, 4.0)
    return replace(law, draws=draws, uncertainty=uncertainty, **given)  # type: ignore[arg-type]


def test_robust_search_lowers_the_upper_end() -> None:
    law = measured(PLAIN, 0.1)
    plain, robust = (optimize(law, **FRAME, objective=each) for each in ("final", "upper"))
    ends = [best.interval() for best in (plain, robust)]
    assert ends[0] is not None and ends[1] is not None
    assert robust.value == pytest.approx(ends[1][1], rel=1e-9)
    assert ends[1][1] <= ends[0][1] + 1e-6
    assert plain.final_loss <= robust.final_loss + 1e-6


def test_objective_gradient_matches_finite_differences() -> None:
    """For the robust objective with its penalty; the tolerance is that of the differences."""
    law = measured(PLAIN, range=Range((3e-4, 3e-4), 3000, 0.6, {}, 2500))
    constraints = ScheduleConstraints(**FRAME)
    spline = spline_of(constraints, 12)
    evaluator = ObjectiveEvaluator(law, {}, (3000,), robust=True)

    @in_float64
    def check() -> None:
        problem = search_problem(evaluator, constraints)
        cells = cells_for(law.law, 3000, (200,))
        offset, matrix = spline.of_cells(np.linspace(0.0, 3e-4, 200), cells)
        terms = [HorizonTerm(offset, matrix, None, None, cells)]
        penalty = penalty_of(spline, law, 3.3)
        value = objective_of(
            law.law, terms, problem.params, problem.facts, penalty, problem.interval_terms
        )
        x = np.full(len(spline.low), 0.5 / len(spline.low))
        gradient = value(x)[1]
        for i in (0, 5, len(x) - 1):
            step = np.zeros(len(x))
            step[i] = 1e-5
            difference = (value(x + step)[0] - value(x - step)[0]) / 2e-5
            assert gradient[i] == pytest.approx(difference, rel=1e-5, abs=1e-9)

    check()


def test_a_schedule_for_several_horizons() -> None:
    best = optimize(PLAIN, **FRAME, horizons=[1000, 2000])
    assert list(best.horizons) == [1000, 2000, 3000]
    for end, loss in best.horizons.items():
        part = Schedule("part", best.schedule.lr[:end])
        assert PLAIN.predict(part).final_loss == pytest.approx(loss, rel=1e-9)
    assert best.value == pytest.approx(np.mean(list(best.horizons.values())), rel=1e-12)
    assert best.value <= min(best.baseline_values.values())
    for spec, value in best.baseline_values.items():
        lr = schedule(spec).lr
        parts = [PLAIN.predict(Schedule("part", lr[:end])).final_loss for end in (1000, 2000, 3000)]
        assert value == pytest.approx(np.mean(parts), rel=1e-9)
    alone = optimize(PLAIN, **FRAME)
    assert alone.horizons[3000] < best.horizons[3000] and best.horizons[1000] < 4.2


def test_branches_share_a_main_run() -> None:
    found = optimize_branches(PLAIN, steps=6000, horizons=[3000, 4500], peak=1e-3, warmup=200)
    assert [each.schedule.steps for each in found.branches] == [3000, 4500, 6000]
    for each in found.branches:
        lr = each.schedule.lr
        np.testing.assert_array_equal(lr[: each.start], found.trunk.lr[: each.start])
        assert (np.diff(lr[each.start - 1 :]) <= 1e-18).all()
        assert PLAIN.predict(each.schedule).final_loss == pytest.approx(each.final_loss, rel=1e-9)
        assert each.final_loss >= each.alone - 1e-5
        assert each.start == each.schedule.steps - round(found.share * each.schedule.steps)
    constant = [
        PLAIN.predict(
            f"wsd:peak=1e-3,steps={end},warmup=200,decay_start={end - round(0.2 * end)}"
        ).final_loss
        for end in (3000, 4500, 6000)
    ]
    assert found.value <= np.mean(constant) + 1e-6
    json = found.as_json()
    assert json["updates"] < json["updates_apart"] == 13_500
    with pytest.raises(UsageError, match="two different ones"):
        optimize_branches(CLOCK, steps=6000, horizons=[6000], peak=1e-3)
    with pytest.raises(UsageError, match="horizon 300 is too short"):
        optimize_branches(CLOCK, steps=6000, horizons=[300], peak=1e-3, warmup=200)


def test_the_peak_is_searched_where_the_fit_spans_peaks() -> None:
    span = Range((2e-4, 4e-3), 5000, 0.0, {}, None)
    law = replace(CLOCK, range=span)
    best = optimize(law, steps=3000, peak=(2e-4, 4e-3), warmup=200)
    peaks = np.geomspace(2e-4, 4e-3, 7)
    fixed = [optimize(law, steps=3000, peak=float(peak), warmup=200).final_loss for peak in peaks]
    assert best.final_loss <= min(fixed) + 2e-4
    assert any("was searched in 0.0002 to 0.004" in note for note in best.notes)
    pinned = optimize(law, steps=3000, peak=(2e-4, 4e-3), warmup=200, fixed={1500: 2e-3})
    assert pinned.schedule.lr[1500] == pytest.approx(2e-3) and pinned.schedule.peak_lr >= 2e-3
    with pytest.raises(UsageError, match=r"leaves the fitted 0\.0002 to 0\.004"):
        optimize(law, steps=3000, peak=(2e-4, 8e-3))
    narrow = replace(CLOCK, range=replace(span, peak_lr=(1e-3, 1e-3)))
    with pytest.raises(UsageError, match="several peaks"):
        optimize(narrow, steps=3000, peak=(5e-4, 2e-3))


def test_weight_decay_is_searched_with_the_rate() -> None:
    plain = optimize(CLOCK, steps=3000, peak=1e-3, warmup=200)
    both = optimize(CLOCK, steps=3000, peak=1e-3, warmup=200, weight_decay=(0.05, 0.4))
    assert plain.weight_decay is None
    assert both.weight_decay is not None and both.weight_decay.shape == (3000,)
    assert both.weight_decay.min() >= 0.05 - 1e-12 and both.weight_decay.max() <= 0.4 + 1e-12
    assert both.final_loss < plain.final_loss
    again = CLOCK.predict(both.schedule, [2999], traces={"weight_decay": both.weight_decay})
    assert again.final_loss == pytest.approx(both.final_loss, rel=1e-9)
    with pytest.raises(UsageError, match="must be a range"):
        optimize(CLOCK, steps=3000, peak=1e-3, weight_decay=(0.2, 0.1))


def test_updates_already_done_keep_their_weight_decay() -> None:
    """In the rates of cells, which the search uses, as in the result."""
    decays = DecayRange(0.05, 0.4, 0.1)
    constraints = ScheduleConstraints(steps=400, peak=1e-3, prefix=np.full(130, 1e-3))
    variables = np.random.default_rng(0).uniform(0.05, 0.4, decays.count)
    every_step = decays.every_step(variables, constraints)
    assert np.all(every_step[:130] == 0.1) and np.all(every_step[130:] != 0.1)
    cells = cells_of(400, growth=0.0)  # single steps
    offset, matrix = decay_rows(decays, cells, constraints, (400, decays.count + 3))
    assert not matrix[:, :3].any()
    np.testing.assert_allclose(offset + matrix[:, 3:] @ variables, every_step, rtol=1e-12)


@pytest.mark.parametrize("peak", [1e-5, 1.0])
def test_the_lowest_rate_is_a_share_of_the_peak(peak: float) -> None:
    law = replace(PLAIN, range=Range((peak, peak), 1000, 0.5))
    plan = schedule(f"linear:peak={peak!r},end={0.2 * peak!r},steps=400")
    distance = range_distance(law, plan.lr, {})
    assert distance == {"lowest_lr": pytest.approx(0.5 - plan.lr[-1] / peak)}


def test_leaving_the_fitted_range_is_reported_and_penalised() -> None:
    span = Range((3e-4, 3e-4), 1000, 0.1, {}, 1500)
    law = measured(PLAIN, 0.0, range=span)
    best, free = optimize(law, **FRAME), optimize(replace(law, range=None), **FRAME)
    assert best.distance["steps"] == pytest.approx(np.log2(3000 / 1001), rel=1e-6)
    assert free.distance == {}
    assert 0 < best.distance["lowest_lr"] <= 0.1
    assert best.schedule.lr[-1] > free.schedule.lr[-1]  # closer to the fitted range
    assert free.final_loss <= best.final_loss + 1e-9


def test_errors_of_two_schedules_cancel_as_far_as_they_are_shared() -> None:
    # of a final loss, not of a point of a curve
    error = Uncertainty("leave_one_run_out", 1e-3, 3, 5e-4, 1e-3, 9.0, 2.0, 4.0)
    law = replace(PLAIN, uncertainty=error)
    same, zero = schedule("linear:peak=3e-4,steps=300"), schedule("constant:peak=3e-4,steps=300")
    scored = [
        ScoredSchedule(plan, law.predict(plan, [299]).final_loss, 0.0) for plan in (same, zero)
    ]
    best = scored[0]
    gains = gains_on(law, best, scored, {})
    low, high = gains[same.spec].interval_90 or (np.nan, np.nan)
    assert high - low == pytest.approx(0.0, abs=1e-12)
    assert shared_error(same.lr, zero.lr) == 0.0  # far apart: the variances add up
    low, high = gains[zero.spec].interval_90 or (np.nan, np.nan)
    decayed = 1.0 - 1.0 / 300.0
    variance = 2.0 * 5e-4**2 + (1e-3 * decayed) ** 2
    assert high - low == pytest.approx(2.0 * 2.0 * np.sqrt(variance) * best.final_loss, rel=1e-9)


def test_gains_have_paired_intervals() -> None:
    law = measured(PLAIN)
    best = optimize(law, **FRAME)
    for spec, gain in best.gains.items():
        assert gain.gain == pytest.approx(best.baselines[spec] - best.final_loss, abs=1e-12)
        assert gain.interval_90 is not None
        low, high = gain.interval_90
        assert low + high == pytest.approx(2 * gain.gain, abs=1e-12)
        assert gain.distinguishable == (low > 0)
    near = min(best.gains.values(), key=lambda each: each.gain)
    far = max(best.gains.values(), key=lambda each: each.gain)
    assert near.interval_90 is not None and far.interval_90 is not None
    widths = [each[1] - each[0] for each in (near.interval_90, far.interval_90)]
    assert widths[0] < widths[1]  # similar schedules share their errors
    ends = best.interval()
    assert ends is not None and widths[0] < ends[1] - ends[0]
