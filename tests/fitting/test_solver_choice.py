"""Every solve of a fit, its refits, folds and profiles goes through the solver that was chosen."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import pytest

from scaling_laws.common import UsageError
from scaling_laws.inference.fitting import SOLVERS, Solver, cross_validate, fit, multistart, profile
from scaling_laws.inference.fitting.bootstrap import BootstrapRequest, resample
from scaling_laws.inference.fitting.fit_data import prepare
from scaling_laws.inference.fitting.held_out import FOLD_DRAWS
from scaling_laws.inference.fitting.multistart import multistart_fit, refit_folds
from scaling_laws.inference.fitting.objective import Huber
from scaling_laws.inference.fitting.priors import prior_of
from scaling_laws.inference.fitting.problem import Solution, SolverStatus
from scaling_laws.inference.results import load_law
from scaling_laws.models.laws import get_schedule_law
from tests.fitting.test_pools import Elsewhere
from tests.fitting.test_solvers import runs

LAW = "power"
MARK = 12345  # iterations that only the solver below reports
SEEN: Counter[str] = Counter()  # requests and batches that it was given


@dataclass(frozen=True)
class Grid:
    """Solves nothing: the linear parameters at one, the others at their start."""

    name: str = "grid"
    batch_size: int = 3

    def init(self, context: Any, request: Any) -> tuple[np.ndarray, bool]:
        SEEN["requests"] += 1
        return np.asarray(request.start), False

    def step(self, context: Any, requests: Any, states: list[Any]) -> list[Any]:
        SEEN["batches"] += 1
        assert 1 <= len(states) <= self.batch_size and len(requests.start) == len(states)
        assert np.array_equal(requests.start, [start for start, _ in states])
        return [(start, True) for start, _ in states]

    def done(self, state: Any) -> bool:
        return bool(state[1])

    def result(self, state: Any) -> Solution:
        amplitudes = np.ones(len(get_schedule_law(LAW).linear_parameters))
        objective = 1.0 + float(np.sum(state[0] ** 2))
        return Solution(SolverStatus.CONVERGED, objective, state[0], amplitudes, MARK)


@pytest.fixture
def solver() -> Solver:
    SEEN.clear()
    return Grid()


def test_what_is_shipped_is_a_solver() -> None:
    assert set(SOLVERS) >= {"varpro", "scipy"}
    assert all(isinstance(each, Solver) for each in SOLVERS.values())
    assert isinstance(Grid(), Solver)


def test_a_fit_uses_its_solver_for_everything(solver: Solver) -> None:
    starts, draws = 4, 5
    fitted = fit(LAW, runs(), starts=starts, draws=draws, solver=solver)
    folds = len(runs())
    # then once without the prior and, exactly, from the best or from two that differ; a fold is
    # refitted from the fit and from the mean of the prior
    search = SEEN["requests"] - draws - 2 * folds - folds * FOLD_DRAWS
    assert starts + 2 <= search <= starts + 3
    assert fitted.record is not None and fitted.record.solver == "grid"
    assert fitted.draw_count == draws


def test_a_profile_uses_the_solver_of_the_record(
    solver: Solver, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    fitted = fit(LAW, runs(), starts=1, draws=0, hold_out=False, solver=solver)
    fitted.save(tmp_path / "law.json")
    fitted = load_law(tmp_path / "law.json")
    with pytest.raises(UsageError, match="unknown solver 'grid'"):
        profile(fitted, runs(), points=3)
    monkeypatch.setattr(SOLVERS, "_items", dict(SOLVERS._items))
    SOLVERS.register(solver)
    SEEN.clear()
    along = profile(fitted, runs(), points=3)
    assert SEEN["requests"] == sum(len(each.values) for each in along.values()) > 0
    SEEN.clear()
    profile(fitted, runs(), points=3, solver="varpro")
    assert not SEEN


def test_cross_validation_uses_its_solver(solver: Solver) -> None:
    first, second = runs()
    folds = [{first.name: 0}, {second.name: 0}]
    cross_validate(get_schedule_law(LAW), [first, second], folds, starts=1, solver=solver)
    assert SEEN["requests"] == 1 + 2 + 2 * len(folds)  # a start, without the prior, exactly


def test_refits_elsewhere_use_the_solver(solver: Solver) -> None:
    with jax.enable_x64(True):
        data = prepare(get_schedule_law(LAW), runs())
        result = multistart_fit(data, Huber(), prior_of(data.law, "weak"), 2, 0, solver)
        folds = [np.flatnonzero(data.run == index) for index in range(2)]
        refitted = refit_folds(data, result.best, result.settings, folds, Elsewhere())
    (drawn,) = resample(data, result.settings, [BootstrapRequest(result.best, 7)], Elsewhere())
    solutions = [*result.outcomes, result.best, *refitted, *drawn]
    assert len(solutions) == 2 + 1 + 2 + 7
    assert all(solution.iterations == MARK for solution in solutions)


def test_scipy_confirms_refits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same numbers from a solver with nothing in common, draws and held-out errors included."""
    monkeypatch.setattr(multistart, "NEGLIGIBLE", 1e-7)  # otherwise refits end where draws suffice
    ours, theirs = (
        fit(LAW, runs(), starts=2, draws=6, solver=name) for name in ("varpro", "scipy")
    )
    for name, value in ours.params.items():
        assert theirs.params[name] == pytest.approx(value, rel=1e-3)
        np.testing.assert_allclose(theirs.draws[name], ours.draws[name], rtol=1e-2, atol=1e-12)
    assert ours.uncertainty is not None and theirs.uncertainty is not None
    assert theirs.uncertainty.log_error == pytest.approx(ours.uncertainty.log_error, rel=1e-2)


def test_unknown_solvers_are_refused() -> None:
    with pytest.raises(UsageError, match="did you mean 'varpro'"):
        fit(LAW, runs(), solver="varpr")
    for value in (3, None, Solver):
        with pytest.raises(UsageError, match="varpro") as caught:
            fit(LAW, runs(), solver=value)  # type: ignore[arg-type]
        assert caught.value.value is value
