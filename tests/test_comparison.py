"""Comparisons of laws: what is held out, who wins, and when nobody does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from scaling_laws.common.errors import FitError, LawError, ScalingLawsError, UsageError
from scaling_laws.data.runs import Run
from scaling_laws.inference.comparison import (
    PRESETS,
    Comparison,
    Difference,
    LawScore,
    compare,
    hold_out_of,
    preset_of,
)
from scaling_laws.inference.comparison import ranking as module
from scaling_laws.inference.comparison.hold_outs import HoldOut
from scaling_laws.inference.comparison.scores import mean_intervals
from scaling_laws.inference.fitting import HeldOut, HeldOutFit, fit
from scaling_laws.inference.metrics import mean_metrics
from scaling_laws.inference.results import CurveFit, evaluate
from scaling_laws.models.laws import get_schedule_law
from scaling_laws.models.schedules import schedule

DROP = CurveFit.of("linear_drop", {"L0": 2.0, "A": 0.5, "alpha": 0.5, "B": 150.0})
POWER = CurveFit.of("power", {"L0": 2.0, "A": 0.5, "alpha": 0.5})
MIXED = {
    "constant": "constant:peak=1e-3,steps=1500,warmup=50",
    "cosine": "cosine:peak=1e-3,end=1e-4,steps=2000,warmup=50",
    "drop": "multistage:peak=1e-3,at=900,to=2e-4,steps=1500,warmup=50",
    "linear": "linear:peak=1e-3,end=0,steps=1200,warmup=50",
    "wsd": "wsd:peak=1e-3,steps=1800,warmup=50,decay_fraction=0.3",
    "late": "multistage:peak=1e-3,at=1400,to=1e-4,steps=1800,warmup=50",
}
LEVEL = {
    f"level_{steps}_{peak}": f"constant:peak={peak},steps={steps}"
    for steps in (800, 1300, 2000)
    for peak in ("1e-3", "5e-4")
}


def draw(truth: CurveFit, specs: Mapping[str, str], noise: float, seed: int = 0) -> list[Run]:
    """Runs that a law gives, with noise in log loss."""
    generator = np.random.default_rng(seed)
    runs = []
    for name, spec in specs.items():
        plan = schedule(spec)
        steps = np.arange(100, plan.steps, 50)
        loss = truth.predict(plan, steps).loss
        runs.append(Run(name, plan, steps, loss * np.exp(noise * generator.normal(size=len(loss)))))
    return runs


def bare(name: str, peak: float, steps: int, points: int = 10) -> Run:
    """A run whose losses do not matter."""
    plan = schedule(f"constant:peak={peak},steps={steps}")
    return Run(name, plan, np.linspace(0, steps - 1, points).astype(int), np.full(points, 3.0))


@pytest.fixture(scope="module")
def mixed() -> list[Run]:
    return draw(DROP, MIXED, 1e-3)


@pytest.fixture(scope="module")
def result(mixed: list[Run]) -> Comparison:
    return compare("power, linear_drop", mixed, starts=2)


# ---------------------------------------------------------------- what is held out


def test_one_run_at_a_time() -> None:
    held = hold_out_of([bare("a", 1e-3, 100), bare("b", 1e-3, 100), bare("c", 2e-3, 50)], "run")
    assert held.folds == ({"a": 0}, {"b": 0}, {"c": 0})
    assert not held.by_fold


def test_many_runs_in_groups() -> None:
    runs = [bare(f"r{number:02}", 1e-3, 100) for number in range(43)]
    held = hold_out_of(runs, "run")
    assert len(held.folds) == 40
    assert held.folds[0] == {"r00": 0, "r40": 0} and held.folds[39] == {"r39": 0}
    assert sorted(name for fold in held.folds for name in fold) == [run.name for run in runs]


def test_one_peak_at_a_time_and_nearly_equal_ones_together() -> None:
    runs = [
        bare("low", 1e-4, 100),
        bare("high", 1e-3, 100),
        bare("near", 1.009e-4, 100),
        bare("apart", 1.012e-4, 100),
    ]
    held = hold_out_of(runs, "peak")
    assert held.folds == ({"low": 0, "near": 0}, {"apart": 0}, {"high": 0})
    assert held.by_fold


@pytest.mark.parametrize(
    ("lengths", "long"),
    [
        ((100, 200, 300, 400), (300, 400)),  # 200 is half of 400
        ((100, 150, 201, 400), (201, 400)),
        ((100, 150, 180), (150, 180)),  # none is short: the shortest is
        ((100, 200), (200,)),
    ],
)
def test_short_runs_predict_long_ones(lengths: tuple[int, ...], long: tuple[int, ...]) -> None:
    held = hold_out_of([bare(f"r{each}", 1e-3, each) for each in lengths], "horizon")
    assert held.folds == ({f"r{each}": 0 for each in long},)


def test_the_last_share_of_logged_steps() -> None:
    long, short = bare("long", 1e-3, 1000, points=10), bare("short", 1e-3, 60, points=2)
    (fold,) = hold_out_of([long, short], "last", 0.2).folds
    assert fold == {"long": long.steps[8], "short": short.steps[1]}
    (fold,) = hold_out_of([long], "last", 0.5).folds
    assert fold == {"long": long.steps[5]}


@pytest.mark.parametrize(
    ("runs", "name", "last", "words"),
    [
        ([bare("a", 1e-3, 100)], "run", 0.2, "there is only 'a'; these runs allow: last"),
        (
            [bare("a", 1e-3, 100), bare("b", 1e-3, 200)],
            "peak",
            0.2,
            "2 runs here, all of peak 0.001; these runs allow: run, horizon, last",
        ),
        (
            [bare("a", 1e-3, 100), bare("b", 2e-3, 100)],
            "horizon",
            0.2,
            "2 runs here, all of 100 steps; these runs allow: run, peak, last",
        ),
        (
            [bare("a", 1e-3, 100), bare("b", 1e-3, 90, points=1)],
            "last",
            0.2,
            "run 'b' has 1, and a share of 0.2 leaves none to fit; these runs allow: run, horizon",
        ),
        ([bare("a", 1e-3, 90, points=1)], "last", 0.2, "they allow no other"),
        ([bare("a", 1e-3, 100)], "tail", 0.2, "unknown hold-out 'tail'"),
        ([bare("a", 1e-3, 100)], "last", 1.0, "last=1.0 must be a share between 0 and 1"),
        ([bare("a", 1e-3, 100)], "last", float("nan"), "last=nan must be a share"),
        ([], "run", 0.2, "no runs"),
    ],
)
def test_impossible_hold_outs(runs: list[Run], name: str, last: float, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        hold_out_of(runs, name, last)


# ---------------------------------------------------------------- who wins


def test_the_law_behind_the_runs_wins(result: Comparison) -> None:
    assert list(result.laws) == ["linear_drop", "power"]
    assert (result.best, result.units) == ("linear_drop", 6)
    best, wrong = result.laws.values()
    assert best.mean["pred_e"] == pytest.approx(np.sqrt(2 / np.pi) * 1e-3, rel=0.3)  # the noise
    assert wrong.difference.distinguishable and not best.difference.distinguishable
    assert wrong.difference.pred_e == pytest.approx(wrong.mean["pred_e"] - best.mean["pred_e"])
    assert wrong.difference.pred_e_90 is not None
    low, high = wrong.difference.pred_e_90
    assert 0 < low < wrong.difference.pred_e < high
    assert best.difference == Difference(0.0, (0.0, 0.0), 0.0, (0.0, 0.0), False)
    assert best.aic < wrong.aic and best.bic < wrong.bic
    assert result.advice == "Use linear_drop: no law with fewer parameters predicts as well."
    assert "bootstrap over 6 runs" in result.interval


def test_numbers_are_those_of_their_definitions(result: Comparison) -> None:
    for score in result.laws.values():
        assert set(score.runs) == set(MIXED)
        assert score.mean == mean_metrics(list(score.runs.values()))
        assert score.effective_points == 60  # ten a run
        fit_term = 60 * np.log(score.log_error**2)
        assert score.aic == pytest.approx(fit_term + 2 * score.n_params)
        assert score.bic == pytest.approx(fit_term + np.log(60) * score.n_params)
    assert [score.n_params for score in result.laws.values()] == [4, 3]


def test_a_fold_is_a_fit_of_the_other_runs(mixed: list[Run], result: Comparison) -> None:
    others = [run for run in mixed if run.name != "drop"]
    (left,) = (run for run in mixed if run.name == "drop")
    for name, score in result.laws.items():
        fitted = fit(name, others, starts=4, hold_out=False, draws=0)
        direct = evaluate(fitted, [left]).runs["drop"]
        found = score.runs["drop"]
        assert found["n"] == direct["n"]
        for key in ("mae", "rmse", "final_error"):
            assert found[key] == pytest.approx(direct[key], abs=1e-3 * direct["mae"] + 1e-5)


def test_order_of_runs_does_not_matter_and_seeds_repeat(
    mixed: list[Run], result: Comparison
) -> None:
    turned = compare(["power", "linear_drop"], {run.name: run for run in mixed[::-1]}, starts=2)
    assert turned.as_json() == result.as_json()


def test_laws_that_say_the_same_are_not_distinguishable() -> None:
    """At a constant rate both laws are the power law; only their parameters differ."""
    runs = draw(POWER, LEVEL, 1e-3)
    laws = ["multi_power", "lr_annealing"]
    found = compare(laws, runs, prior="none", starts=2)
    assert not any(each.difference.distinguishable for each in found.laws.values())
    assert found.units == 6
    assert found.advice.startswith("Use lr_annealing: ")


def test_peaks_are_resampled_whole() -> None:
    found = compare("power", draw(POWER, LEVEL, 1e-3), hold_out="peak", starts=2)
    assert found.units == 2 and found.interval.startswith("paired Student t; 2 peaks")
    assert len(found.laws["power"].runs) == len(LEVEL)


def test_one_held_out_run_tells_nothing_apart(mixed: list[Run]) -> None:
    found = compare("power,linear_drop", mixed[:2], hold_out="horizon", starts=1)
    for score in found.laws.values():
        assert list(score.runs) == ["cosine"]
        assert score.difference.pred_e_90 is None and not score.difference.distinguishable
    assert "one held-out run does not distinguish laws" in found.advice


def test_the_rest_of_named_runs(mixed: list[Run]) -> None:
    held = hold_out_of(mixed, "rest", fit_runs=("constant", "drop", "wsd", "late"))
    assert held.folds == ({"cosine": 0, "linear": 0},)
    assert "2 runs, predicted from constant, drop, wsd and 1 more" in held.description
    result = compare(
        "linear_drop", mixed, hold_out="rest", fit_runs=["constant", "drop", "wsd"], starts=2
    )
    assert set(result.laws["linear_drop"].runs) == {"cosine", "linear", "late"}
    worst = max(abs(each["final_error"]) for each in result.laws["linear_drop"].runs.values())
    assert result.laws["linear_drop"].worst_final_error == worst
    assert result.as_json()["laws"]["linear_drop"]["worst_final_error"] == worst
    for names, words in ((("cosinus",), "cosine"), ((), "0 of 6"), (tuple(MIXED), "6 of 6")):
        with pytest.raises(UsageError, match=words):
            hold_out_of(mixed, "rest", fit_runs=names)


def test_presets_choose_their_runs() -> None:
    runs = [bare(f"set{place}/run", peak, 100) for place, peak in enumerate((1e-4, 5e-4, 1e-3))]
    assert PRESETS["lower-peak"].fit_runs(runs) == ["set1/run", "set2/run"]
    assert PRESETS["higher-peak"].fit_runs(runs) == ["set0/run", "set1/run"]
    three = [bare(name, 1e-3, 100) for name in ("cosine_24000", "a/constant_24000", "wsdcon_9")]
    others = [bare("wsdcon_19", 1e-3, 100)]
    assert preset_of("published").fit_runs([*three, *others]) == [run.name for run in three]
    with pytest.raises(UsageError, match="this preset fits cosine_24000"):
        preset_of("published").fit_runs(runs)
    with pytest.raises(UsageError, match="published"):
        preset_of("publishd")


def test_ends_of_runs(mixed: list[Run]) -> None:
    found = compare("linear_drop", mixed, hold_out="last", last=0.25, starts=2, from_step=300)
    for run in mixed:
        kept = int((run.steps >= 300).sum())
        assert found.laws["linear_drop"].runs[run.name]["n"] == round(0.25 * kept)
    assert found.advice.startswith("Only linear_drop was compared")


def test_frame_holds_the_same_numbers(result: Comparison) -> None:
    frame = result.to_frame()
    assert list(frame.index) == list(result.laws)
    power = result.laws["power"]
    assert frame.loc["power", "pred_e"] == power.mean["pred_e"]
    assert frame.loc["power", "difference"] == power.difference.pred_e
    low, high = frame.loc["power", "difference_low"], frame.loc["power", "difference_high"]
    assert (low, high) == power.difference.pred_e_90
    assert bool(frame.loc["power", "distinguishable"])


# ---------------------------------------------------------------- laws that take no part


def test_all_laws_are_those_that_the_runs_can_serve(
    mixed: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of them fails; the others go on."""

    def pretend(law: Any, runs: list[Run], folds: Any, **options: Any) -> HeldOutFit:
        if law.name == "convex_bound":
            raise FitError("convex_bound: none of 8 starts succeeded")
        nothing = law.name == "collapse_noise"
        held = [
            HeldOut(run.name, place, run.steps, run.loss, run.loss * (1e-9 if nothing else 1.01))
            for place, run in enumerate(runs)
        ]
        return HeldOutFit(tuple(held), (), 0.01, 60.0, len(law.parameters))

    monkeypatch.setattr(module, "cross_validate", pretend)
    found = compare("all", mixed)
    assert set(found.skipped) >= {"continual", "functional_noise_norms", "lr_annealing_size"}
    assert "needs transfer_step" in found.skipped["continual"]
    assert "needs param_norm at every step" in found.skipped["functional_noise_norms"]
    assert found.failed == {
        "convex_bound": "convex_bound: none of 8 starts succeeded",
        "collapse_noise": "collapse_noise: the refit without constant did not succeed",
    }
    # equal errors: fewest parameters first, then by name
    assert list(found.laws)[:2] == ["exponential_forecast", "power"]
    assert "multi_power" in found.laws
    sized = [replace(run, facts={"model_params": 1e7}) for run in mixed]
    assert "lr_annealing_size" in compare("all", sized).laws
    with pytest.raises(FitError, match="no law could be fitted: convex_bound: none of 8"):
        compare("convex_bound", mixed)


def test_a_law_with_too_many_parameters_for_a_fold_has_no_rank() -> None:
    runs = [
        replace(run.at(np.arange(4)), name=f"r{place}")
        for place, run in enumerate(draw(POWER, dict(list(LEVEL.items())[:2]), 1e-3))
    ]
    found = compare(["power", "linear_drop"], runs, starts=2)
    assert list(found.laws) == ["power"]
    assert "has 4 parameters and 4 points remain without r0" in found.failed["linear_drop"]


@pytest.mark.parametrize(("kept", "enough"), [(3, False), (4, False), (5, True)])
def test_points_from_the_first_held_out_step_on_do_not_count(kept: int, enough: bool) -> None:
    (run,) = draw(POWER, dict(list(LEVEL.items())[:1]), 1e-3)
    held = HoldOut("last", ({run.name: int(run.steps[kept])},), False, "")
    law = get_schedule_law("linear_drop")
    if enough:
        module._check_points(law, [run], held)
    else:
        with pytest.raises(FitError, match=f"4 parameters and {kept} points remain"):
            module._check_points(law, [run], held)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"laws": "power,linear_drp"}, LawError, "did you mean 'linear_drop'"),
        ({"laws": "chinchilla"}, LawError, "chinchilla does not take a schedule"),
        ({"laws": "power,continual"}, LawError, "continual needs transfer_step"),
        ({"laws": " , "}, UsageError, "names no law"),
        ({"laws": []}, UsageError, "names no law"),
        ({"hold_out": "peak"}, UsageError, "these runs allow: run, horizon, last"),
        ({"starts": 0}, UsageError, "starts=0 must be >= 1"),
        ({"prior": "strong"}, UsageError, "prior='strong'"),
        ({"objective": "absolute"}, UsageError, "unknown objective 'absolute'"),
        ({"from_step": 10**6}, UsageError, "no point at or after step 1000000"),
        ({"runs": []}, UsageError, "no runs"),
        (
            {"runs": [bare("a", 1e-3, 99), bare("a", 1e-3, 50)]},
            UsageError,
            "two runs are named 'a'",
        ),
    ],
)
def test_refuses_clearly(
    mixed: list[Run], change: dict[str, Any], error: type[ScalingLawsError], words: str
) -> None:
    with pytest.raises(error, match=words):
        compare(**{"runs": mixed, "laws": "power", **change})


# ---------------------------------------------------------------- intervals and advice


def test_student_interval_of_few() -> None:
    """By hand: mean 2, standard deviation 1, three runs; t quantile 2.919986 at two degrees."""
    low, high, method, units = mean_intervals(np.array([[1.0], [2.0], [3.0]]), np.arange(3), 0)
    half = 2.919986 / np.sqrt(3)
    assert (low[0], high[0]) == (pytest.approx(2 - half), pytest.approx(2 + half))
    assert units == 3 and "Student t" in method


def test_runs_of_a_group_count_once() -> None:
    values = np.array([[1.0], [2.0], [3.0]])
    once = mean_intervals(values, np.arange(3), 0)
    thrice = mean_intervals(np.repeat(values, 3, axis=0), np.repeat(np.arange(3), 3), 0)
    np.testing.assert_allclose(thrice[0], once[0])
    np.testing.assert_allclose(thrice[1], once[1])
    assert np.isnan(mean_intervals(values, np.zeros(3, dtype=int), 0)[0]).all()


def test_bootstrap_interval_of_many() -> None:
    values = np.random.default_rng(1).normal(0.3, 1.0, size=(400, 1))
    low, high, method, _ = mean_intervals(values[None], np.arange(400), seed=4)
    half = 1.645 * values.std() / 20
    np.testing.assert_allclose(
        [low[0, 0], high[0, 0]], values.mean() + np.array([-half, half]), atol=0.05 * half
    )
    assert "bootstrap" in method
    again = mean_intervals(values[None], np.arange(400), seed=4)
    np.testing.assert_array_equal(again[0], low)
    assert (mean_intervals(values[None], np.arange(400), seed=5)[0] != low).all()


def scored(error: float, n_params: int, apart: bool, final: tuple[float, float] | None) -> LawScore:
    mean = {"pred_e": error, "abs_final_error": error if final is None else error + final[0]}
    gap = Difference(0.0, (0.0, 1.0), 0.0, final, apart)
    return LawScore(mean, {}, n_params, 0.01, 10.0, 0.0, 0.0, gap)


def test_advice_is_the_simplest_of_equals_that_is_not_far_off(result: Comparison) -> None:
    laws = {
        "rich": scored(1.0, 9, False, (0.0, 0.0)),
        "lean": scored(1.2, 5, False, (-0.9, -0.5)),
        "worse": scored(1.2, 4, True, (-0.1, 0.1)),
        "far": scored(3.0, 2, False, (-0.1, 0.1)),  # its interval holds zero for being wide
    }
    found = replace(result, laws=laws, repeats=None)
    assert found.advice.startswith("Use lean: ")
    assert "(rich, 9 parameters), it has the fewest parameters, 5." in found.advice
    (note,) = found.notes
    assert note.startswith(
        "Final losses alone are predicted better by lean: its mean absolute error is 0.3"
    )
    assert replace(found, laws={**laws, "lean": laws["rich"]}).notes == ()
