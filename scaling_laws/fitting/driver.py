"""Fit a law to runs: scale, solve from many starts, recompute exactly, hold out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from scaling_laws.errors import FitError, UsageError
from scaling_laws.fitted import FitRecord, FittedLaw, Range, Uncertainty
from scaling_laws.fitted.predict import check_needs, predict_losses
from scaling_laws.fitting.objective import HUBER_DELTA, huber_objective
from scaling_laws.fitting.projection import Problem
from scaling_laws.fitting.solve import Outcome, draw_starts, solve
from scaling_laws.laws import Law, get_schedule_law
from scaling_laws.metrics import log_errors, metrics
from scaling_laws.numerics.history import History
from scaling_laws.numerics.precision import in_float64
from scaling_laws.runs import FACTS, Run

__all__ = ["DEFAULT_STARTS", "MAX_POINTS", "fit"]

DEFAULT_STARTS = 16
MAX_POINTS = 4096  # points of a run that a fit uses; more are thinned evenly, and that is reported
MAX_FOLDS = 6

Report = Callable[[str], None]


@in_float64
def fit(
    law: str | Law,
    runs: Iterable[Run] | Mapping[str, Run],
    *,
    starts: int = DEFAULT_STARTS,
    seed: int = 0,
    from_step: int = 0,
    hold_out: bool = True,
    report: Report | None = None,
) -> FittedLaw:
    """Fit a law to runs.

    Minimises the sum over points of Huber(1e-3) of log(observed / predicted). Amplitudes are
    solved exactly; shape parameters by a trust-region solver from many starts.

    Args:
        law: a law or its name.
        runs: the runs, or a mapping to them.
        starts: how many starts; the first is the middle of each parameter's start range.
        seed: of the other starts.
        from_step: leave out points before this step.
        hold_out: measure held-out errors, for intervals, by refitting without some runs.
        report: called with a line of progress now and then.

    Returns:
        The law with its parameters, held-out uncertainty, range and record.

    Raises:
        UsageError: if there are no runs, names repeat, or `from_step` leaves a run empty.
        LawError: if the law is unknown or needs a fact that the runs lack.
        FitError: if there are too few points, or no start succeeded.
    """
    began = time.perf_counter()
    chosen = get_schedule_law(law) if isinstance(law, str) else law
    if starts < 1:
        raise UsageError(f"starts={starts} must be >= 1")
    fitted_runs, warnings = _prepare(chosen, runs, from_step)
    unit = _unit(chosen, fitted_runs)
    problem = Problem.of(
        [_history(chosen, run, unit) for run in fitted_runs], [run.loss for run in fitted_runs]
    )

    def progress(done: int, best: float) -> None:
        if report is not None:
            report(f"{chosen.name}: start {done} of {starts}, best objective {best:.6g}")

    outcomes = solve(chosen, problem, draw_starts(chosen.shape, starts, seed), progress)
    best = min(outcomes, key=lambda outcome: outcome.objective)
    params = _params(chosen, best, unit)
    warnings += _bound_warnings(chosen, best, params)
    errors, objective = {}, 0.0
    for run in fitted_runs:
        predicted = _at_points(chosen, params, run)
        errors[run.name] = metrics(run.loss, predicted)
        objective += huber_objective(run.loss, predicted)
    uncertainty = None
    if hold_out and len(fitted_runs) > 1:
        uncertainty = _hold_out(chosen, fitted_runs, problem, best.free, unit)
    elif hold_out:
        uncertainty = _hold_out_tail(chosen, fitted_runs[0], best.free, unit)
    return FittedLaw(
        chosen,
        params,
        uncertainty,
        _range(chosen, fitted_runs),
        FitRecord(
            objective=objective,
            huber_delta=HUBER_DELTA,
            n_points=sum(len(run.loss) for run in fitted_runs),
            starts=len(outcomes),
            starts_at_best=sum(outcome.objective <= 1.001 * best.objective for outcome in outcomes),
            seconds=time.perf_counter() - began,
            seed=seed,
            from_step=from_step,
            runs=errors,
            sources={run.name: run.source for run in fitted_runs},
            warnings=tuple(warnings),
        ),
        _shared_facts(fitted_runs),
    )


def _prepare(
    law: Law, runs: Iterable[Run] | Mapping[str, Run], from_step: int
) -> tuple[list[Run], list[str]]:
    values = list(runs.values()) if isinstance(runs, Mapping) else list(runs)
    if not values:
        raise UsageError("a fit needs at least one run")
    names = [run.name for run in values]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two runs are named {name!r}; give them different names")
    warnings = []
    prepared = []
    for run in values:
        check_needs(law, run.facts, run.traces, f"run {run.name!r}")
        kept = run.from_step(from_step)
        if len(kept.loss) > MAX_POINTS:
            stride = -(-len(kept.loss) // MAX_POINTS)
            place = np.arange(len(kept.loss) - 1, -1, -stride)[::-1]  # the last point is kept
            warnings.append(
                f"run {run.name!r}: {len(kept.loss)} points thinned to {len(place)}, "
                f"every {stride}th"
            )
            kept = replace(kept, steps=kept.steps[place], loss=kept.loss[place])
        prepared.append(kept)
    sizes = {run.facts.get("model_params") for run in prepared}
    if "model_params" in law.needs and len(sizes) == 1:
        warnings.append(
            f"all runs have model_params={sizes.pop():g}: {law.name} cannot tell its terms in the "
            "model size from the others; its parameters serve this size only"
        )
    count = sum(len(run.loss) for run in prepared)
    if count <= len(law.parameters):
        raise FitError(
            f"{law.name} has {len(law.parameters)} parameters and the runs have {count} points; "
            "it needs more points than parameters"
        )
    if all(run.schedule.peak_lr == 0 for run in prepared):
        raise FitError("every learning rate is 0; nothing to fit")
    return prepared, warnings


def _unit(law: Law, runs: Sequence[Run]) -> float:
    """The LR that counts as 1 in a fit: that of the highest driving rate."""
    if law.rescale is None:
        return 1.0
    return max(float(np.max(law.driving_rate(run.schedule.lr, run.traces))) for run in runs)


def _history(law: Law, run: Run, unit: float) -> History:
    return law.chosen_steps(run.schedule.lr / unit, run.steps, facts=run.facts, traces=run.traces)


def _params(law: Law, outcome: Outcome, unit: float) -> dict[str, float]:
    scaled = {
        parameter.name: float(value) + 0.0  # no -0
        for parameter, value in zip(law.amplitudes, outcome.amplitudes, strict=True)
    }
    for parameter, free in zip(law.shape, outcome.free, strict=True):
        scaled[parameter.name] = float(parameter.support.constrain(float(free)))
    values = scaled if law.rescale is None else law.rescale(scaled, unit)
    return {name: float(values[name]) for name in law.names}


def _at_points(law: Law, params: Mapping[str, float], run: Run) -> NDArray[np.float64]:
    return predict_losses(law, params, run.schedule.lr, run.facts, run.traces)[run.steps]


def _bound_warnings(law: Law, best: Outcome, params: Mapping[str, float]) -> list[str]:
    notes = []
    for parameter, free in zip(law.shape, best.free, strict=True):
        for bound in parameter.bounds:
            if abs(free - parameter.support.free(bound)) < 1e-3:
                notes.append(
                    f"{parameter.name} ended on its bound {bound:g}: these runs do not identify it"
                )
    for parameter in law.amplitudes:
        if params[parameter.name] == 0:
            notes.append(
                f"{parameter.name} is 0: these runs show nothing of it ({parameter.meaning})"
            )
    return notes


def _range(law: Law, runs: Sequence[Run]) -> Range:
    peaks = [run.schedule.peak_lr for run in runs]
    lowest = []
    for run in runs:
        after = run.schedule.lr[int(np.argmax(run.schedule.lr)) : int(run.steps[-1]) + 1]
        lowest.append(float(after.min()) / run.schedule.peak_lr if after.size else 1.0)
    facts = {
        need: (min(run.facts[need] for run in runs), max(run.facts[need] for run in runs))
        for need in sorted(law.needs - {"transfer_step"})
    }
    last = max(int(run.steps[-1]) for run in runs)
    return Range((min(peaks), max(peaks)), last, min(lowest), facts)


def _shared_facts(runs: Sequence[Run]) -> dict[str, float]:
    """Facts on which all runs agree."""
    return {
        fact: runs[0].facts[fact]
        for fact in FACTS
        if len({run.facts.get(fact) for run in runs}) == 1 and fact in runs[0].facts
    }


def _hold_out(
    law: Law, runs: Sequence[Run], problem: Problem, start: NDArray[np.float64], unit: float
) -> Uncertainty | None:
    """Refit with some runs at weight zero and look at how far off they are.

    Refits start from the full fit and share its compilation, so a fold costs one solve.
    """
    folds = min(len(runs), MAX_FOLDS)
    method = "leave_one_run_out" if folds == len(runs) else "leave_runs_out"
    squares = []
    for fold in range(folds):
        held = range(fold, len(runs), folds)
        kept_points = sum(len(run.loss) for place, run in enumerate(runs) if place not in held)
        if kept_points <= len(law.parameters):
            continue
        try:
            outcome = solve(law, problem.without(held), start[None])[0]
        except FitError:
            continue
        params = _params(law, outcome, unit)
        logs = [
            log_errors(runs[place].loss, _at_points(law, params, runs[place])) for place in held
        ]
        squares.append(float(np.mean(np.concatenate(logs) ** 2)))
    if not squares:
        return None
    return Uncertainty(method, float(np.sqrt(np.mean(squares))), len(squares))


def _hold_out_tail(
    law: Law, run: Run, start: NDArray[np.float64], unit: float
) -> Uncertainty | None:
    """For a single run: predict its last third from the rest."""
    cut = (2 * len(run.loss)) // 3
    if cut <= len(law.parameters):
        return None
    head = replace(run, steps=run.steps[:cut], loss=run.loss[:cut])
    problem = Problem.of([_history(law, head, unit)], [head.loss])
    outcome = solve(law, problem, start[None])[0]
    predicted = _at_points(law, _params(law, outcome, unit), run)[cut:]
    error = float(np.sqrt(np.mean(log_errors(run.loss[cut:], predicted) ** 2)))
    return Uncertainty("leave_tail_out", error, 1)
