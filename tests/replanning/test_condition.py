"""Priors conditioned on runs: what a log does not determine keeps its prior."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scaling_laws as sl
from scaling_laws.common.errors import FitError, LawError
from scaling_laws.data.runs import Run
from scaling_laws.decisions.replanning.batched_losses import POINTS
from scaling_laws.decisions.replanning.binned_log import gather, settled_step
from scaling_laws.decisions.replanning.laplace import laplace_posterior
from scaling_laws.decisions.replanning.parameter_prior import (
    params_of,
    priors_of,
    shipped_prior,
    unconstrained_parameters,
)
from scaling_laws.decisions.replanning.posterior import LAW_ERROR, Posterior, condition_on_log
from scaling_laws.inference.fitting.priors import prior_of
from scaling_laws.inference.results import CurveFit, PointFit, Uncertainty
from scaling_laws.models.laws import LAWS, Law, get_schedule_law
from scaling_laws.models.numerics.precision import in_float64
from tests.helpers import FACTS, draw_values
from tests.replanning.runs import NOW, TRUTH, final_of, law_of, run_of


@pytest.mark.parametrize(
    "change", [{"L0": 3.0}, {"L0": 2.0, "A": 0.325, "B": 195.0}, {"L0": 2.8, "A": 0.2, "B": 120.0}]
)
def test_forecast_of_another_size(change: dict[str, float]) -> None:
    """The floor and the common scale of the other terms come from the run, their ratio does not."""
    truth = {**TRUTH, **change}
    run = run_of(truth, noise=1e-4)
    posterior = condition_on_log(run, gather(run, 30, NOW), NOW, law_of(TRUTH), 0)
    value, draws = posterior.end(run.schedule.lr)
    wanted = final_of(truth, run.schedule.lr)
    low, high = posterior.interval(value, run.schedule.lr, draws)
    assert posterior.laplace.prior.scope.label == "other" and low < wanted < high
    assert abs(value - wanted) < 0.01 * wanted
    assert posterior.laplace.misfit < 1e-3


def test_a_longer_log_reduces_the_variance() -> None:
    run = run_of(TRUTH)
    widths = []
    for now in (100, 200, 300, 400):
        posterior = condition_on_log(run, gather(run, 30, now), now, law_of(TRUTH), 0)
        laplace = posterior.laplace
        assert np.all(np.diag(laplace.covariance) <= np.diag(laplace.prior.covariance) + 1e-9)
        value, draws = posterior.end(run.schedule.lr)
        low, high = posterior.interval(value, run.schedule.lr, draws)
        widths.append(high - low)
    assert widths == sorted(widths, reverse=True)


@pytest.mark.parametrize("label", ["25M", "100M"])
def test_shipped_prior_alone(label: str) -> None:
    """A log at constant LR does not determine the gain of a decay; the prior does."""
    truth = get_schedule_law("norm_clock").published[label]
    spec = "wsd:peak=1e-3,steps=4000,warmup=100,decay_fraction=0.2"
    run = run_of(truth, spec, "norm_clock", 1e-3)
    law = get_schedule_law("norm_clock")
    points = gather(run, settled_step(run, 2000), 2000)
    posterior = condition_on_log(run, points, 2000, law, 0)
    value, draws = posterior.end(run.schedule.lr)
    low, high = posterior.interval(value, run.schedule.lr, draws)
    wanted = final_of(truth, run.schedule.lr, "norm_clock")
    assert posterior.laplace.prior.scope.label == "shipped" and low < wanted < high
    assert abs(value - wanted) < 0.02 * wanted


def test_use_of_the_law_s_facts_is_reported() -> None:
    truth = dict(get_schedule_law("norm_clock").published["25M"])
    run = run_of(truth, "constant:peak=1e-3,steps=600,warmup=20", "norm_clock")
    given = replace(CurveFit.of("norm_clock", truth), facts={"weight_decay": 0.1})
    posterior = condition_on_log(replace(run, facts={}), gather(run, 100, 400), 400, given, 0)
    assert posterior.notes[0].startswith("weight_decay 0.1 is the law's: the run does not state")


def test_law_without_weight_decay_falls_back() -> None:
    truth = get_schedule_law("norm_clock").published["25M"]
    run = run_of(truth, "constant:peak=1e-3,steps=600,warmup=20", "norm_clock")
    posterior = condition_on_log(
        replace(run, facts={}), gather(run, 100, 400), 400, get_schedule_law("norm_clock"), 0
    )
    assert posterior.fitted.law.name == "norm_clock_free_decay"
    assert "weight_decay" in posterior.notes[0]


def test_scopes_multiply_the_standard_deviations_of_the_draws() -> None:
    fitted = law_of(TRUTH)
    law = fitted.law
    weak = prior_of(law, "weak")
    assert weak is not None
    for prior in priors_of(fitted, 1.0):
        for index, parameter in enumerate(law.parameters):
            if parameter in law.linear_parameters:
                continue
            draws = parameter.transform.inverse(fitted.draws[parameter.name])
            shipped = prior.scope.share * weak.sd.get(parameter.name, 0.0)
            expected = np.hypot(shipped, prior.scope.widen * np.std(draws, ddof=1))
            assert np.sqrt(prior.covariance[index, index]) == pytest.approx(expected)


def test_gains_are_exact_where_two_schedules_share_all_errors() -> None:
    error = Uncertainty("run_so_far", 1e-3, 1, 1e-3, 0.0, 9.0, 2.0, 30.0)
    posterior = Posterior(replace(law_of(TRUTH), uncertainty=error), {}, None, ())  # type: ignore[arg-type]
    draws = np.random.default_rng(0).normal(1.0, 0.01, 50)
    assert posterior.gain_half_width(3.0, draws, draws, 1.0) == 0.0
    independent = posterior.gain_half_width(3.0, draws, draws + 0.5, 0.0)
    assert independent == pytest.approx(2.0 * LAW_ERROR * np.sqrt(2.0) * 3.0)


def test_window_moves_a_loss_to_its_middle() -> None:
    run = replace(run_of(TRUTH), window=5)
    assert gather(run, 0, 400).steps[:2].tolist() == [5, 15]  # of 4 and 9, of 14 and 19


@given(st.integers(4, 300), st.integers(0, 20))
@settings(max_examples=40)
def test_binned_losses_keep_the_mean(count: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    steps = np.sort(generator.choice(1000, count, replace=False))
    loss = np.exp(generator.normal(1.0, 0.1, count))
    run = Run("a run", sl.schedule("constant:peak=1,steps=1000"), steps, loss)
    points = gather(run, 0, 1000)
    assert points.logged == count and len(points.steps) == min(count, POINTS)
    assert (np.diff(points.steps) >= 0).all()
    assert points.steps[0] >= steps[0] and points.steps[-1] <= steps[-1]
    share = np.array([len(part) for part in np.array_split(steps, len(points.steps))]) / count
    assert float(share @ points.log_loss) == pytest.approx(float(np.mean(np.log(loss))))


@given(first=st.integers(0, 40), now=st.integers(60, 100))
def test_losses_of_completed_updates_are_used_and_no_others(first: int, now: int) -> None:
    loss = np.linspace(4.0, 3.0, 100)
    run = Run("a run", sl.schedule("constant:peak=1,steps=100"), np.arange(100), loss)
    points = gather(run, first, now)
    used = np.arange(first, now)  # update now - 1 is the last one completed
    assert points.logged == len(used)
    changed = replace(run, loss=np.where(np.isin(run.steps, used), loss, 9.0))
    np.testing.assert_array_equal(gather(changed, first, now).log_loss, points.log_loss)


@pytest.mark.parametrize(
    "law", [each for each in LAWS.values() if isinstance(each, Law)], ids=lambda e: e.name
)
def test_unconstrained_parameters_are_inverted(law: Law) -> None:
    values = draw_values(law, 3, 1e-3)
    free = unconstrained_parameters(law, values)
    again = {name: float(row[0]) for name, row in params_of(law, free[None]).items()}
    assert again == pytest.approx(values, rel=1e-9)


def test_an_amplitude_of_zero_stays_zero() -> None:
    prior = priors_of(CurveFit.of("linear_drop", {**TRUTH, "B": 0.0}), 1.0)[2]
    index = prior.law.names.index("B")
    assert not prior.covariance[index].any() and not prior.covariance[:, index].any()
    run = run_of({**TRUTH, "B": 0.0})
    with_none = condition_on_log(run, gather(run, 30, NOW), NOW, law_of({**TRUTH, "B": 0.0}), 0)
    assert with_none.fitted.params["B"] < 1e-6  # compared with 150


@in_float64
def test_evidence_prefers_the_narrowest_prior_that_explains_the_run() -> None:
    """A run of the law itself, then one with another floor."""
    run = run_of(TRUTH)
    points = gather(run, 30, NOW)
    every = [
        laplace_posterior(each, points, run.schedule.lr, {})
        for each in priors_of(law_of(TRUTH), 1.0)
    ]
    assert [each.prior.scope.label for each in every] == ["same", "near", "other"]
    assert every[0].evidence > every[1].evidence > every[2].evidence
    far = run_of({**TRUTH, "L0": 3.5})
    points = gather(far, 30, NOW)
    every = [
        laplace_posterior(each, points, far.schedule.lr, {})
        for each in priors_of(law_of(TRUTH), 1.0)
    ]
    assert every[2].evidence > max(every[0].evidence, every[1].evidence)
    assert 0.2 < every[0].prior_offset < 0.4  # a floor of 3.5 where the law has 2.5


def test_unsuitable_laws_are_errors() -> None:
    run = run_of(TRUTH)
    points = gather(run, 30, NOW)
    with pytest.raises(LawError, match="does not take a schedule"):
        condition_on_log(run, points, NOW, PointFit.published("chinchilla", "hoffmann"), 0)
    with pytest.raises(LawError, match="needs model_params"):
        given = CurveFit.of(
            "lr_annealing_size", draw_values(get_schedule_law("lr_annealing_size"), 0, 1e-3)
        )
        condition_on_log(run, points, NOW, given, 0)
    with pytest.raises(LawError, match="nothing is shipped"):
        shipped_prior(get_schedule_law("power"), points, run.schedule.lr, 1.0, FACTS)
    traced = replace(run, traces={"weight_decay": np.full(400, 0.1)})
    with pytest.raises(LawError, match="would need weight_decay at steps"):
        condition_on_log(traced, points, NOW, get_schedule_law("norm_clock"), 0)
    wild = CurveFit.of("linear_drop", {**TRUTH, "A": 1e308, "alpha": 4.0})
    with pytest.raises(FitError, match="not finite"):
        condition_on_log(run, points, NOW, wild, 0)


@pytest.mark.slow
def test_finished_public_runs_from_their_halves(shared_data: Path) -> None:
    """A law of another set, first halves of runs: the final losses are in the intervals."""
    fitted = CurveFit.published("norm_clock", "25M")
    runs = sl.load_runs(shared_data / "mpl_100m")
    for name in ("cosine_24000", "constant_24000", "wsd_20000_24000"):
        run = runs[name]
        now = run.schedule.steps // 2
        points = gather(run, settled_step(run, now), now)
        posterior = condition_on_log(run, points, now, fitted, 0)
        lr = run.schedule.lr[: int(run.steps[-1]) + 1]
        value, draws = posterior.end(lr)
        low, high = posterior.interval(value, lr, draws)
        assert low < float(run.loss[-1]) < high and abs(value - run.loss[-1]) < 0.02
