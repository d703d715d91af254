"""Profiles: lowest at the fit, rising to both sides, the same as fits with a given parameter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from scaling_laws.common.errors import LawError, UsageError
from scaling_laws.data.runs import Run
from scaling_laws.inference.fitting import fit, profile, profiles
from scaling_laws.inference.results import CurveFit, PointFit
from scaling_laws.models.laws import get_schedule_law
from tests.fitting.test_fit import synthetic

LAW = get_schedule_law("multi_power")
TRUTH = {"L0": 2.5, "A": 0.3, "B": 150.0, "alpha": 0.5, "C": 2.0, "beta": 0.5, "gamma": 0.5}
QUICK = {"starts": 2, "hold_out": False, "draws": 0}


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    return synthetic(LAW, TRUTH, noise=1e-3)


@pytest.fixture(scope="module")
def fitted(runs: list[Run]) -> CurveFit:
    return fit(LAW, runs, **{**QUICK, "draws": 12})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def found(runs: list[Run], fitted: CurveFit) -> dict[str, profiles.Profile]:
    return profile(fitted, runs, points=7)


def test_lowest_at_the_fit_and_rising_to_both_sides(
    fitted: CurveFit, found: dict[str, profiles.Profile]
) -> None:
    assert list(found) == ["alpha", "C", "beta", "gamma"]
    for name, each in found.items():
        assert each.values.shape == each.objective.shape == (7,)
        assert each.fit == fitted.params[name]
        assert each.values[3] == pytest.approx(each.fit, rel=1e-9)
        assert (np.diff(each.values) > 0).all()
        assert (np.diff(each.objective[:4]) < 0).all(), name
        assert (np.diff(each.objective[3:]) > 0).all(), name


def test_all_profiles_agree_at_the_fit_on_the_objective_with_its_prior(
    fitted: CurveFit, found: dict[str, profiles.Profile]
) -> None:
    record = fitted.record
    assert record is not None and LAW.rescale is not None
    at_peak_one = LAW.rescale(dict(fitted.params), 1.0 / 1e-3)
    prior = sum(
        0.5 * strength * ((np.log(at_peak_one[name]) - centre) / spread) ** 2
        for name, (centre, spread, strength) in record.prior.items()
    )
    assert prior > 0
    for each in found.values():
        assert each.objective[3] == pytest.approx(record.objective + prior, rel=1e-6)


def test_reach_follows_the_draws_but_is_no_less_than_a_half(
    fitted: CurveFit, runs: list[Run], found: dict[str, profiles.Profile]
) -> None:
    free = np.log(fitted.draws["beta"])
    low, high = np.quantile(free, [0.1587, 0.8413])
    reach = max(0.5, 3.0 * 0.5 * (high - low))
    assert np.log(found["beta"].values[-1] / found["beta"].fit) == pytest.approx(reach)
    wide = profile(fitted, runs, names=["beta"], points=3, width=1e-3)
    np.testing.assert_allclose(
        wide["beta"].values / fitted.params["beta"], np.exp([-0.5, 0.0, 0.5]), rtol=1e-9
    )


def test_interval_is_the_middle_of_the_draws(
    fitted: CurveFit, found: dict[str, profiles.Profile]
) -> None:
    for name in ("alpha", "beta", "gamma"):  # their unit holds no learning rate
        interval = found[name].interval_90
        assert interval is not None
        expected = np.quantile(np.log(fitted.draws[name]), [0.05, 0.95])
        np.testing.assert_allclose(np.log(interval), expected, rtol=1e-9)
    assert LAW.rescale is not None  # C is shown in the unit that the fit's gamma gives it
    interval = found["C"].interval_90
    assert interval is not None
    at_peak_one = fitted.draws["C"] * 1e3 ** (fitted.draws["gamma"] - 1.0)
    expected = np.quantile(np.log(at_peak_one), [0.05, 0.95])
    logged = expected + (1.0 - fitted.params["gamma"]) * np.log(1e3)
    np.testing.assert_allclose(np.log(interval), logged, rtol=1e-9)


def test_pinned_values_are_those_of_fits_with_a_given_parameter(runs: list[Run]) -> None:
    """Without a prior, a profile is the lowest objective with the parameter given."""
    fitted = fit(LAW, runs, prior="none", objective="least-squares", **QUICK)  # type: ignore[arg-type]
    found = profile(fitted, runs, names=["gamma", "beta"], points=3)
    assert list(found) == ["gamma", "beta"]
    for name, each in found.items():
        assert each.interval_90 is None
        for value, objective in zip(each.values, each.objective, strict=True):
            again = fit(
                LAW,
                runs,
                fix={name: float(value)},
                prior="none",
                objective="least-squares",
                **QUICK,  # type: ignore[arg-type]
            )
            assert again.params[name] == pytest.approx(value, rel=1e-9)
            assert again.record is not None and again.record.lowest is not None
            assert objective == pytest.approx(again.record.lowest, rel=2e-4)


def test_given_tied_and_weighted(runs: list[Run]) -> None:
    weights = {"cosine": 3.0}
    fitted = fit(
        LAW, runs, fix={"beta": 0.4}, tie={"gamma": "alpha"}, weights=weights, prior="none", **QUICK
    )  # type: ignore[arg-type]
    record = fitted.record
    assert record is not None and record.lowest is not None
    found = profile(fitted, runs, points=3, weights=weights)
    assert list(found) == ["alpha", "C"]
    for each in found.values():
        assert each.objective[1] == pytest.approx(record.lowest, rel=1e-6)
        assert each.objective[1] == each.objective.min()
    with pytest.raises(UsageError, match="unknown searched nonlinear parameter 'beta'"):
        profile(fitted, runs, names=["beta"])


def test_fit_in_the_unit_of_the_logs(runs: list[Run]) -> None:
    """A given parameter whose unit holds the LR: nothing is scaled, the prior moves with it."""
    fitted = fit(LAW, runs, fix={"B": 150.0}, **QUICK)  # type: ignore[arg-type]
    found = profile(fitted, runs, points=3)
    lowest = {each.objective[1] for each in found.values()}
    assert max(lowest) == pytest.approx(min(lowest), rel=1e-6)
    for each in found.values():
        assert each.objective[1] == each.objective.min()
        assert each.values[1] == pytest.approx(each.fit, rel=1e-9)


def test_bounds_are_kept_and_a_fit_on_one_has_fewer_points(runs: list[Run]) -> None:
    fitted = fit("linear_drop", runs, **QUICK)  # type: ignore[arg-type]
    bounds = {each.name: each.bounds for each in fitted.law.parameters}["alpha"]
    wild = {name: np.full(4, value) for name, value in fitted.params.items()}
    wild["alpha"] = np.array([1e-3, 1e-2, 5.0, 50.0])
    far = profile(replace(fitted, draws=wild), runs, points=5)["alpha"]
    assert far.values[[0, -1]] == pytest.approx(bounds, rel=1e-9)
    assert np.isfinite(far.objective).all()
    on_bound = replace(fitted, params={**fitted.params, "alpha": bounds[1]})
    near = profile(on_bound, runs, points=5)["alpha"]
    assert near.values.shape == (3,)
    assert near.values[-1] == pytest.approx(bounds[1], rel=1e-9)


def test_all_points_are_solved_in_one_call(
    runs: list[Run], fitted: CurveFit, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def counted(solver: Any, data: Any, requests: Any, *rest: Any, **options: Any):
        calls.append((len(requests.observed), options["stage"]))
        return solve(solver, data, requests, *rest, **options)

    solve = profiles.solve
    monkeypatch.setattr(profiles, "solve", counted)
    profile(fitted, runs, points=3)
    assert calls == [(12, "multi_power: profiles")]


def test_nothing_searched_no_profile(runs: list[Run]) -> None:
    fitted = fit("linear_drop", runs, fix={"alpha": 0.5}, **QUICK)  # type: ignore[arg-type]
    assert profile(fitted, runs) == {}


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"points": 4}, UsageError, "points=4 must be an odd number >= 3"),
        ({"points": 1}, UsageError, "points=1"),
        ({"width": 0.0}, UsageError, "width=0.0 must be a number > 0"),
        ({"width": np.nan}, UsageError, "width=nan"),
        ({"names": ["bta"]}, UsageError, "parameter 'bta'; did you mean 'beta'"),
        ({"names": ["L0"]}, UsageError, "parameter 'L0'"),
        ({"fitted": PointFit.published("chinchilla", "hoffmann")}, LawError, "not take a sch"),
        ({"fitted": CurveFit.published("multi_power", "25M")}, LawError, "given, not fitted"),
    ],
)
def test_refuses_clearly(
    runs: list[Run],
    fitted: CurveFit,
    change: dict[str, Any],
    error: type[Exception],
    words: str,
) -> None:
    arguments = {"runs": runs, "fitted": fitted, **change}
    with pytest.raises(error, match=words):
        profile(**arguments)


def test_runs_of_another_fit_are_refused(runs: list[Run], fitted: CurveFit) -> None:
    with pytest.raises(UsageError, match="the fit used runs cosine, constant, drop, not"):
        profile(fitted, runs[:2])
    fewer = [run.from_step(200) for run in runs]
    with pytest.raises(UsageError, match=r"these runs have \d+ points, the fit had"):
        profile(fitted, fewer)
