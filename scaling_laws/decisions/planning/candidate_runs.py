"""The schedules that a plan chooses from, and which of their steps a fit would use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import ScheduleError, UsageError
from scaling_laws.inference import CurveFit
from scaling_laws.models import Schedule, format_spec, get_family
from scaling_laws.models import schedule as parse_schedule

__all__ = ["POINTS", "candidates_for", "default_candidates", "logged_steps", "parsed"]

POINTS = 48  # steps of a run that represent its curve
HORIZONS = (1.0, 0.5, 0.25)  # steps of default candidates, as shares of the target's


def default_candidates(target: Schedule, from_step: int = 0) -> list[Schedule]:
    """Common schedules with a target's peak and warm-up, at 1, 1/2 and 1/4 of its steps.

    Constant; cosine to a tenth; linear to zero; WSD with cooldowns to zero over the last fifth,
    linear and 1-sqrt; and abrupt drops to 0.3 and 0.1 of the peak at 40 % and 60 % of the run.

    Args:
        target: the schedule that defines peak and warm-up.
        from_step: first step that a fit uses. A length at which the earliest drop would come before
            it, or within the warm-up, is omitted.
    """
    warmup, peak = target.warmup, target.peak_lr
    candidates = []
    for horizon in HORIZONS:
        steps = round(horizon * target.steps)
        if round(0.4 * steps) < max(warmup, from_step, 1):
            continue
        cooldown = {"decay_start": round(0.8 * steps)}
        shapes: list[tuple[str, dict[str, Any]]] = [
            ("constant", {}),
            ("cosine", {"end": _rounded(0.1 * peak)}),
            ("linear", {"end": 0.0}),
            ("wsd", cooldown),
            ("wsd", {**cooldown, "decay": "1-sqrt"}),
        ]
        for share in (0.4, 0.6):
            for level in (0.3, 0.1):
                drop = {"at": (round(share * steps),), "to": (_rounded(level * peak),)}
                shapes.append(("multistage", drop))
        common = {"peak": peak, "steps": steps, "warmup": warmup}
        if warmup:
            common["warmup_from"] = float(target.lr[0])
        candidates += [
            parse_schedule(format_spec(get_family(name), {**common, **shape}))
            for name, shape in shapes
        ]
    return candidates


def candidates_for(
    fitted: CurveFit,
    target: Schedule,
    candidates: Sequence[Schedule | str] | None,
    budget: int | None,
) -> list[Schedule]:
    """The distinct schedules to choose from, without those too long for the budget.

    Args:
        fitted: the law; its record states which steps of a run a fit uses.
        target: the schedule whose final loss is predicted.
        candidates: schedules or specs; None for `default_candidates` without the target itself.
        budget: steps that a run may take, or None.

    Raises:
        UsageError: if there are none, none fits in the budget, or one of `candidates` ends before
            the steps that the fit uses.
        ScheduleError: if a spec is malformed, or every rate is 0.
    """
    if candidates is None:
        defaults = default_candidates(target, _from_step(fitted, target))
        schedules = [schedule for schedule in defaults if schedule != target]
        remedy = (
            f"{target.spec} is too short for its warm-up of {target.warmup} steps and the steps "
            "that the fit omits; give candidates"
        )
    else:
        schedules = [parsed(candidate) for candidate in candidates]
        remedy = "give at least one schedule, or omit candidates"
    if not schedules:
        raise UsageError(f"there are no candidates to choose from: {remedy}")
    for schedule in schedules:
        if _from_step(fitted, schedule) >= schedule.steps:
            raise UsageError(
                f"{schedule.spec} ends before step {_from_step(fitted, schedule)}, the first that "
                "the fit uses; give a longer one"
            )
    shortest = min(schedule.steps for schedule in schedules)
    if budget is not None and shortest > budget:
        raise UsageError(
            f"step_budget={budget} is too small for every candidate; the shortest has {shortest} "
            "steps"
        )
    affordable = [schedule for schedule in schedules if budget is None or schedule.steps <= budget]
    return list(dict.fromkeys(affordable))


def parsed(schedule: Schedule | str) -> Schedule:
    """The schedule, parsed if it is a spec.

    Raises:
        ScheduleError: if the spec is malformed, or every rate is 0.
    """
    result = parse_schedule(schedule) if isinstance(schedule, str) else schedule
    if result.peak_lr == 0:
        raise ScheduleError(f"{result.spec}: every learning rate is 0; nothing is trained")
    return result


def _from_step(fitted: CurveFit, plan: Schedule) -> int:
    """First step of a run that a fit uses."""
    first = 0 if fitted.record is None else fitted.record.from_step
    return plan.warmup if isinstance(first, str) else max(plan.warmup, first)


def logged_steps(fitted: CurveFit, plan: Schedule, every: int | None) -> NDArray[np.int64]:
    """At most `POINTS` logged steps that a fit would use, including the last one."""
    first = min(_from_step(fitted, plan), plan.steps - 1)
    steps = np.arange(plan.steps - 1, first - 1, -(every or 1))[::-1]
    if len(steps) <= POINTS:
        return steps
    return steps[np.linspace(0, len(steps) - 1, POINTS).round().astype(np.int64)]


def _rounded(rate: float) -> float:
    return float(f"{rate:.6g}")
