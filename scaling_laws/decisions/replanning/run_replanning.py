"""Replan a run in progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import UsageError
from scaling_laws.data import Run
from scaling_laws.decisions.replanning.binned_log import gather, settled_step
from scaling_laws.decisions.replanning.endings import (
    SHORTEST,
    best_cooldown,
    default_budgets,
    stops,
)
from scaling_laws.decisions.replanning.parameter_prior import SHIPPED
from scaling_laws.decisions.replanning.posterior import Outlook, look_out
from scaling_laws.decisions.replanning.replan_result import Ending, Now, Replan
from scaling_laws.decisions.search import optimize, shared_error
from scaling_laws.inference import CurveFit, FitResult
from scaling_laws.models import Law, Schedule, get_schedule_law, in_float64
from scaling_laws.models import schedule as parse_schedule

__all__ = ["DEFAULT_LAW", "replan"]

Array = NDArray[np.float64]
DEFAULT_LAW = "norm_clock"
SHORT = 0.15  # of a plan: a log of less says little
FEW = 20  # logged losses
LEVEL = 0.02  # a fall of the rate by less than such a share shows no gain


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
    report: Callable[[str], None] | None = None,
) -> Replan:
    """Say of a run in progress what will happen and what to do.

    A law is conditioned on the losses so far: what they show is taken from them, what they do not
    show stays near the law file, or near the shipped prior. Under the law so found the current
    plan is forecast, the steps that are left are searched for a better schedule, and the end of
    the run is moved.

    Args:
        run: the losses so far; its schedule is the current plan, and goes on beyond the last.
        law: a law that was fitted to other runs, by far the better; or a law, or its name, whose
            shipped prior is to serve; default the norm clock.
        plan: another current plan, that agrees with the run's schedule in what is done.
        steps: budget of the best schedule, what is done included; default that of the plan. Where
            the plan ends with the log, the present LR is taken to be held up to here.
        budgets: step counts for which the best cooldown is wanted; default a few up to twice the
            plan.
        end_min: lowest learning rate, at which cooldowns end.
        allow_rewarm: let the best schedule rise again, up to the highest LR so far.
        at_step: updates done; later losses are left out. Default the last logged step + 1.
        from_step: leave out losses before this step, or before ``"warmup"`` ends; default the
            warm-up and the first twelfth of what is done.
        seed: of the draws and the search.
        report: called with a line of progress now and then.

    Returns:
        The forecast, the best way to go on, cooldowns, and what stopping costs.

    Raises:
        UsageError: if too little is logged, nothing is left to plan, or an option makes no sense.
        LawError: if the law sees no schedule, or needs what the run does not give.
        FitError: if the law's losses on the run are not finite.
    """
    began = time.perf_counter()

    def tell(line: str) -> None:
        if report is not None:
            report(line)

    now = int(run.steps[-1]) + 1 if at_step is None else at_step
    notes: list[str] = []
    cut = _cut(run, now, plan, steps, notes)
    current = cut.schedule
    done = current.lr[:now]
    total = current.steps if steps is None else steps
    _check_frame(cut, now, total, end_min, budgets)
    first = _first(cut, now, from_step)
    points = gather(cut, first, now)
    given = get_schedule_law(law or DEFAULT_LAW) if law is None or isinstance(law, str) else law
    tell("conditioning the law on the run so far")
    outlook = look_out(cut, points, now, given, seed)
    notes = [*outlook.notes, *notes]
    notes += _cautions(given, done, now, current, points.logged)
    tell("forecasting the plan")
    forecast, plan_draws = _ending(outlook, current, now)
    tell("searching the steps that are left")
    best, best_draws = _best(outlook, current, now, total, end_min, allow_rewarm, seed, report)
    held = best_cooldown(outlook, done, total, end_min)
    if held.final_loss < best.final_loss:  # the search keeps nearer to what the law has seen
        lr = np.concatenate([done, parse_schedule(held.spec).lr])
        words = f"the first {now} steps + {held.spec}"
        best, best_draws = _ending(outlook, Schedule(words, lr), now)
    gain = half = None
    if total == current.steps:
        if forecast.final_loss <= best.final_loss:
            best, best_draws = forecast, plan_draws
        gain = forecast.final_loss - best.final_loss
        shared = shared_error(current.lr, best.schedule.lr)
        half = outlook.gain_interval(best.final_loss, plan_draws, best_draws, shared)
    cooldowns = []
    for budget in budgets or default_budgets(now, total):
        tell(f"cooldowns that end at step {budget}")
        cooldowns.append(held if budget == total else best_cooldown(outlook, done, budget, end_min))
    stopping = stops(outlook, done, current.lr, end_min, max(total, current.steps), tell)
    return Replan(
        run=cut,
        now=Now(now, float(cut.loss[-1]), float(done[-1])),
        fitted=outlook.fitted,
        plan=forecast,
        best=best,
        gain=gain,
        gain_interval_90=None if gain is None or half is None else (gain - half, gain + half),
        cooldowns=tuple(cooldowns),
        stopping=stopping,
        scope=outlook.conditioned.belief.scope.label,
        notes=tuple(dict.fromkeys([*notes, *_beyond(outlook, current, best)])),
        seconds=time.perf_counter() - began,
    )


def _cut(
    run: Run, now: int, plan: Schedule | str | None, steps: int | None, notes: list[str]
) -> Run:
    """The run with its log up to now, and the plan that it follows from there."""
    kept = run.steps < now
    if not kept.any():
        raise UsageError(
            f"run {run.name!r}: no loss is logged before step {now}; the first is at step "
            f"{run.steps[0]}"
        )
    current = run.schedule
    if plan is not None:
        current = parse_schedule(plan) if isinstance(plan, str) else plan
        last = min(now, current.steps, run.schedule.steps)
        apart = np.abs(current.lr[:last] - run.schedule.lr[:last])
        if apart.max() > 2e-3 * run.schedule.peak_lr:
            step = int(np.argmax(apart))
            raise UsageError(
                f"run {run.name!r}: the plan gives LR {current.lr[step]:g} at step {step}, which "
                f"the run did with {run.schedule.lr[step]:g} ({current.spec})"
            )
    if now > current.steps:
        raise UsageError(
            f"run {run.name!r}: step {now} is past the plan's {current.steps} steps "
            f"({current.spec}); give the plan that goes on, or an earlier step"
        )
    if current.steps < now + SHORTEST:
        if steps is None or steps < now + SHORTEST:
            raise UsageError(
                f"run {run.name!r}: the plan ends at step {current.steps} and {now} are done, so "
                f"nothing is left to plan ({current.spec}); say with steps how long the run is to "
                "go on, give a longer plan, or an earlier at_step to look back"
            )
        rate = float(current.lr[now - 1])
        notes.append(
            f"the plan ends at step {current.steps}: LR {rate:g} is taken to be held to {steps}"
        )
        held = np.full(steps - now, rate)
        words = f"{current.spec} + constant:peak={rate!r},steps={steps - now}"
        current = Schedule(words, np.concatenate([current.lr[:now], held]))
    traces = {
        name: np.interp(np.arange(current.steps), np.arange(len(row)), row)
        for name, row in run.traces.items()
    }
    whole = replace(run.at(np.flatnonzero(kept)), schedule=current, traces=traces)
    return whole


def _check_frame(
    run: Run, now: int, total: int, end_min: float, budgets: Sequence[int] | None
) -> None:
    warmup, rate = run.schedule.warmup, float(run.schedule.lr[now - 1])
    if now <= warmup:
        raise UsageError(
            f"run {run.name!r}: step {now} lies in its warm-up of {warmup} steps; nothing can be "
            "said before it ends"
        )
    if not rate > 0:
        raise UsageError(
            f"run {run.name!r}: LR is 0 at step {now - 1}, so that nothing can be held or cooled "
            "down; give an earlier at_step"
        )
    if not 0 <= end_min < rate:
        raise UsageError(
            f"end_min={end_min!r} must be >= 0 and below the present LR {rate:g} (step {now - 1})"
        )
    for name, each in (("steps", total), *(("budget", each) for each in budgets or ())):
        if each < now + SHORTEST:
            raise UsageError(
                f"{name}={each} must leave at least {SHORTEST} steps after the {now} that are done"
            )


def _first(run: Run, now: int, from_step: int | str | None) -> int:
    if from_step is None:
        return settled_step(run, now)
    return run.schedule.warmup if from_step == "warmup" else int(from_step)


def _cautions(
    given: CurveFit | Law, done: Array, now: int, current: Schedule, logged: int
) -> list[str]:
    """What a short log, or one at a level LR, cannot show."""
    notes = []
    if now < SHORT * current.steps or logged < FEW:
        notes.append(
            f"the log is short: {logged} losses, {now} of {current.steps} steps; much of the "
            "forecast comes from the law"
        )
    level = float(done[-1]) > (1.0 - LEVEL) * float(done.max())
    if level and not isinstance(given, FitResult):
        notes.append(
            "how much a decay gains is not in your data yet: the LR has been level, and the gain "
            "comes from the shipped prior; --law with a law fitted to runs that decayed says more"
        )
    return notes


def _ending(outlook: Outlook, plan: Schedule, now: int) -> tuple[Ending, Array]:
    """The end of a schedule, and its log losses there under the draws."""
    value, draws = outlook.end(plan.lr)
    interval, curve = outlook.interval(value, plan.lr, draws), outlook.curve(plan.lr, now - 1)
    return Ending(plan, value, interval, curve), draws


def _best(
    outlook: Outlook,
    current: Schedule,
    now: int,
    total: int,
    end_min: float,
    allow_rewarm: bool,
    seed: int,
    report: Callable[[str], None] | None,
) -> tuple[Ending, Array]:
    done = current.lr[:now]
    law = outlook.fitted
    if outlook.conditioned.belief.scope is SHIPPED:
        law = replace(law, range=None)  # the run's own range: not to leave it is to never cool down
    found = optimize(
        law,
        steps=total,
        peak=float(done.max()),
        end_min=end_min,
        prefix=done,
        allow_rewarm=allow_rewarm,
        facts=outlook.facts,
        seed=seed,
        report=report,
    )
    lr = found.schedule.lr.copy()
    lr[:now] = done  # exactly what was done, whatever the search does with rounding
    return _ending(outlook, Schedule(found.schedule.spec, lr), now)


def _beyond(outlook: Outlook, current: Schedule, best: Ending) -> list[str]:
    """Where the plan and the best schedule leave what the law has seen."""
    notes = []
    for what, plan in (("the plan", current), ("the best schedule", best.schedule)):
        if what == "the best schedule" and plan is current:
            continue
        notes += [f"{what}: {each}" for each in outlook.fitted.range_notes(plan, outlook.facts)]
    return notes
