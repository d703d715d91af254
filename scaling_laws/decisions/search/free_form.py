"""The gradient search put together: spline, readings, penalty, starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from scaling_laws.decisions.search.baselines import baselines_of
from scaling_laws.decisions.search.constraints import Limits
from scaling_laws.decisions.search.descent import Descent, descend
from scaling_laws.decisions.search.evaluator import Measure
from scaling_laws.decisions.search.extrapolation import penalty_of
from scaling_laws.decisions.search.search_objective import (
    Reading,
    cells_for,
    objective_of,
    params_of,
    robust_numbers,
    tame_draws,
)
from scaling_laws.decisions.search.spline import INTERVALS, spline_of
from scaling_laws.decisions.search.weight_decay import DecayRange, decay_rows
from scaling_laws.inference import drawn_log_losses
from scaling_laws.models import Schedule

__all__ = ["Task", "cuts_of", "free_form", "task_of"]

Array = NDArray[np.float64]


def cuts_of(limits: Limits) -> tuple[int, ...]:
    """Steps at which a cell must begin."""
    return (limits.begin,) if limits.begin else ()


@dataclass(frozen=True, eq=False)
class Task:
    """A search in one frame, and what it asks of the law again and again.

    Attributes:
        measure: what is minimised.
        limits: the frame.
        baselines: common schedules in it, whole runs.
        params: parameters, with the draws after them for a robust objective.
        facts: numbers known of the run.
        robust: what the width of an interval is made of, or None.
    """

    measure: Measure
    limits: Limits
    baselines: Sequence[Schedule]
    params: dict[str, Any]
    facts: dict[str, Any]
    robust: tuple[float, float, float] | None


def task_of(measure: Measure, limits: Limits) -> Task:
    """The search of a measure in a frame."""
    fitted, plans = measure.fitted, baselines_of(limits)
    facts = {name: jnp.float64(value) for name, value in measure.facts.items()}
    if not measure.robust or fitted.uncertainty is None:
        return Task(measure, limits, plans, params_of(fitted), facts, None)
    last = np.array([limits.steps - 1])
    ends = drawn_log_losses(fitted.law, fitted.draws, plans[-1].lr, last, measure.facts)
    params = params_of(fitted, tame_draws(ends[:, 0]))
    return Task(measure, limits, plans, params, facts, robust_numbers(fitted.uncertainty))


def free_form(
    task: Task,
    starts: Sequence[Schedule],
    decays: DecayRange | None,
    intervals: int = INTERVALS[0],
) -> tuple[Descent, Schedule, Array | None]:
    """The gradient search: what it found, as a schedule and a weight decay of every step."""
    measure, limits, plain = task.measure, task.limits, task.baselines
    law = measure.fitted.law
    spline = spline_of(limits, intervals)
    before = limits.head if len(limits.head) else np.linspace(0.0, limits.peak, limits.warmup)
    further = 0 if decays is None else decays.count
    readings = []
    for end in measure.horizons:
        cells = cells_for(law, end, cuts_of(limits))
        offset, matrix = spline.of_cells(before, cells)
        matrix = np.pad(matrix, [(0, 0), (0, further)])
        line: tuple[Array | None, Array | None] = (None, None)
        if decays is not None:
            line = decay_rows(decays, cells, limits, matrix.shape)
        readings.append(Reading(offset, matrix, *line, cells))
    size = measure.final_loss(plain[0].lr)
    penalty = penalty_of(spline, measure.fitted, size, further)
    objective = objective_of(law, readings, task.params, task.facts, penalty, task.robust)
    first = np.zeros(0) if decays is None else decays.start
    begins = [spline.start_from(plan.lr) for plan in (*starts, plain[len(plain) // 2], plain[-1])]
    extra = None if decays is None else (decays.low, decays.high)
    descent = descend(objective, spline, [np.append(row, first) for row in begins], extra)
    count = len(spline.low)
    lr = np.concatenate([before, spline.rates(descent.free[:count])])
    decay = None if decays is None else decays.every_step(descent.free[count:], limits)
    return descent, Schedule("free form", lr), decay
