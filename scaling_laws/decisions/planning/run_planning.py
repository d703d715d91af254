"""Choose the runs with the largest expected information about a target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import LawError, UsageError
from scaling_laws.decisions.planning.candidate_runs import candidates_for, logged_steps, parsed
from scaling_laws.decisions.planning.information import (
    CandidateRun,
    candidate_run,
    deviations,
    gain_per_step,
    greedy,
    law_error,
    log_losses,
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

Array = NDArray[np.float64]
MIN_DRAWS = 10  # fewer do not determine how losses covary


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
    """Choose the runs that are expected to reduce the interval of a target's final loss most.

    Runs are chosen greedily: each reduces the variance most, given those before it. With a step
    budget, only runs that fit in the remaining steps are considered, and the selection is done
    twice, by reduction and by reduction per step; the one with the lower final variance is
    returned. One long run can use up a budget that several short ones would use better, and short
    ones can leave a remainder that is too small for any run. Fewer runs than requested are returned
    if no other run within the budget reduces the current standard deviation by a hundredth.

    If the fit warned that none of its runs had an abrupt drop, the first run has one, because
    nothing else determines the memory of a law. A candidate with the target's schedule measures
    the final loss directly and leaves no uncertainty about it; the default candidates omit it.

    Known limits: the plan is a forecast from the current fit, so it cannot account for what all
    draws agree on; the errors of the law in two runs count as independent, however similar the
    schedules, and as equally large for a re-warm-up, which most laws describe badly; a run that is
    already fitted adds no information, whatever its rank.

    Args:
        fitted: a law fitted with draws and with held-out runs.
        target: the schedule whose final loss is to be predicted, or its spec.
        runs: how many runs to choose at most.
        step_budget: total steps that the chosen runs may take.
        candidates: schedules to choose from, or their specs; default `default_candidates`.
        every: steps between two logged losses of a candidate; at most `POINTS` of the losses are
            used, evenly spaced over what a fit would use. Default: `POINTS` losses.
        facts: facts of the target and of all candidates that override those of the fit.

    Returns:
        The plan; it is deterministic.

    Raises:
        UsageError: if `runs`, `step_budget` or `every` is below 1, there are no candidates, none
            fits in the budget, or one ends before the steps that the fit uses.
        ScheduleError: if a spec is malformed, or every rate of a schedule is 0.
        LawError: if the law does not take a schedule, or has no draws or held-out errors, or lacks
            a fact or a trace.
    """
    require_curve_fit(fitted)
    uncertainty = _held_out_uncertainty(fitted)
    for name, number in (("runs", runs), ("step_budget", step_budget), ("every", every)):
        if number is not None and number < 1:
            raise UsageError(f"{name}={number} must be >= 1")
    goal = parsed(target)
    schedules = candidates_for(fitted, goal, candidates, step_budget)
    final_loss, target_curve, known = _joint_deviations(
        fitted, uncertainty, goal, schedules, every, facts
    )
    last = np.array([goal.steps - 1])

    def interval(parameter_sd: float) -> tuple[float, float]:
        inputs = VarianceInputs.of(goal.lr, last, parameter_sd)
        return interval_of_end(final_loss, uncertainty, 0.9, inputs)

    def choice(run: CandidateRun, before: float, after: float) -> DesignChoice:
        return DesignChoice(run.schedule, after, before - after, interval(after))

    first_runs, notes = _abrupt_runs(fitted, known)
    range_notes = fitted.range_notes(goal, facts_for(fitted, facts, goal))
    now = float(np.linalg.norm(target_curve))
    floor = float(law_error(goal, last, uncertainty)[0])
    scores = (reduction,) if step_budget is None else (reduction, gain_per_step)
    paths = [greedy(known, first_runs, target_curve, runs, step_budget, score) for score in scores]
    path = min(paths, key=lambda chosen: chosen[-1][1] if chosen else now)
    before = (now, *(after for _, after in path))
    choices = tuple(
        choice(run, start, after) for start, (run, after) in zip(before, path, strict=False)
    )
    identity = np.eye(len(target_curve))
    alone = [choice(run, now, posterior_sd(identity, target_curve, run)) for run in known]
    return Plan(
        target=goal,
        final_loss=final_loss,
        now=now,
        floor=floor,
        interval_90=interval(now),
        floor_half_width_90=half_of(interval(0.0)),
        choices=choices,
        ranking=tuple(sorted(alone, key=lambda option: (option.expected, option.schedule.steps))),
        notes=(
            *notes,
            *_limitations(goal, choices, now, floor, runs, step_budget),
            *(f"target: {note}" for note in range_notes),
        ),
    )


def _joint_deviations(
    fitted: CurveFit,
    uncertainty: Uncertainty,
    target: Schedule,
    schedules: Sequence[Schedule],
    every: int | None,
    facts: Mapping[str, float] | None,
) -> tuple[float, Array, list[CandidateRun]]:
    """The target's final loss, its deviations under the draws, (draws,), and the candidate runs.

    Draws under which a loss of any schedule is not finite are omitted.

    Raises:
        LawError: if the losses of the fit, or of all but a few draws, are not finite.
    """
    end = log_losses(fitted, target, logged_steps(fitted, target, every), facts)[:, -1:]
    steps = [logged_steps(fitted, schedule, every) for schedule in schedules]
    curves = [
        log_losses(fitted, schedule, logged, facts)
        for schedule, logged in zip(schedules, steps, strict=True)
    ]
    finite = np.isfinite(np.concatenate([end, *curves], axis=1)).all(axis=1)
    if not finite[0] or finite[1:].sum() < MIN_DRAWS:
        raise LawError(
            f"{fitted.law.name}: its losses for these schedules are not finite; check its draws"
        )
    target_curve = deviations(end[1:][finite[1:]])
    known = [
        # training the target measures its loss directly, including the law's error
        CandidateRun(schedule, target_curve, np.zeros((1, 1)))
        if schedule == target
        else candidate_run(schedule, logged, deviations(rows[1:][finite[1:]]), uncertainty)
        for schedule, logged, rows in zip(schedules, steps, curves, strict=True)
    ]
    return float(np.exp(end[:1, 0])[0]), target_curve[:, 0], known


def _held_out_uncertainty(fitted: CurveFit) -> Uncertainty:
    """The law's uncertainty; an error if it, or the draws, are missing."""
    name = fitted.law.name
    if fitted.draw_count < MIN_DRAWS:
        raise LawError(
            f"{name} has {fitted.draw_count} draws of its parameters and a plan needs {MIN_DRAWS}, "
            "which describe what the fitted runs leave uncertain; fit the law to runs, with draws "
            "(the default is 100)"
        )
    if fitted.uncertainty is None:
        raise LawError(
            f"{name}: its errors were not measured, and a plan needs them to weight the runs; fit "
            "it with hold_out=True"
        )
    return fitted.uncertainty


def _abrupt_runs(
    fitted: CurveFit, known: Sequence[CandidateRun]
) -> tuple[list[CandidateRun], list[str]]:
    """Candidates for the first run if no fitted run determines the law's memory, and why."""
    warnings = () if fitted.record is None else fitted.record.warnings
    memory = ", ".join(fitted.law.memory)
    if not memory or not any(warning.startswith(NO_DROP) for warning in warnings):
        return [], []
    drops = [run for run in known if abrupt_drop(run.schedule) >= ABRUPT]
    if not drops:
        return [], [
            f"{NO_DROP}, nor among the candidates within the budget: the memory ({memory}) "
            "remains undetermined; add a multistage candidate with an abrupt drop of the LR"
        ]
    return drops, [
        f"{NO_DROP}: the first run is one, because only an abrupt drop of the LR shows how "
        f"fast the loss responds ({memory}); until then the current interval may be too narrow"
    ]


def _limitations(
    target: Schedule,
    choices: Sequence[DesignChoice],
    now: float,
    floor: float,
    runs: int,
    budget: int | None,
) -> list[str]:
    """What the chosen runs do not achieve."""
    notes = []
    if any(choice.schedule == target for choice in choices):
        notes.append(
            f"{target.spec} is the target itself: training it measures its final loss directly; "
            "the intervals after it are wider than the noise between seeds"
        )
    elif (choices[-1].expected if choices else now) < floor:
        when = "already today" if now < floor else "after these runs"
        notes.append(
            f"{when} the law's own error is the larger part of the interval; runs of other "
            "schedules do not reduce it; training the target, or another law, may"
        )
    if len(choices) < runs:
        within = "" if budget is None else f" within {budget} steps"
        notes.append(
            f"{len(choices)} of {runs} runs chosen: no other run{within} is expected to reduce the "
            "standard deviation by a hundredth of the current one"
        )
    return notes
