"""The search: baselines, tuned members of every family, and a smooth free form."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax
import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling_laws.common import (
    ExtrapolationWarning,
    UsageError,
    report_progress,
    warn,
)
from scaling_laws.decisions.constraints import (
    MAX_SMOOTHING_SENSITIVITY,
    ScheduleConstraints,
    check_peak_range,
    constraints_from,
    smoothing_sensitivity,
)
from scaling_laws.decisions.search.descent import DescentResult
from scaling_laws.decisions.search.evaluator import ObjectiveEvaluator, ScoredSchedule
from scaling_laws.decisions.search.extrapolation import lowest_cost, range_distance
from scaling_laws.decisions.search.family_tuning import tune_families
from scaling_laws.decisions.search.free_form import (
    SearchProblem,
    cuts_of,
    free_form,
    search_problem,
)
from scaling_laws.decisions.search.gains import gains_on
from scaling_laws.decisions.search.optimum import Optimum
from scaling_laws.decisions.search.peak_search import golden_section
from scaling_laws.decisions.search.search_objective import cells_for, values_of_rows
from scaling_laws.decisions.search.spline import INTERVALS
from scaling_laws.decisions.search.weight_decay import DecayRange, read_decay_range
from scaling_laws.inference import (
    CurveFit,
    check_loss,
    check_needs,
    facts_for,
    require_curve_fit,
    variance_inputs_of,
)
from scaling_laws.models import Schedule, in_float64

__all__ = ["OBJECTIVES", "optimize"]

Array = NDArray[np.float64]
OBJECTIVES = ("final", "upper")
EXACT_MEMBERS = 6  # of families, evaluated exactly if at least one of them is robust
MAX_PEAK_RATIO = 0.99  # largest lowest peak of a peak search, as a share of the highest


@in_float64
def optimize(
    fitted: CurveFit,
    *,
    steps: int | None = None,
    peak: float | tuple[float, float] | None = None,
    warmup: int = 0,
    end_min: float = 0.0,
    prefix: Schedule | ArrayLike | None = None,
    cooldown_from: int | None = None,
    max_change: float | None = None,
    fixed: Mapping[int, float] | None = None,
    allow_rewarm: bool = False,
    constraints: ScheduleConstraints | None = None,
    objective: str = "final",
    horizons: Sequence[int] | None = None,
    weight_decay: tuple[float, float] | None = None,
    facts: Mapping[str, float] | None = None,
    seed: int = 0,
) -> Optimum:
    """Search for the schedule with the lowest predicted final loss.

    Evaluates common schedules, tunes the shape of every family, and starts a gradient search over
    smooth schedules from the best of them. The result is never worse than the best baseline that
    satisfies the constraints. The search penalises leaving the fitted range slightly; the final
    comparison uses plain predictions.

    Args:
        fitted: the law.
        steps: total steps, warm-up included.
        peak: peak learning rate; or the lowest and highest to search, for a law that was fitted to
            runs with several peaks: most laws predict that a higher peak is better, and only data
            can confirm it.
        warmup: warm-up steps, linear from 0.
        end_min: lowest learning rate allowed after the warm-up.
        prefix: learning rates of the updates already done, or a schedule of them.
        cooldown_from: keep the peak up to this step and search the remaining steps.
        max_change: largest change of the learning rate per step, as a share of the peak.
        fixed: learning rates that the schedule must have, by step.
        allow_rewarm: let the learning rate rise after the warm-up, up to the peak.
        constraints: all of the above as one `ScheduleConstraints`, which describes them.
        objective: ``"final"``, the predicted final loss, or ``"upper"``, the upper end of its 90 %
            interval: a schedule that is good for all parameters that are consistent with the runs.
        horizons: step counts whose losses are averaged, for a run that may be stopped at any of
            them. `steps` is always included.
        weight_decay: lowest and highest weight decay, to search it with the rate, as a function of
            the step; for a law that models it.
        facts: facts of the run that override those of the fit, e.g. ``{"model_params": 1e8}``.
        seed: of the initial points.

    Returns:
        The best schedule, with baselines, gains, the best family member and convergence
        diagnostics.

    Raises:
        UsageError: if the constraints contradict each other, or the fit does not support an option.
        LawError: if the law needs a fact that the fit does not provide, or predicts a loss that
            no run can have.
    """
    began = time.perf_counter()
    limits = constraints_from(
        constraints,
        steps=steps,
        peak=peak,
        warmup=warmup,
        end_min=end_min,
        prefix=prefix,
        cooldown_from=cooldown_from,
        max_change=max_change,
        fixed=fixed,
        allow_rewarm=allow_rewarm,
    )
    evaluator = _evaluator(fitted, limits, objective, horizons, weight_decay, facts)
    decays = read_decay_range(fitted.law, evaluator.facts, weight_decay)
    limits, notes = _with_one_peak(evaluator, limits, decays)
    if evaluator.horizons[0] <= limits.first_free_step + 1:
        raise UsageError(
            f"horizon {evaluator.horizons[0]} must be after step {limits.first_free_step + 1}"
        )
    problem = search_problem(evaluator, limits)
    candidates = _candidates(problem, decays, seed)
    for scored in (*candidates.feasible, candidates.free, candidates.best):
        plan = scored.schedule
        reasons = fitted.range_notes(plan, evaluator.facts)
        check_loss(fitted.law.name, scored.final_loss, plan.spec, reasons)
    optimum = _optimum(problem, candidates, notes, time.perf_counter() - began)
    for note in optimum.notes[len(notes) :]:
        warn(note, ExtrapolationWarning)
    return optimum


@dataclass(frozen=True, eq=False)
class _Candidates:
    """All schedules that were evaluated exactly.

    Attributes:
        baselines: common schedules, whether they satisfy the constraints or not.
        robust: members of families whose loss slight smoothing does not change.
        fragile: schedules whose advantage slight smoothing removes.
        free: the result of the gradient search.
        free_decay: the weight decay searched with it: (steps,), or None.
        descent: convergence of the gradient search.
        best: the best of the robust schedules and the baselines that satisfy the constraints.
        sensitivity: smoothing sensitivity of `best`, in nats.
        feasible: the baselines that satisfy the constraints.
    """

    baselines: Sequence[ScoredSchedule]
    robust: Sequence[ScoredSchedule]
    fragile: Sequence[ScoredSchedule]
    free: ScoredSchedule
    free_decay: Array | None
    descent: DescentResult
    best: ScoredSchedule
    sensitivity: float
    feasible: Sequence[ScoredSchedule]


def _evaluator(
    fitted: CurveFit,
    constraints: ScheduleConstraints,
    objective: str,
    horizons: Sequence[int] | None,
    weight_decay: tuple[float, float] | None,
    facts: Mapping[str, float] | None,
) -> ObjectiveEvaluator:
    """The objective, after checking that the law supports it."""
    law = require_curve_fit(fitted).law
    known = facts_for(fitted, facts)
    if weight_decay is not None and law.uses_weight_decay:
        known.setdefault("weight_decay", float(np.sqrt(weight_decay[0] * weight_decay[1])))
    check_needs(law, known, {}, "the law file")
    if objective not in OBJECTIVES:
        raise UsageError(f"objective={objective!r} is not one of {', '.join(OBJECTIVES)}")
    if objective == "upper" and (fitted.uncertainty is None or fitted.draw_count < 2):
        raise UsageError(
            "objective='upper' requires a fit with held-out errors and bootstrap draws; fit the "
            "law to runs (hold_out and draws are on by default)"
        )
    for horizon in horizons or ():
        if not 1 <= horizon <= constraints.steps:
            raise UsageError(f"horizon {horizon} must lie in 1..{constraints.steps}")
    ends = tuple(sorted({*(int(horizon) for horizon in horizons or ()), int(constraints.steps)}))
    return ObjectiveEvaluator(fitted, known, ends, objective == "upper")


def _with_one_peak(
    evaluator: ObjectiveEvaluator, constraints: ScheduleConstraints, decays: DecayRange | None
) -> tuple[ScheduleConstraints, tuple[str, ...]]:
    """The constraints at the best peak of their range, and a note on it."""
    low, high = constraints.peak_range
    if low == high:
        return constraints, ()
    check_peak_range(evaluator.fitted, (low, high))
    low = min(max(low, *constraints.fixed_rates.values(), 0.0), MAX_PEAK_RATIO * high)

    def value(peak: float) -> float:
        problem = search_problem(evaluator, constraints.at_peak(peak))
        return free_form(problem, [], decays)[0].value

    peak, note = golden_section(value, low, high)
    return constraints.at_peak(peak), (note,)


def _candidates(problem: SearchProblem, decays: DecayRange | None, seed: int) -> _Candidates:
    """Evaluate the baselines, the best members of families and a free form."""
    evaluator, constraints = problem.evaluator, problem.constraints
    scored = functools.cache(lambda plan: _scored(evaluator, plan))
    sensitivity = functools.cache(
        lambda plan: smoothing_sensitivity(
            evaluator.final_loss, plan.lr, constraints.first_free_step
        )
    )

    def is_robust(plan: Schedule) -> bool:
        return bool(sensitivity(plan) <= MAX_SMOOTHING_SENSITIVITY)

    baselines = [scored(plan) for plan in problem.baselines]
    report_progress("baselines evaluated", len(baselines))
    feasible = [
        baseline for baseline in baselines if constraints.violation(baseline.schedule.lr) is None
    ]
    robust: list[ScoredSchedule] = []
    fragile: list[ScoredSchedule] = []
    for rank, plan in enumerate(_members(problem, seed)):
        if rank >= EXACT_MEMBERS and robust:
            break
        (robust if is_robust(plan) else fragile).append(scored(plan))
    candidates = sorted([*robust, *feasible], key=_objective_value)
    if candidates:
        report_progress(f"families tuned, best {candidates[0].schedule.spec}")
    starts = [candidate.schedule for candidate in candidates[:2]]
    for intervals in INTERVALS:
        descent, plan, decay = free_form(problem, starts, decays, intervals)
        if is_robust(plan):
            break
    free = _scored(evaluator, plan, decay)
    (candidates if is_robust(plan) else fragile).append(free)
    best = min(candidates, key=_objective_value, default=free)
    return _Candidates(
        baselines, robust, fragile, free, decay, descent, best, sensitivity(best.schedule), feasible
    )


def _optimum(
    problem: SearchProblem, candidates: _Candidates, notes: tuple[str, ...], seconds: float
) -> Optimum:
    """The best candidate with baselines, gains and diagnostics."""
    evaluator, constraints, best = problem.evaluator, problem.constraints, candidates.best
    fitted, facts = evaluator.fitted, evaluator.facts
    decay = candidates.free_decay if best is candidates.free else None
    lr, last = best.schedule.lr, np.array([best.schedule.steps - 1])
    traces = {} if decay is None else {"weight_decay": decay}
    family = min(candidates.robust or [best], key=_objective_value)
    gain_over_family = gains_on(fitted, best, [family], facts, decay)[family.schedule.spec]
    return Optimum(
        schedule=best.schedule,
        final_loss=best.final_loss,
        objective=evaluator.description,
        value=best.value,
        baselines={scored.schedule.spec: scored.final_loss for scored in candidates.baselines},
        baseline_values={scored.schedule.spec: scored.value for scored in candidates.baselines},
        broken={
            scored.schedule.spec: violation
            for scored in candidates.baselines
            if (violation := constraints.violation(scored.schedule.lr)) is not None
        },
        gains=gains_on(fitted, best, candidates.baselines, facts, decay),
        family=family,
        gain_over_family=gain_over_family,
        fragile=tuple(scored for scored in candidates.fragile if scored.value < best.value),
        horizons={
            end: evaluator.final_loss(lr[:end], None if decay is None else decay[:end])
            for end in evaluator.horizons
        },
        weight_decay=decay,
        smoothing_sensitivity=candidates.sensitivity,
        start_objectives=candidates.descent.start_objectives,
        frank_wolfe_gap=candidates.descent.frank_wolfe_gap,
        distance=range_distance(fitted, lr, facts, decay),
        notes=(*notes, *fitted.range_notes(best.schedule, facts)),
        seconds=seconds,
        uncertainty=fitted.uncertainty,
        exposure=variance_inputs_of(fitted, lr, last, facts, traces),
    )


def _objective_value(scored: ScoredSchedule) -> float:
    return scored.value


def _scored(
    evaluator: ObjectiveEvaluator, plan: Schedule, decay: Array | None = None
) -> ScoredSchedule:
    value = evaluator.value(plan.lr, decay)
    plain = not evaluator.robust and len(evaluator.horizons) == 1
    return ScoredSchedule(plan, value if plain else evaluator.final_loss(plan.lr, decay), value)


def _members(problem: SearchProblem, seed: int) -> list[Schedule]:
    """The best members of the families, as whole runs, the best first."""
    evaluator, constraints = problem.evaluator, problem.constraints
    fitted, law = evaluator.fitted, evaluator.fitted.law
    cells = [cells_for(law, end, cuts_of(constraints)) for end in evaluator.horizons]
    on_device = jax.device_put(cells)
    known = (problem.params, problem.facts, problem.interval_terms)

    def objective(tables: list[Array]) -> Array:
        losses = [
            values_of_rows(law, table, horizon_cells, *known)
            for table, horizon_cells in zip(tables, on_device, strict=True)
        ]
        mean = np.mean(losses, axis=0)
        return np.asarray(mean + lowest_cost(fitted, tables[-1][:, -1], constraints.peak_lr, mean))

    return tune_families(constraints, cells, objective, seed)
