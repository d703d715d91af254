"""Replan a run in progress."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import ExtrapolationWarning, UsageError, report_progress, warn
from scaling_laws.data import LR_TOLERANCE, Run
from scaling_laws.decisions.constraints import MIN_SHAPED_STEPS, ScheduleConstraints
from scaling_laws.decisions.replanning.binned_log import gather, settled_step
from scaling_laws.decisions.replanning.endings import (
    best_cooldown,
    default_budgets,
    stops,
)
from scaling_laws.decisions.replanning.parameter_prior import SHIPPED
from scaling_laws.decisions.replanning.posterior import Posterior, condition_on_log
from scaling_laws.decisions.replanning.replan_result import Cooldown, Now, PlanOutcome, Replan
from scaling_laws.decisions.search import optimize, shared_error
from scaling_laws.inference import CurveFit, FitResult
from scaling_laws.models import Law, Schedule, get_schedule_law, in_float64
from scaling_laws.models import schedule as parse_schedule

__all__ = ["DEFAULT_LAW", "replan"]

Array = NDArray[np.float64]
DEFAULT_LAW = "norm_clock"
SHORT_LOG = 0.15  # share of a plan, below which the log is short
FEW_LOSSES = 20
LEVEL_LR = 0.02  # relative fall of the LR, below which a log shows no gain of a decay


@in_float64
def replan(
    run: Run,
    *,
    law: CurveFit | Law | str | None = None,
    plan: Schedule | str | None = None,
    steps: int | None = None,
    budgets: Sequence[int] | None = None,
    end_min: float = 0.0,
    allow_rewarm: bool = False,
    at_step: int | None = None,
    from_step: int | str | None = None,
    seed: int = 0,
) -> Replan:
    """Forecast a run in progress and find the best schedule for its remaining steps.

    The law is conditioned on the losses so far: whatever they do not determine stays near the law
    file, or near the shipped prior. With the conditioned law, the current plan is forecast, the
    remaining steps are searched for a better schedule, and other run lengths are evaluated.

    Args:
        run: the losses so far; its schedule is the current plan and continues beyond the last loss.
        law: a law fitted to other runs, which is by far the better choice; or a law, or its name,
            whose shipped prior is used. Default: the norm clock.
        plan: another current plan; its completed steps must agree with the run's schedule.
        steps: length of the best schedule, including the completed steps; default that of the plan.
            If the plan ends with the log, the current LR is assumed to stay constant up to here.
        budgets: step counts for which the best cooldown is searched; default a few up to twice the
            plan.
        end_min: lowest learning rate, at which cooldowns end.
        allow_rewarm: let the best schedule rise again, up to the highest LR so far.
        at_step: completed updates; later losses are ignored. Default: the last logged step + 1.
        from_step: ignore losses before this step, or before ``"warmup"`` ends; default the warm-up
            and the first twelfth of the completed steps.
        seed: of the draws and the search.

    Returns:
        The forecast, the best schedule, cooldowns, and the cost of stopping early.

    Raises:
        UsageError: if too little is logged, no steps remain, or an option is invalid.
        LawError: if the law does not take a schedule, or needs what the run does not state.
        FitError: if the law's losses on the run are not finite.
    """
    began = time.perf_counter()
    now = int(run.steps[-1]) + 1 if at_step is None else at_step
    run_so_far, notes = _run_so_far(run, now, plan, steps)
    current = run_so_far.schedule
    total = current.steps if steps is None else steps
    constraints = _constraints(run_so_far, now, total, end_min, allow_rewarm, budgets)
    points = gather(run_so_far, _first(run_so_far, now, from_step), now)
    source = get_schedule_law(law or DEFAULT_LAW) if law is None or isinstance(law, str) else law
    report_progress("conditioning the law on the run so far")
    posterior = condition_on_log(run_so_far, points, now, source, seed)
    notes = [*posterior.notes, *notes, *_cautions(source, current, now, points.logged)]
    report_progress("forecasting the plan")
    forecast, plan_draws = _outcome(posterior, current, now)
    report_progress("searching the remaining steps")
    hold_then_cool = best_cooldown(posterior, constraints.prefix_lr, total, end_min)
    best, best_draws = _best(posterior, constraints, hold_then_cool, seed)
    gain = half_width = None
    if total == current.steps:
        if forecast.final_loss <= best.final_loss:
            best, best_draws = forecast, plan_draws
        gain = forecast.final_loss - best.final_loss
        shared = shared_error(current.lr, best.schedule.lr)
        half_width = posterior.gain_half_width(best.final_loss, plan_draws, best_draws, shared)
    outside = _range_notes(posterior, current, best)
    for note in outside:
        warn(note, ExtrapolationWarning)
    done = constraints.prefix_lr
    return Replan(
        run=run_so_far,
        now=Now(now, float(run_so_far.loss[-1]), float(done[-1])),
        fitted=posterior.fitted,
        plan=forecast,
        best=best,
        gain=gain,
        gain_interval_90=(
            None if gain is None or half_width is None else (gain - half_width, gain + half_width)
        ),
        cooldowns=_cooldowns(posterior, constraints, hold_then_cool, budgets),
        stopping=stops(posterior, done, current.lr, end_min, max(total, current.steps)),
        scope=posterior.laplace.prior.scope.label,
        notes=tuple(dict.fromkeys([*notes, *outside])),
        seconds=time.perf_counter() - began,
    )


def _run_so_far(
    run: Run, now: int, plan: Schedule | str | None, steps: int | None
) -> tuple[Run, list[str]]:
    """The run with its log up to `now` and the current plan; notes on what was assumed."""
    notes = []
    logged = run.steps < now
    if not logged.any():
        raise UsageError(
            f"run {run.name!r}: no loss is logged before step {now}; the first is at step "
            f"{run.steps[0]}"
        )
    current = run.schedule
    if plan is not None:
        current = parse_schedule(plan) if isinstance(plan, str) else plan
        last = min(now, current.steps, run.schedule.steps)
        difference = np.abs(current.lr[:last] - run.schedule.lr[:last])
        if difference.max() > LR_TOLERANCE * run.schedule.peak_lr:
            step = int(np.argmax(difference))
            raise UsageError(
                f"run {run.name!r}: the plan gives LR {current.lr[step]:g} at step {step}, which "
                f"the run took at {run.schedule.lr[step]:g} ({current.spec})"
            )
    if now > current.steps:
        raise UsageError(
            f"run {run.name!r}: step {now} is past the plan's {current.steps} steps "
            f"({current.spec}); give a longer plan, or an earlier step"
        )
    if current.steps < now + MIN_SHAPED_STEPS:
        if steps is None or steps < now + MIN_SHAPED_STEPS:
            raise UsageError(
                f"run {run.name!r}: the plan ends at step {current.steps} and {now} are done, so "
                f"nothing is left to plan ({current.spec}); give steps, the length of the "
                "continued run, a longer plan, or an earlier at_step to look back"
            )
        rate = float(current.lr[now - 1])
        notes.append(
            f"the plan ends at step {current.steps}: LR {rate:g} is assumed constant up to {steps}"
        )
        constant = np.full(steps - now, rate)
        spec = f"{current.spec} + constant:peak={rate!r},steps={steps - now}"
        current = Schedule(spec, np.concatenate([current.lr[:now], constant]))
    traces = {
        name: np.interp(np.arange(current.steps), np.arange(len(row)), row)
        for name, row in run.traces.items()
    }
    return replace(run.at(np.flatnonzero(logged)), schedule=current, traces=traces), notes


def _constraints(
    run: Run,
    now: int,
    total: int,
    end_min: float,
    allow_rewarm: bool,
    budgets: Sequence[int] | None,
) -> ScheduleConstraints:
    """The constraints on the remaining steps: the run so far is the prefix."""
    done = run.schedule.lr[:now]
    warmup, rate = run.schedule.warmup, float(done[-1])
    if now <= warmup:
        raise UsageError(
            f"run {run.name!r}: step {now} lies in its warm-up of {warmup} steps; nothing can be "
            "predicted before it ends"
        )
    if not rate > 0:
        raise UsageError(
            f"run {run.name!r}: LR is 0 at step {now - 1}, so it cannot be kept or cooled down; "
            "give an earlier at_step"
        )
    if not 0 <= end_min < rate:
        raise UsageError(
            f"end_min={end_min!r} must be >= 0 and below the current LR {rate:g} (step {now - 1})"
        )
    for name, end in (("steps", total), *(("budget", budget) for budget in budgets or ())):
        if end < now + MIN_SHAPED_STEPS:
            raise UsageError(
                f"{name}={end} must leave at least {MIN_SHAPED_STEPS} steps after the {now} that "
                "are done"
            )
    return ScheduleConstraints(
        steps=total,
        peak=float(done.max()),
        end_min=end_min,
        prefix=done,
        allow_rewarm=allow_rewarm,
    )


def _first(run: Run, now: int, from_step: int | str | None) -> int:
    if from_step is None:
        return settled_step(run, now)
    return run.schedule.warmup if from_step == "warmup" else int(from_step)


def _cautions(source: CurveFit | Law, current: Schedule, now: int, logged: int) -> list[str]:
    """What a short log, or one at a constant LR, does not determine."""
    notes = []
    if now < SHORT_LOG * current.steps or logged < FEW_LOSSES:
        notes.append(
            f"the log is short: {logged} losses, {now} of {current.steps} steps; the forecast "
            "depends mostly on the law"
        )
    done = current.lr[:now]
    constant = float(done[-1]) > (1.0 - LEVEL_LR) * float(done.max())
    if constant and not isinstance(source, FitResult):
        notes.append(
            "the data do not determine the gain of a decay yet: the LR has been constant, so the "
            "gain comes from the shipped prior; --law with a law fitted to runs that decayed is "
            "more accurate"
        )
    return notes


def _outcome(posterior: Posterior, plan: Schedule, now: int) -> tuple[PlanOutcome, Array]:
    """The outcome of a schedule, and its log final losses under the draws."""
    value, draws = posterior.end(plan.lr)
    interval, curve = posterior.interval(value, plan.lr, draws), posterior.curve(plan.lr, now - 1)
    return PlanOutcome(plan, value, interval, curve), draws


def _best(
    posterior: Posterior, constraints: ScheduleConstraints, hold_then_cool: Cooldown, seed: int
) -> tuple[PlanOutcome, Array]:
    """The best of a search and a plain cooldown, and its log final losses under the draws."""
    done = constraints.prefix_lr
    now = len(done)
    law = posterior.fitted
    if posterior.laplace.prior.scope is SHIPPED:
        law = replace(law, range=None)  # the range of this run alone contains no cooldown
    with warnings.catch_warnings():  # `replan` checks the outcome that it returns
        warnings.simplefilter("ignore", ExtrapolationWarning)
        optimum = optimize(law, constraints=constraints, facts=posterior.facts, seed=seed)
    lr = optimum.schedule.lr.copy()
    lr[:now] = done  # exactly the completed steps, without the rounding of the search
    best = _outcome(posterior, Schedule(optimum.schedule.spec, lr), now)
    if hold_then_cool.final_loss < best[0].final_loss:  # the search stays closer to fitted runs
        lr = np.concatenate([done, parse_schedule(hold_then_cool.spec).lr])
        spec = f"the first {now} steps + {hold_then_cool.spec}"
        best = _outcome(posterior, Schedule(spec, lr), now)
    return best


def _cooldowns(
    posterior: Posterior,
    constraints: ScheduleConstraints,
    hold_then_cool: Cooldown,
    budgets: Sequence[int] | None,
) -> tuple[Cooldown, ...]:
    """The best cooldown per budget."""
    done, total = constraints.prefix_lr, constraints.steps
    ends = tuple(budgets or default_budgets(len(done), total))
    cooldowns = []
    for number, end in enumerate(ends):
        report_progress("cooldowns", number, len(ends))
        cooldowns.append(
            hold_then_cool
            if end == total
            else best_cooldown(posterior, done, end, constraints.end_min)
        )
    return tuple(cooldowns)


def _range_notes(posterior: Posterior, current: Schedule, best: PlanOutcome) -> list[str]:
    """Where the plan and the best schedule leave the range of the fit."""
    named = {"the plan": current}
    if best.schedule is not current:
        named["the best schedule"] = best.schedule
    return [
        f"{name}: {note}"
        for name, plan in named.items()
        for note in posterior.fitted.range_notes(plan, posterior.facts)
    ]
