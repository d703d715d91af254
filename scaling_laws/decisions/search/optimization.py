"""The search: baselines, every family with its shape tuned, and a smooth free form."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling_laws.common import LawError, UsageError
from scaling_laws.decisions.search.constraints import Limits, read_limits
from scaling_laws.decisions.search.evaluator import Measure, Scored
from scaling_laws.decisions.search.extrapolation import lowest_cost, range_distance
from scaling_laws.decisions.search.family_tuning import tune_families
from scaling_laws.decisions.search.free_form import Task, cuts_of, free_form, task_of
from scaling_laws.decisions.search.gains import gains_on
from scaling_laws.decisions.search.optimum import Optimum
from scaling_laws.decisions.search.peak_search import golden_section
from scaling_laws.decisions.search.search_objective import cells_for, compiled_rows
from scaling_laws.decisions.search.spline import INTERVALS
from scaling_laws.decisions.search.weight_decay import read_decay_range
from scaling_laws.inference import (
    MAX_ROUGHNESS,
    CurveFit,
    check_needs,
    check_peaks,
    facts_for,
    require_curve_fit,
    roughness,
    variance_inputs_of,
)
from scaling_laws.models import Schedule, in_float64

__all__ = ["OBJECTIVES", "optimize"]

Array = NDArray[np.float64]
OBJECTIVES = ("final", "upper")
SHOWN = 6  # members of families that are looked at exactly, if one of them is smooth


@in_float64
def optimize(
    fitted: CurveFit,
    *,
    steps: int,
    peak: float | tuple[float, float],
    warmup: int = 0,
    end_min: float = 0.0,
    prefix: Schedule | ArrayLike | None = None,
    cooldown_from: int | None = None,
    max_change: float | None = None,
    fixed: Mapping[int, float] | None = None,
    allow_rewarm: bool = False,
    objective: str = "final",
    horizons: Sequence[int] | None = None,
    weight_decay: tuple[float, float] | None = None,
    facts: Mapping[str, float] | None = None,
    seed: int = 0,
    report: Callable[[str], None] | None = None,
) -> Optimum:
    """Search for the schedule with the lowest predicted final loss.

    Tries common schedules, tunes the shape of every family, and starts a gradient search over
    smooth schedules from the best of them. What it returns is never worse than the best baseline
    that keeps to the limits. Inside the search, leaving what the fitted runs covered costs a
    little; what is compared in the end are plain predictions.

    Args:
        fitted: the law.
        steps: total steps, warm-up included.
        peak: peak learning rate; or the lowest and highest to search, for a law that was fitted to
            runs of several peaks: most laws like any higher peak, and only data can say.
        warmup: warm-up steps, linear from 0.
        end_min: lowest learning rate allowed after the warm-up.
        prefix: learning rates of the updates that are already done, (steps done,), or a schedule
            of them; what is found starts with exactly these, the warm-up among them, and goes on
            from the last of them. `warmup` is then not used.
        cooldown_from: hold the peak up to this step and search what comes after.
        max_change: largest change of the rate from a step to the next after the warm-up, as a
            share of the peak.
        fixed: rates that the schedule must have after the warm-up, by step.
        allow_rewarm: let the rate rise after the warm-up, up to the peak.
        objective: ``"final"``, the predicted final loss, or ``"upper"``, the upper end of its 90 %
            interval: a schedule that is good under all parameters that the runs leave open.
        horizons: step counts at which the loss counts, all alike: a schedule that may be stopped
            at any of them. `steps` is always one.
        weight_decay: lowest and highest weight decay, to search it with the rate, step by step;
            for a law that knows it.
        facts: numbers of the run that override those of the fit, e.g. ``{"model_params": 1e8}``.
        seed: of the points tried first.
        report: called with a line of progress now and then.

    Returns:
        The best schedule, with baselines, gains, the best family member and what shows that the
        search has ended.

    Raises:
        UsageError: if the frame is empty or contradicts itself, or the fit cannot answer.
        LawError: if the law needs a fact that the fit does not hold.
    """
    began = time.perf_counter()
    law = require_curve_fit(fitted).law
    known = facts_for(fitted, facts)
    if weight_decay is not None and "weight_decay" in law.required_facts:
        known.setdefault("weight_decay", float(np.sqrt(weight_decay[0] * weight_decay[1])))
    check_needs(law, known, {}, "the law file")
    if objective not in OBJECTIVES:
        raise UsageError(f"objective={objective!r}: known are {', '.join(OBJECTIVES)}")
    if objective == "upper" and (fitted.uncertainty is None or fitted.draw_count < 2):
        raise UsageError(
            "objective='upper' needs a law with measured errors and draws of its parameters; fit "
            "it to runs (hold_out and draws are on by default)"
        )
    ends = _horizons(horizons, steps)
    decays = read_decay_range(law, known, weight_decay)
    measure = Measure(fitted, known, ends, objective == "upper")
    notes: list[str] = []

    def limits_at(rate: float) -> Limits:
        return read_limits(
            steps=steps,
            peak=rate,
            warmup=warmup,
            end_min=end_min,
            prefix=prefix,
            cooldown_from=cooldown_from,
            max_change=max_change,
            fixed=fixed,
            allow_rewarm=allow_rewarm,
        )

    def tell(line: str) -> None:
        if report is not None:
            report(line)

    if isinstance(peak, tuple):
        low, high = check_peaks(fitted, peak)
        low = min(max(low, *(fixed or {0: low}).values()), 0.99 * high)
        peak, words = golden_section(
            lambda rate: free_form(task_of(measure, limits_at(rate)), [], decays)[0].value,
            low,
            high,
            tell,
        )
        notes.append(words)
    limits = limits_at(float(peak))
    if ends[0] <= limits.begin + 1:
        raise UsageError(f"horizon {ends[0]} must be after step {limits.begin + 1}")
    task = task_of(measure, limits)
    scored = functools.cache(lambda plan: _scored(measure, plan))
    rough_of = functools.cache(lambda plan: roughness(measure.final_loss, plan.lr, limits.begin))
    baselines = [scored(plan) for plan in task.baselines]
    tell(f"{len(baselines)} baselines done")

    def is_smooth(plan: Schedule) -> bool:
        return bool(rough_of(plan) <= MAX_ROUGHNESS)

    smooth: list[Scored] = []
    rough: list[Scored] = []
    for place, plan in enumerate(_members(task, seed)):
        if place >= SHOWN and smooth:
            break
        (smooth if is_smooth(plan) else rough).append(scored(plan))
    allowed = [each for each in baselines if limits.broken_by(each.schedule.lr) is None]
    candidates = sorted([*smooth, *allowed], key=lambda each: each.value)
    if candidates:
        tell(f"families done, best {candidates[0].schedule.spec}")
    starts = [each.schedule for each in candidates[:2]]
    for intervals in INTERVALS:
        descent, free, free_decay = free_form(task, starts, decays, intervals)
        if calm := is_smooth(free):
            break
    found = _scored(measure, free, free_decay)
    (candidates if calm else rough).append(found)
    best = min(candidates, key=lambda each: each.value, default=found)
    if not np.isfinite(best.value):
        raise LawError(f"{law.name} gives no finite loss for any schedule; look at its parameters")
    decay = free_decay if best is found else None
    lr, last = best.schedule.lr, np.array([best.schedule.steps - 1])
    traces = {} if decay is None else {"weight_decay": decay}
    return Optimum(
        schedule=best.schedule,
        final_loss=best.final_loss,
        objective=_words(objective, ends),
        value=best.value,
        baselines={each.schedule.spec: each.final_loss for each in baselines},
        baseline_values={each.schedule.spec: each.value for each in baselines},
        broken={
            each.schedule.spec: reason
            for each in baselines
            if (reason := limits.broken_by(each.schedule.lr)) is not None
        },
        gains=gains_on(fitted, best, baselines, known, decay),
        family=min(smooth or [best], key=lambda each: each.value),
        rough=tuple(each for each in rough if each.value < best.value),
        horizons={end: measure.final_loss(lr[:end], _cut(decay, end)) for end in ends},
        weight_decay=decay,
        roughness=rough_of(best.schedule),
        starts=descent.ends,
        steepest_gain=descent.steepest_gain,
        distance=range_distance(fitted, lr, known, decay),
        notes=(*notes, *fitted.range_notes(best.schedule, known)),
        seconds=time.perf_counter() - began,
        uncertainty=fitted.uncertainty,
        exposure=variance_inputs_of(fitted, lr, last, known, traces),
    )


def _scored(measure: Measure, plan: Schedule, decay: Array | None = None) -> Scored:
    value = measure.value(plan.lr, decay)
    plain = not measure.robust and len(measure.horizons) == 1
    return Scored(plan, value if plain else measure.final_loss(plan.lr, decay), value)


def _horizons(given: Sequence[int] | None, steps: int) -> tuple[int, ...]:
    for end in given or ():
        if not 1 <= end <= steps:
            raise UsageError(f"horizon {end} must lie in 1..{steps}")
    return tuple(sorted({*(int(end) for end in given or ()), int(steps)}))


def _words(objective: str, ends: Sequence[int]) -> str:
    what = "final loss" if objective == "final" else "upper end of the 90 % interval"
    if len(ends) == 1:
        return what
    return f"mean {what} after {', '.join(str(end) for end in ends)} steps"


def _cut(row: Array | None, end: int) -> Array | None:
    return None if row is None else row[:end]


def _members(task: Task, seed: int) -> list[Schedule]:
    """The best members of the families, whole runs, the best first."""
    measure, limits = task.measure, task.limits
    fitted, law = measure.fitted, measure.fitted.law
    cells = [cells_for(law, end, cuts_of(limits)) for end in measure.horizons]
    function = compiled_rows(law)

    def objective(tables: list[Array]) -> Array:
        losses = [
            np.asarray(function(task.params, jnp.asarray(table), each, task.facts, task.robust))
            for table, each in zip(tables, cells, strict=True)
        ]
        found = np.mean(losses, axis=0)
        return np.asarray(found + lowest_cost(fitted, tables[-1][:, -1], limits.peak, found))

    return tune_families(limits, cells, objective, seed)
