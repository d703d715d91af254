"""Fit a law to runs: multiple starts, a prior, bootstrap refits, runs held out."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import PoolOptions, UsageError, start_pool
from scaling_laws.data import FACTS, Run, run_list
from scaling_laws.inference.fitting.bootstrap import CHUNK_SIZE, BootstrapRequest, resample
from scaling_laws.inference.fitting.cross_validation import effective_points_of, log_error_of
from scaling_laws.inference.fitting.fit_data import Data, law_for, prepare
from scaling_laws.inference.fitting.held_out import chunks_of_folds, held_out_uncertainty
from scaling_laws.inference.fitting.identifiability import identifiability
from scaling_laws.inference.fitting.multistart import MultiStartResult, multistart_fit
from scaling_laws.inference.fitting.notes import issue_warnings
from scaling_laws.inference.fitting.objective import (
    HUBER_DELTA,
    Objective,
    huber_objective,
    read_objective,
)
from scaling_laws.inference.fitting.priors import Prior, prior_for_runs
from scaling_laws.inference.fitting.problem import Solution
from scaling_laws.inference.fitting.serialization import law_to_picklable
from scaling_laws.inference.fitting.solver import Solver
from scaling_laws.inference.fitting.solver_registry import find_solver
from scaling_laws.inference.metrics import metrics
from scaling_laws.inference.results import CurveFit, FitRecord, FittedPoints, Range
from scaling_laws.inference.results.ranges import fastest_fall
from scaling_laws.models import Law, get_schedule_law, in_float64

__all__ = ["DEFAULT_DRAWS", "DEFAULT_STARTS", "fit_curves"]

DEFAULT_STARTS = 16
DEFAULT_DRAWS = 100


@in_float64
def fit_curves(
    law: str | Law,
    runs: Iterable[Run] | Mapping[str, Run],
    *,
    starts: int = DEFAULT_STARTS,
    seed: int = 0,
    from_step: int | str = 0,
    objective: str | Objective = "huber",
    prior: str | Prior | None = "weak",
    fix: Mapping[str, float] | None = None,
    tie: Mapping[str, str] | None = None,
    weights: Mapping[str, float] | None = None,
    hold_out: bool = True,
    draws: int = DEFAULT_DRAWS,
    solver: str | Solver = "varpro",
    backend: str | PoolOptions = "local",
) -> CurveFit:
    """Fit a law to runs.

    Minimises the sum over points of weight · cost(log(observed / predicted)), plus the prior.
    Linear parameters are solved exactly for every trial of the nonlinear ones. The strength of the
    prior allows for a misspecified law: each run counts as ten independent points, and errors as
    1.5e-3 at least.

    Doubts about the fit are issued as warnings and kept in its record.

    Args:
        law: a law or its name. Where the runs lack a required fact and the law has a fallback, the
            fallback is fitted, with a warning.
        runs: the runs, or a mapping whose keys name them.
        starts: how many starts; the first is the middle of each parameter's start range.
        seed: of the other starts and of the refits.
        from_step: leave out points before this step, or before ``"warmup"`` ends.
        objective: cost of residuals, or its text as `read_objective` takes it, such as ``"huber"``,
            ``"least-squares"`` or ``"student-t"``.
        prior: on the nonlinear parameters: ``"weak"`` for the shipped one, ``"none"``, or a prior.
            In the shipped one the mean of the weight norm is that of the runs that logged it
            (`param_norm`).
        fix: values of fixed parameters, in the unit of the logs.
        tie: nonlinear parameters that equal another: ``{"beta": "gamma"}``.
        weights: weight of each run, by name; default 1.
        hold_out: measure held-out errors, for intervals, by refitting without some runs.
        draws: bootstrap refits, for intervals of parameters and predictions; 0 for none.
        solver: of every solve of the fit and its refits: ``"varpro"``, ``"scipy"`` (a slow
            cross-check), or a `Solver`.
        backend: where refits run: ``"local"``, ``"joblib"``, ``"dask"``, or options of these. It
            does not affect results: refits are drawn and solved in the same chunks everywhere.

    Returns:
        The law with its parameters, held-out uncertainty, draws, range and record.

    Raises:
        UsageError: if there are no runs, names repeat, `from_step` leaves a run empty, an
            option is invalid, or processes cannot be started.
        LawError: if the law is unknown, requires a fact that the runs lack, or has no such
            parameter.
        FitError: if there are too few points, or no start succeeded.
        PoolError: if processes of the backend keep dying.
    """
    start_time = time.perf_counter()
    values = run_list(runs)
    schedule_law, notes = law_for(get_schedule_law(law) if isinstance(law, str) else law, values)
    if starts < 1:
        raise UsageError(f"starts={starts} must be >= 1")
    if draws < 0:
        raise UsageError(f"draws={draws} must be >= 0")
    cost = read_objective(objective) if isinstance(objective, str) else objective
    used_solver = find_solver(solver)
    used_prior = prior_for_runs(schedule_law, prior, values)
    data = prepare(schedule_law, values, from_step=from_step, weights=weights, fix=fix, tie=tie)
    chunks = max(
        1, -(-draws // CHUNK_SIZE), chunks_of_folds(len(data.runs), draws) if hold_out else 0
    )
    with start_pool(backend, chunks) as pool:
        law_to_picklable(schedule_law, pool)  # raises before the work starts, not after it
        result = multistart_fit(data, cost, used_prior, starts, seed, used_solver)
        best, settings = result.best, result.settings
        (refits,) = resample(data, settings, [BootstrapRequest(best, draws)], pool)
        uncertainty = held_out_uncertainty(data, best, settings, refits, pool) if hold_out else None
    params = data.params(best)
    predicted = data.predict([best])[0]
    condition, doubts = identifiability(data, best, params, used_prior, refits)
    warnings = issue_warnings((*notes, *data.notes, *doubts))
    return CurveFit(
        schedule_law,
        params,
        uncertainty,
        _range(schedule_law, data.runs),
        _record(data, result, predicted, from_step, condition, warnings, start_time),
        _shared_facts(data.runs),
        _draws(data, refits),
        _points(data, predicted),
    )


def _points(data: Data, predicted: NDArray[np.float64]) -> FittedPoints:
    names = np.array([run.name for run in data.runs])
    steps = np.concatenate([run.steps for run in data.runs])
    return FittedPoints(names[data.run], steps, np.asarray(data.observed), predicted)


def _record(
    data: Data,
    result: MultiStartResult,
    predicted: NDArray[np.float64],
    from_step: int | str,
    condition: float,
    warnings: tuple[str, ...],
    start_time: float,
) -> FitRecord:
    """The record of a fit; `start_time` is from `time.perf_counter`."""
    outcomes, settings = result.outcomes, result.settings
    return FitRecord(
        objective=huber_objective(data.observed, predicted),
        huber_delta=HUBER_DELTA,
        n_points=len(data.observed),
        starts=len(outcomes),
        starts_at_best=result.starts_at_best,
        seconds=time.perf_counter() - start_time,
        seed=settings.seed,
        from_step=from_step,
        runs={
            run.name: metrics(run.loss, predicted[data.run == index])
            for index, run in enumerate(data.runs)
        },
        sources={run.name: run.source for run in data.runs},
        warnings=warnings,
        minimised=settings.objective.spec,
        lowest=result.lowest,
        statuses=dict(Counter(solution.status.name.lower() for solution in outcomes)),
        prior=settings.prior_record(data),
        prior_source="" if settings.prior is None else settings.prior.source,
        condition=condition,
        fixed=dict(data.fixed),
        ties=dict(data.ties),
        solver=settings.solver.name,
        log_error=log_error_of(data, predicted),
        effective_points=effective_points_of(data),
    )


def _draws(data: Data, refits: Sequence[Solution]) -> dict[str, NDArray[np.float64]]:
    """Parameters of bootstrap refits by name, each (refits,); empty if there are none."""
    rows = [data.params(solution) for solution in refits]
    return {name: np.array([row[name] for row in rows]) for name in data.law.names} if rows else {}


def _range(law: Law, runs: Sequence[Run]) -> Range:
    peaks = [run.schedule.peak_lr for run in runs]
    lowest_shares = []
    for run in runs:
        after_peak = run.schedule.lr[int(np.argmax(run.schedule.lr)) : int(run.steps[-1]) + 1]
        lowest_shares.append(
            float(after_peak.min()) / run.schedule.peak_lr if after_peak.size else 1.0
        )
    facts = {
        need: (float(min(row.min() for row in rows)), float(max(row.max() for row in rows)))
        for need in sorted(law.required_facts - set(law.break_facts))
        for rows in [[_along(run, need) for run in runs]]
    }
    last = max(int(run.steps[-1]) for run in runs)
    falls = [fastest_fall(run.schedule.lr[: int(run.steps[-1]) + 1]) for run in runs]
    fastest = min((fall for fall in falls if fall is not None), default=None)
    return Range((min(peaks), max(peaks)), last, min(lowest_shares), facts, fastest)


def _along(run: Run, fact: str) -> NDArray[np.float64]:
    """A fact of a run, or the trace that replaces it."""
    return run.traces[fact] if fact in run.traces else np.array([run.facts[fact]])


def _shared_facts(runs: Sequence[Run]) -> dict[str, float]:
    """Facts on which all runs agree."""
    return {
        fact: runs[0].facts[fact]
        for fact in FACTS
        if len({run.facts.get(fact) for run in runs}) == 1 and fact in runs[0].facts
    }
