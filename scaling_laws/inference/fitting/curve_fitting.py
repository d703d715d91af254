"""Fit a law to runs: multistart, a prior, a weighted bootstrap, runs held out."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import Pool, PoolOptions, UsageError, start_pool
from scaling_laws.data import FACTS, Run, run_list
from scaling_laws.inference.fitting.bootstrap import PIECE, Refits, resample
from scaling_laws.inference.fitting.calibration import FEW_RUNS, Held, calibrate
from scaling_laws.inference.fitting.cross_validation import effective_points_of, log_error_of
from scaling_laws.inference.fitting.fit_data import Data, law_for, prepare
from scaling_laws.inference.fitting.identifiability import identifiability
from scaling_laws.inference.fitting.multistart import (
    FOLDS,
    Settings,
    can_leave_out,
    refit_without,
    search_fit,
    without,
)
from scaling_laws.inference.fitting.objective import (
    HUBER_DELTA,
    Objective,
    huber_objective,
    read_objective,
)
from scaling_laws.inference.fitting.priors import Prior, prior_for_runs
from scaling_laws.inference.fitting.scipy_solver import solve_with_scipy
from scaling_laws.inference.fitting.serialization import name_of
from scaling_laws.inference.fitting.varpro import Outcome, solve_jobs
from scaling_laws.inference.metrics import metrics
from scaling_laws.inference.results import (
    CurveFit,
    FitRecord,
    FittedPoints,
    Range,
    Uncertainty,
    VarianceInputs,
)
from scaling_laws.inference.results.ranges import fastest_fall
from scaling_laws.inference.results.uncertainty import robust_sd
from scaling_laws.models import Law, get_schedule_law, in_float64

__all__ = ["DEFAULT_DRAWS", "DEFAULT_STARTS", "fit_curves"]

DEFAULT_STARTS = 16
DEFAULT_DRAWS = 100
MAX_FOLDS = 40
FOLD_DRAWS = 32

Report = Callable[[str], None]


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
    solver: str = "lanes",
    backend: str | PoolOptions = "local",
    report: Report | None = None,
) -> CurveFit:
    """Fit a law to runs.

    Minimises the sum over points of weight · cost(log(observed / predicted)), plus the prior.
    Amplitudes are solved exactly for every trial of the shape parameters. The prior has the
    strength of a law that is wrong in shape: each run counts as ten independent points, and errors
    as 1.5e-3 at least.

    Args:
        law: a law or its name. Where the runs lack a fact that it needs and it has a fallback,
            that is fitted, and a warning says so.
        runs: the runs, or a mapping to them.
        starts: how many starts; the first is the middle of each parameter's start range.
        seed: of the other starts and of the refits.
        from_step: leave out points before this step, or before ``"warmup"`` ends.
        objective: what residuals cost; a text as `read_objective` takes it, such as ``"huber"``,
            ``"least-squares"`` or ``"student-t"``.
        prior: on the shape parameters: ``"weak"`` for the shipped one, ``"none"``, or a prior. In
            the shipped one the weight norm starts where runs have logged it (`param_norm`).
        fix: parameters that are given, in the unit of the logs.
        tie: shape parameters that equal another: ``{"beta": "gamma"}``.
        weights: how much a run counts, by name; default 1.
        hold_out: measure held-out errors, for intervals, by refitting without some runs.
        draws: refits to reweighted runs, for intervals of parameters and predictions; 0 for none.
        solver: ``"lanes"``, or ``"scipy"`` as a slow cross-check.
        backend: where refits run: ``"local"``, ``"joblib"``, ``"dask"``, or options of these. It
            does not change them: they are drawn and solved in the same pieces everywhere.
        report: called with a line of progress now and then.

    Returns:
        The law with its parameters, held-out uncertainty, draws, range and record.

    Raises:
        UsageError: if there are no runs, names repeat, `from_step` leaves a run empty, an
            option makes no sense, or processes cannot be had.
        LawError: if the law is unknown, needs a fact that the runs lack, or has no such parameter.
        FitError: if there are too few points, or no start succeeded.
        PoolError: if processes of the backend keep dying.
    """
    began = time.perf_counter()
    asked = get_schedule_law(law) if isinstance(law, str) else law
    values = run_list(runs)
    chosen, instead = law_for(asked, values)
    if starts < 1:
        raise UsageError(f"starts={starts} must be >= 1")
    if draws < 0:
        raise UsageError(f"draws={draws} must be >= 0")
    cost = read_objective(objective) if isinstance(objective, str) else objective
    belief = prior_for_runs(chosen, prior, values)
    data = prepare(chosen, values, from_step=from_step, weights=weights, fix=fix, tie=tie)

    solve = {"lanes": solve_jobs, "scipy": solve_with_scipy}.get(solver)
    if solve is None:
        raise UsageError(f"solver={solver!r}: known are 'lanes' and 'scipy'")
    with start_pool(backend, _pieces(len(data.runs), draws, hold_out)) as pool:
        if not pool.here:
            name_of(chosen)  # before the work, not after it
        search = search_fit(data, cost, belief, starts, seed, solve, report)
        best, settings = search.best, search.settings
        stage = "refits to reweighted runs"
        (refits,) = resample(
            data, settings, [Refits(best, draws)], pool, _counted(report, chosen, stage)
        )
        uncertainty = _hold_out(data, best, settings, refits, pool, report) if hold_out else None
    outcomes, params = search.outcomes, data.params(best)
    predicted = data.predict([best])[0]
    errors = {
        run.name: metrics(run.loss, predicted[data.run == place])
        for place, run in enumerate(data.runs)
    }
    drawn = _drawn(data, refits)
    condition, warnings = identifiability(data, best, params, belief, refits)
    return CurveFit(
        chosen,
        params,
        uncertainty,
        _range(chosen, data.runs),
        FitRecord(
            objective=huber_objective(data.observed, predicted),
            huber_delta=HUBER_DELTA,
            n_points=len(data.observed),
            starts=len(outcomes),
            starts_at_best=sum(outcome.objective <= 1.001 * search.lowest for outcome in outcomes),
            seconds=time.perf_counter() - began,
            seed=seed,
            from_step=from_step,
            runs=errors,
            sources={run.name: run.source for run in data.runs},
            warnings=(*instead, *data.notes, *warnings),
            minimised=cost.spec,
            lowest=search.lowest,
            statuses=dict(Counter(outcome.status.name.lower() for outcome in outcomes)),
            prior=settings.prior_record(data),
            prior_source="" if belief is None else belief.source,
            condition=condition,
            fixed=dict(data.fixed),
            ties=dict(data.ties),
            log_error=log_error_of(data, predicted),
            effective_points=effective_points_of(data),
        ),
        _shared_facts(data.runs),
        drawn,
        _points(data, predicted),
    )


def _points(data: Data, predicted: NDArray[np.float64]) -> FittedPoints:
    names = np.array([run.name for run in data.runs])
    steps = np.concatenate([run.steps for run in data.runs])
    return FittedPoints(names[data.run], steps, np.asarray(data.observed), predicted)


def _pieces(runs: int, draws: int, hold_out: bool) -> int:
    """How many pieces of work a fit has for a pool at a time, at most."""
    folds = (runs if draws and runs <= FEW_RUNS else -(-min(runs, MAX_FOLDS) // FOLDS)) * hold_out
    return max(1, -(-draws // PIECE), folds)


def _counted(report: Report | None, law: Law, stage: str) -> Callable[[int, int], None] | None:
    """Progress of a stage whose pieces are done one after the other."""
    if report is None:
        return None
    report(f"{law.name}: {stage}")
    return lambda done, count: report(f"{law.name}: {stage}, {done} of {count} pieces done")


def _drawn(data: Data, refits: Sequence[Outcome]) -> dict[str, NDArray[np.float64]]:
    rows = [data.params(each) for each in refits]
    return {name: np.array([row[name] for row in rows]) for name in data.law.names} if rows else {}


def _spread(data: Data, refits: Sequence[Outcome]) -> NDArray[np.float64]:
    """Standard deviation of log losses over refits, not moved by a few wild ones: (losses,)."""
    if len(refits) < 2:
        return np.zeros(len(data.observed))
    return robust_sd(np.log(data.predict(refits)))


def _hold_out(
    data: Data,
    best: Outcome,
    settings: Settings,
    refits: Sequence[Outcome],
    pool: Pool,
    report: Report | None,
) -> Uncertainty | None:
    """Refit without some runs at a time, or without the tail of a single one."""
    count = len(data.runs)
    if count == 1:
        folds = [np.flatnonzero(np.arange(len(data.observed)) >= 2 * len(data.observed) // 3)]
        method = "leave_tail_out"
    else:
        number = min(count, MAX_FOLDS)
        method = "leave_one_run_out" if number == count else "leave_runs_out"
        folds = [np.flatnonzero(data.run % number == fold) for fold in range(number)]
    folds = [fold for fold in folds if can_leave_out(data, fold)]
    if not folds:
        return None
    if report is not None:
        report(f"{data.law.name}: refits without some runs")
    outcomes = refit_without(data, best, settings, folds, pool)
    spread = _spread(data, refits)
    exposures = [
        VarianceInputs.of(run.schedule.lr, run.steps, spread[data.run == place])
        for place, run in enumerate(data.runs)
    ]
    errors = np.log(data.observed) - np.log(data.predict([best, *outcomes]))
    fitted = [Held(errors[0][data.run == place], each) for place, each in enumerate(exposures)]
    fine = [number for number, each in enumerate(outcomes) if np.isfinite(each.objective)]
    own = {number: spread for number in fine}
    if refits and count <= FEW_RUNS:  # a fold is much less sure of its parameters than the fit
        asked = [
            Refits(outcomes[number], FOLD_DRAWS, 1 + number, without(data.weight, folds[number]))
            for number in fine
        ]
        stage = "refits of what is left without a run"
        drawn = resample(data, settings, asked, pool, _counted(report, data.law, stage))
        own = {number: _spread(data, each) for number, each in zip(fine, drawn, strict=True)}
    held = []
    for number in fine:
        fold, error = folds[number], errors[1 + number]
        for place in np.unique(data.run[fold]):
            mine = fold[data.run[fold] == place]
            run = data.runs[place]
            steps = run.steps[mine - int(np.argmax(data.run == place))]
            exposure = VarianceInputs.of(run.schedule.lr, steps, own[number][mine])
            held.append(Held(error[mine], exposure))
    if not held:
        return None
    return calibrate(method, held, fitted, len(folds))


def _range(law: Law, runs: Sequence[Run]) -> Range:
    peaks = [run.schedule.peak_lr for run in runs]
    lowest = []
    for run in runs:
        after = run.schedule.lr[int(np.argmax(run.schedule.lr)) : int(run.steps[-1]) + 1]
        lowest.append(float(after.min()) / run.schedule.peak_lr if after.size else 1.0)
    facts = {
        need: (float(min(row.min() for row in rows)), float(max(row.max() for row in rows)))
        for need in sorted(law.required_facts - set(law.break_facts))
        for rows in [[_along(run, need) for run in runs]]
    }
    last = max(int(run.steps[-1]) for run in runs)
    falls = [fastest_fall(run.schedule.lr[: int(run.steps[-1]) + 1]) for run in runs]
    fastest = min((each for each in falls if each is not None), default=None)
    return Range((min(peaks), max(peaks)), last, min(lowest), facts, fastest)


def _along(run: Run, fact: str) -> NDArray[np.float64]:
    """A fact of a run, or the trace that stands for it."""
    return run.traces[fact] if fact in run.traces else np.array([run.facts[fact]])


def _shared_facts(runs: Sequence[Run]) -> dict[str, float]:
    """Facts on which all runs agree."""
    return {
        fact: runs[0].facts[fact]
        for fact in FACTS
        if len({run.facts.get(fact) for run in runs}) == 1 and fact in runs[0].facts
    }
