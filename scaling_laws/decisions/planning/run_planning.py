"""Choose runs by what they are expected to tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from scaling_laws.common import LawError, UsageError
from scaling_laws.decisions.planning.candidate_runs import candidates_for, logged_steps, parsed
from scaling_laws.decisions.planning.information import (
    CandidateRun,
    candidate_run,
    deviations,
    gain_per_step,
    greedy,
    log_losses,
    own_error,
    posterior_sd,
    reduction,
)
from scaling_laws.decisions.planning.plan_result import DesignChoice, Plan, half_of
from scaling_laws.inference import (
    ABRUPT,
    NO_DROP,
    CurveFit,
    Uncertainty,
    VarianceInputs,
    abrupt_drop,
    facts_for,
    interval_of_end,
    require_curve_fit,
)
from scaling_laws.models import Schedule, in_float64

__all__ = ["plan"]

FEWEST = 10  # draws: fewer say nothing about how losses move together


@in_float64
def plan(
    fitted: CurveFit,
    target: Schedule | str,
    *,
    runs: int = 3,
    step_budget: int | None = None,
    candidates: Sequence[Schedule | str] | None = None,
    every: int | None = None,
    facts: Mapping[str, float] | None = None,
) -> Plan:
    """Choose the runs that are expected to tell most about a target's final loss.

    Runs are chosen one after another, each the one that lowers the variance most beside those
    before it. With a step budget only those count that still fit in; this is done twice, by
    reduction and by reduction a step, and what ends lower is kept: one long run may eat a budget
    that several short ones use better, and short ones may leave a rest that is good for nothing.
    Fewer runs than asked for come back when no other that fits in takes a hundredth off today's
    standard deviation.

    If the fit warned that none of its runs had an abrupt drop, the first run is one that has: the
    memory of a law shows nowhere else. A candidate with the target's own schedule measures what is
    wanted and leaves nothing open of it; the default candidates therefore leave it out.

    Known limits: it is a forecast from the current fit, so what all its draws agree on cannot be
    learned in it; errors of the law in two runs count as unrelated, however alike the schedules,
    and as large for a re-warm-up, which most laws follow badly, as for any other; a run that the
    fit has seen already tells nothing more, whatever the ranking says.

    Args:
        fitted: a law that was fitted with draws and with held-out runs.
        target: the schedule whose final loss is wanted, or its spec.
        runs: how many runs to choose at most.
        step_budget: steps that all chosen runs together may take.
        candidates: schedules to choose from, or their specs; default `default_candidates`.
        every: steps between two logged losses of a candidate; at most `POINTS` of the losses are
            used, spread evenly over what a fit would use. Default `POINTS` losses.
        facts: numbers of the target and of all candidates that override those of the fit.

    Returns:
        The plan; the same arguments give the same plan.

    Raises:
        UsageError: if `runs`, `step_budget` or `every` is below 1, there are no candidates, none
            fits in the budget, or one ends before the steps that the fit uses.
        ScheduleError: if a spec is malformed, or every rate of a schedule is 0.
        LawError: if the law sees no schedule, lacks draws, measured errors, a fact or a trace.
    """
    law = require_curve_fit(fitted).law
    uncertainty = _measured(fitted)
    for name, number in (("runs", runs), ("step_budget", step_budget), ("every", every)):
        if number is not None and number < 1:
            raise UsageError(f"{name}={number} must be >= 1")
    aim = parsed(target)
    pool = candidates_for(fitted, aim, candidates, step_budget)
    goal = log_losses(fitted, aim, logged_steps(fitted, aim, every), facts)[:, -1:]
    steps = [logged_steps(fitted, each, every) for each in pool]
    curves = [
        log_losses(fitted, each, logged, facts) for each, logged in zip(pool, steps, strict=True)
    ]
    fine = np.isfinite(np.concatenate([goal, *curves], axis=1)).all(axis=1)
    if not fine[0] or fine[1:].sum() < FEWEST:
        raise LawError(f"{law.name} gives no finite loss of these schedules; look at its draws")
    wanted = deviations(goal[1:][fine[1:]])
    known = [
        # the target's own loss is measured outright, and its own error with it
        CandidateRun(each, wanted, np.zeros((1, 1)))
        if each == aim
        else candidate_run(each, logged, deviations(rows[1:][fine[1:]]), uncertainty)
        for each, logged, rows in zip(pool, steps, curves, strict=True)
    ]
    last = np.array([aim.steps - 1])
    final_loss = np.exp(goal[:1, 0])

    def interval(spread: float) -> tuple[float, float]:
        exposure = VarianceInputs.of(aim.lr, last, spread)
        return interval_of_end(float(final_loss[0]), uncertainty, 0.9, exposure)

    def choice(run: CandidateRun, before: float, after: float) -> DesignChoice:
        return DesignChoice(run.schedule, after, before - after, interval(after))

    drops, notes = _abrupt_runs(fitted, known)
    left_range = fitted.range_notes(aim, facts_for(fitted, facts, aim))
    now = float(np.linalg.norm(wanted))
    floor = float(own_error(aim, last, uncertainty)[0])
    scores = (reduction,) if step_budget is None else (reduction, gain_per_step)
    paths = [greedy(known, drops, wanted[:, 0], runs, step_budget, score) for score in scores]
    path = min(paths, key=lambda each: each[-1][1] if each else now)
    before = (now, *(after for _, after in path))
    choices = tuple(
        choice(run, start, after) for start, (run, after) in zip(before, path, strict=False)
    )
    alone = [
        choice(run, now, posterior_sd(np.eye(len(wanted)), wanted[:, 0], run)) for run in known
    ]
    return Plan(
        target=aim,
        final_loss=float(final_loss[0]),
        now=now,
        floor=floor,
        interval_90=interval(now),
        floor_half_width_90=half_of(interval(0.0)),
        choices=choices,
        ranking=tuple(sorted(alone, key=lambda each: (each.expected, each.schedule.steps))),
        notes=(
            *notes,
            *_limits(aim, choices, now, floor, runs, step_budget),
            *(f"target: {each}" for each in left_range),
        ),
    )


def _measured(fitted: CurveFit) -> Uncertainty:
    """The law's uncertainty; an error if it, or the draws, are missing."""
    name = fitted.law.name
    if fitted.draw_count < FEWEST:
        raise LawError(
            f"{name} has {fitted.draw_count} draws of its parameters and a plan needs {FEWEST}: "
            "they say what the runs leave open; fit the law to runs, with draws "
            "(the default is 100)"
        )
    if fitted.uncertainty is None:
        raise LawError(
            f"{name}: its errors were not measured, and a plan weighs what a run tells against "
            "them; fit it with hold_out=True"
        )
    return fitted.uncertainty


def _abrupt_runs(
    fitted: CurveFit, known: Sequence[CandidateRun]
) -> tuple[list[CandidateRun], list[str]]:
    """The runs to begin with if no fitted run shows the law's memory, and why."""
    warnings = () if fitted.record is None else fitted.record.warnings
    memory = ", ".join(fitted.law.memory)
    if not memory or not any(each.startswith(NO_DROP) for each in warnings):
        return [], []
    drops = [run for run in known if abrupt_drop(run.schedule) >= ABRUPT]
    if not drops:
        return [], [
            f"{NO_DROP}, and none among the candidates that fit in: the memory ({memory}) "
            "stays open; add a multistage candidate whose LR falls at once"
        ]
    return drops, [
        f"{NO_DROP}: the first run is one, because only a LR that falls at once shows how "
        f"fast the loss follows ({memory}); until then today's interval may be too narrow"
    ]


def _limits(
    aim: Schedule,
    choices: Sequence[DesignChoice],
    now: float,
    floor: float,
    runs: int,
    budget: int | None,
) -> list[str]:
    """What the chosen runs cannot do."""
    notes = []
    if any(each.schedule == aim for each in choices):
        notes.append(
            f"{aim.spec} is the target itself: training it measures its final loss outright, and "
            "the intervals after it are wider than what noise between seeds leaves"
        )
    elif (choices[-1].expected if choices else now) < floor:
        since = "already today" if now < floor else "after these runs"
        notes.append(
            f"{since} the law's own error is the larger part of the interval; runs of other "
            "schedules do not lower it, training the target, or another law, may"
        )
    if len(choices) < runs:
        room = "" if budget is None else f" that fits in {budget} steps"
        notes.append(
            f"{len(choices)} of {runs} runs chosen: no other{room} is expected to lower the spread "
            "by a hundredth of today's"
        )
    return notes
