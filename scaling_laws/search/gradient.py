"""The gradient search put together: spline, readings, penalty, starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from scaling_laws.fitted.predict import drawn_log_losses
from scaling_laws.schedules import Schedule
from scaling_laws.search.baselines import baselines_of
from scaling_laws.search.decay import DecayRange, decay_rows
from scaling_laws.search.extrapolation import penalty_of
from scaling_laws.search.free_form import Descent, descend
from scaling_laws.search.limits import Limits
from scaling_laws.search.measure import Measure
from scaling_laws.search.objective import (
    Reading,
    cells_for,
    objective_of,
    params_of,
    robust_numbers,
    tame_draws,
)
from scaling_laws.search.spline import INTERVALS, spline_of

__all__ = ["Inputs", "cuts_of", "free_form", "inputs_of"]

Array = NDArray[np.float64]


def cuts_of(limits: Limits) -> tuple[int, ...]:
    """Steps at which a cell must begin."""
    return (limits.begin,) if limits.begin else ()


class Inputs(NamedTuple):
    """What the compiled objectives take beside rates.

    Attributes:
        params: parameters, with the draws after them for a robust objective.
        facts: numbers known of the run.
        robust: what the width of an interval is made of, or None.
    """

    params: dict[str, Any]
    facts: dict[str, Any]
    robust: tuple[float, float, float] | None


def inputs_of(measure: Measure, limits: Limits) -> Inputs:
    """They, of a search."""
    fitted = measure.fitted
    facts = {name: jnp.float64(value) for name, value in measure.facts.items()}
    if not measure.robust or fitted.uncertainty is None:
        return Inputs(params_of(fitted), facts, None)
    plan = baselines_of(limits)[-1]
    last = np.array([plan.steps - 1])
    ends = drawn_log_losses(fitted.schedule_law, fitted.draws, plan.lr, last, measure.facts)
    return Inputs(
        params_of(fitted, tame_draws(ends[:, 0])), facts, robust_numbers(fitted.uncertainty)
    )


def free_form(
    measure: Measure,
    limits: Limits,
    starts: Sequence[Schedule],
    decays: DecayRange | None,
    intervals: int = INTERVALS[0],
) -> tuple[Descent, Schedule, Array | None]:
    """The gradient search: what it found, as a schedule and a weight decay of every step."""
    fitted, law = measure.fitted, measure.fitted.schedule_law
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
    given = inputs_of(measure, limits)
    plain = baselines_of(limits)
    size = measure.final_loss(plain[0].lr)
    penalty = penalty_of(spline, fitted, size, further)
    objective = objective_of(law, readings, given.params, given.facts, penalty, given.robust)
    first = np.zeros(0) if decays is None else decays.start
    begins = [spline.start_from(plan.lr) for plan in (*starts, plain[len(plain) // 2], plain[-1])]
    extra = None if decays is None else (decays.low, decays.high)
    descent = descend(objective, spline, [np.append(row, first) for row in begins], extra)
    count = len(spline.low)
    lr = np.concatenate([before, spline.rates(descent.free[:count])])
    decay = None if decays is None else decays.every_step(descent.free[count:], limits)
    return descent, Schedule("free form", lr), decay
