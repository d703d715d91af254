"""One main run with a separate cooldown to each of several horizons, as in WSD-S.

The main run is trained once; each branch starts from a checkpoint of it and cools down over the
same share of its horizon. The main run's learning rate, a smooth schedule, and the share and shape
of the cooldowns are optimised for the lowest mean of the final losses.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import ExtrapolationWarning, UsageError, report_progress, warn
from scaling_laws.decisions.constraints import ScheduleConstraints, constraints_from
from scaling_laws.decisions.search.descent import descend
from scaling_laws.decisions.search.evaluator import ObjectiveEvaluator
from scaling_laws.decisions.search.free_form import cuts_of, free_form, search_problem
from scaling_laws.decisions.search.search_objective import (
    HorizonTerm,
    cells_for,
    objective_of,
    params_of,
)
from scaling_laws.decisions.search.spline import Spline, spline_of
from scaling_laws.inference import CurveFit, check_needs, facts_for, require_curve_fit
from scaling_laws.models import DECAYS, Schedule, in_float64

__all__ = ["Branches", "CooldownBranch", "optimize_branches"]

Array = NDArray[np.float64]
SHARES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6)  # length of a cooldown per horizon
SHAPES = {"linear": ("linear", 1.0), "1-sqrt": ("1-sqrt", 1.0), "power 1.5": ("power", 1.5)}
MIN_TRUNK_GAIN = 1e-4  # nats; below this the main run's LR stays at its peak


@dataclass(frozen=True, eq=False)
class CooldownBranch:
    """The cooldown to one horizon.

    Attributes:
        schedule: the main run up to `start`, then the cooldown.
        start: step at which the cooldown begins.
        final_loss: predicted, in nats.
        interval_90: 90 % interval of `final_loss`, or None.
        alone: predicted final loss of the best smooth schedule for this horizon only.
    """

    schedule: Schedule
    start: int
    final_loss: float
    interval_90: tuple[float, float] | None
    alone: float


@dataclass(frozen=True, eq=False)
class Branches:
    """A main run and its cooldowns.

    Attributes:
        trunk: schedule of the main run, up to the last cooldown.
        branches: one per horizon.
        share: length of a cooldown as a share of its horizon.
        shape: of the cooldowns.
        value: mean of the final losses.
        notes: where the branches leave the range of the fit.
        seconds: wall time.
    """

    trunk: Schedule
    branches: tuple[CooldownBranch, ...]
    share: float
    shape: str
    value: float
    notes: tuple[str, ...]
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """The result as a JSON-able mapping."""
        ends = [branch.schedule.steps for branch in self.branches]
        cooled = sum(branch.schedule.steps - branch.start for branch in self.branches)
        return {
            "branches": [
                {
                    "steps": branch.schedule.steps,
                    "start": branch.start,
                    "final_loss": branch.final_loss,
                    "interval_90": branch.interval_90,
                    "alone": branch.alone,
                }
                for branch in self.branches
            ],
            "share": self.share,
            "shape": self.shape,
            "value": self.value,
            "peak": self.trunk.peak_lr,
            "trunk_end": float(self.trunk.lr[-1]),
            "updates": self.trunk.steps + cooled,
            "updates_apart": sum(ends),
            "notes": list(self.notes),
            "seconds": self.seconds,
        }


@in_float64
def optimize_branches(
    fitted: CurveFit,
    *,
    horizons: Sequence[int],
    steps: int | None = None,
    peak: float | None = None,
    warmup: int = 0,
    end_min: float = 0.0,
    constraints: ScheduleConstraints | None = None,
    facts: Mapping[str, float] | None = None,
) -> Branches:
    """Search for one main run whose cooldowns have the lowest mean final loss over the horizons.

    Args:
        fitted: the law.
        horizons: step counts at which a cooldown ends.
        steps: the longest horizon, whether it is in `horizons` or not.
        peak: peak learning rate.
        warmup: warm-up steps, linear from 0.
        end_min: lowest learning rate, at which every cooldown ends.
        constraints: the four above as one `ScheduleConstraints`; others are not supported.
        facts: facts of the run that override those of the fit.

    Raises:
        UsageError: if there are fewer than two horizons, or the constraints contradict each other.
        LawError: if the law needs a fact that the fit does not contain.
    """
    began = time.perf_counter()
    law = require_curve_fit(fitted).law
    known = facts_for(fitted, facts)
    check_needs(law, known, {}, "the law file")
    whole = constraints_from(constraints, steps=steps, peak=peak, warmup=warmup, end_min=end_min)
    whole.require_only("optimize_branches", ("steps", "peak", "warmup", "end_min"))
    if isinstance(whole.peak, tuple):
        raise UsageError("optimize_branches needs one peak, not a range")
    steps, peak, warmup, end_min = whole.steps, whole.peak, whole.warmup, whole.end_min
    ends = sorted({*(int(end) for end in horizons), steps})
    if len(ends) < 2:
        raise UsageError(f"horizons={list(horizons)}: give at least two different ones")
    if round(ends[0] * (1.0 - SHARES[-1])) < warmup + 20:
        raise UsageError(f"horizon {ends[0]} is too short for warmup={warmup} and a cooldown")
    share, shape, trunk = _best_trunk(fitted, known, whole, ends)
    branches = []
    for end in ends:
        start = end - round(share * end)
        plan = Schedule("free form", _branch(trunk, start, end, shape, end_min))
        evaluator = ObjectiveEvaluator(fitted, known, (end,))
        alone = free_form(search_problem(evaluator, replace(whole, steps=end)), [], None)[1]
        loss = evaluator.final_loss(plan.lr)
        interval = evaluator.interval(plan.lr)
        branches.append(CooldownBranch(plan, start, loss, interval, evaluator.final_loss(alone.lr)))
    notes = [
        f"{branch.schedule.steps} steps: {note}"
        for branch in branches
        for note in fitted.range_notes(branch.schedule, known)
    ]
    for note in notes:
        warn(note, ExtrapolationWarning)
    return Branches(
        Schedule("free form", trunk),
        tuple(branches),
        share,
        shape,
        float(np.mean([branch.final_loss for branch in branches])),
        tuple(notes),
        time.perf_counter() - began,
    )


def _best_trunk(
    fitted: CurveFit,
    facts: Mapping[str, float],
    constraints: ScheduleConstraints,
    ends: Sequence[int],
) -> tuple[float, str, Array]:
    """Share and shape of the cooldowns, and rates of the main run up to the last one: (start,)."""
    law, before = fitted.law, constraints.fixed_start
    params = params_of(fitted)
    traced = {name: jnp.float64(value) for name, value in facts.items()}
    trials: list[tuple[float, float, str, Array]] = []
    for share in SHARES:
        starts = [end - round(share * end) for end in ends]
        spline = spline_of(replace(constraints, steps=starts[-1]))
        constant = np.zeros(len(spline.low))
        for shape in SHAPES:
            terms = [
                _branch_term(law, spline, constraints, before, start, end, shape)
                for start, end in zip(starts, ends, strict=True)
            ]
            objective = objective_of(law, terms, params, traced)
            result = descend(objective, spline, [constant, _half(spline)])
            rates, value = spline.rates(result.x), result.value
            value_of_constant = objective(constant)[0]
            if value > value_of_constant - MIN_TRUNK_GAIN:
                rates, value = spline.rates(constant), value_of_constant
            trials.append((value, share, shape, np.concatenate([before, rates])))
        best = min(value for value, *_ in trials)
        report_progress(f"cooldowns over {100 * share:.0f} %: {best:.5f}")
    _, share, shape, trunk = min(trials, key=lambda trial: trial[0])
    return share, shape, trunk


def _half(spline: Spline) -> Array:
    """Decrements of a main run whose rate falls evenly to half of its peak."""
    return np.full(len(spline.low), 0.5 / len(spline.low))


def _cooldown(start: int, end: int, shape: str) -> Array:
    """Multipliers of the steps of a cooldown: (end - start,)."""
    decay, power = SHAPES[shape]
    done = np.arange(end - start) / (end - start)
    return np.asarray(DECAYS[decay](done, 1.0, 0.0, power, np))


def _branch(trunk: Array, start: int, end: int, shape: str, end_min: float) -> Array:
    """Rates of a branch: (end,)."""
    fall = _cooldown(start, end, shape)
    return np.concatenate([trunk[:start], end_min + (trunk[start - 1] - end_min) * fall])


def _branch_term(
    law: Any,
    spline: Spline,
    constraints: ScheduleConstraints,
    before: Array,
    start: int,
    end: int,
    shape: str,
) -> HorizonTerm:
    """The loss of a branch as a term of the objective, affine in the main run's decrements."""
    cells = cells_for(law, end, cuts_of(constraints))
    offset, matrix = spline.of_cells(before, cells, (start, _cooldown(start, end, shape)))
    return HorizonTerm(offset, matrix, None, None, cells)
