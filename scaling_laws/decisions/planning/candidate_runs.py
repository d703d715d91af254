"""The schedules that a plan chooses from, and the steps of each that a fit would use."""

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

POINTS = 48  # steps of a run that stand for its curve
HORIZONS = (1.0, 0.5, 0.25)  # steps of default candidates, as shares of the target's


def default_candidates(target: Schedule, from_step: int = 0) -> list[Schedule]:
    """Common schedules with a target's peak and warm-up, at all, half and a quarter of its steps.

    Constant; cosine to a tenth; linear to zero; WSD with cooldowns to zero over the last fifth,
    linear and 1-sqrt; and abrupt drops to 0.3 and 0.1 of the peak at 40 % and 60 % of the run.

    Args:
        target: the schedule whose peak and warm-up they have.
        from_step: first step that a fit uses. A length at which the earliest drop would come before
            it, or within the warm-up, is left out.
    """
    warmup, peak = target.warmup, target.peak_lr
    found = []
    for horizon in HORIZONS:
        steps = round(horizon * target.steps)
        if round(0.4 * steps) < max(warmup, from_step, 1):
            continue
        cooldown = {"decay_start": round(0.8 * steps)}
        shapes: list[tuple[str, dict[str, Any]]] = [
            ("constant", {}),
            ("cosine", {"end": _short(0.1 * peak)}),
            ("linear", {"end": 0.0}),
            ("wsd", cooldown),
            ("wsd", {**cooldown, "decay": "1-sqrt"}),
        ]
        for share in (0.4, 0.6):
            for level in (0.3, 0.1):
                drop = {"at": (round(share * steps),), "to": (_short(level * peak),)}
                shapes.append(("multistage", drop))
        frame = {"peak": peak, "steps": steps, "warmup": warmup}
        if warmup:
            frame["warmup_from"] = float(target.lr[0])
        found += [
            parse_schedule(format_spec(get_family(name), {**frame, **shape}))
            for name, shape in shapes
        ]
    return found


def candidates_for(
    fitted: CurveFit,
    aim: Schedule,
    given: Sequence[Schedule | str] | None,
    budget: int | None,
) -> list[Schedule]:
    """The schedules to choose from, each once, those too long for the budget left out.

    Args:
        fitted: the law; its record says which steps of a run a fit uses.
        aim: the target.
        given: schedules or specs; None for `default_candidates` but the target itself.
        budget: steps that a run may take, or None.

    Raises:
        UsageError: if there are none, none fits in the budget, or one of those given ends before
            the steps that the fit uses.
        ScheduleError: if a spec is malformed, or every rate is 0.
    """
    if given is None:
        found = [each for each in default_candidates(aim, _from_step(fitted, aim)) if each != aim]
        mend = (
            f"{aim.spec} is too short beside its warm-up of {aim.warmup} steps and the steps that "
            "the fit leaves out; give candidates"
        )
    else:
        found = [parsed(each) for each in given]
        mend = "give at least one schedule, or leave candidates out"
    if not found:
        raise UsageError(f"there are no candidates to choose from: {mend}")
    for each in found:
        if _from_step(fitted, each) >= each.steps:
            raise UsageError(
                f"{each.spec} ends before step {_from_step(fitted, each)}, the first that the fit "
                "uses; give a longer one"
            )
    shortest = min(each.steps for each in found)
    if budget is not None and shortest > budget:
        raise UsageError(
            f"step_budget={budget} holds no candidate; the shortest has {shortest} steps"
        )
    kept = [each for each in found if budget is None or each.steps <= budget]
    return list(dict.fromkeys(kept))


def parsed(given: Schedule | str) -> Schedule:
    """A schedule, or that of a spec.

    Raises:
        ScheduleError: if the spec is malformed, or every rate is 0.
    """
    found = parse_schedule(given) if isinstance(given, str) else given
    if found.peak_lr == 0:
        raise ScheduleError(f"{found.spec}: every learning rate is 0; nothing is trained")
    return found


def _from_step(fitted: CurveFit, plan: Schedule) -> int:
    """First step that a fit uses of a run."""
    first = 0 if fitted.record is None else fitted.record.from_step
    return plan.warmup if isinstance(first, str) else max(plan.warmup, first)


def logged_steps(fitted: CurveFit, plan: Schedule, every: int | None) -> NDArray[np.int64]:
    """At most `POINTS` logged steps that a fit would use, the last one among them."""
    first = min(_from_step(fitted, plan), plan.steps - 1)
    steps = np.arange(plan.steps - 1, first - 1, -(every or 1))[::-1]
    if len(steps) <= POINTS:
        return steps
    return steps[np.linspace(0, len(steps) - 1, POINTS).round().astype(np.int64)]


def _short(rate: float) -> float:
    return float(f"{rate:.6g}")
