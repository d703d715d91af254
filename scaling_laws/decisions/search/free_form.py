"""The gradient search over smooth schedules: spline, objective terms, penalty and starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from scaling_laws.decisions.constraints import ScheduleConstraints
from scaling_laws.decisions.search.baselines import baselines_of
from scaling_laws.decisions.search.descent import DescentResult, descend
from scaling_laws.decisions.search.evaluator import ObjectiveEvaluator
from scaling_laws.decisions.search.extrapolation import penalty_of
from scaling_laws.decisions.search.search_objective import (
    HorizonTerm,
    cells_for,
    inlier_draws,
    interval_terms_of,
    objective_of,
    params_of,
)
from scaling_laws.decisions.search.spline import INTERVALS, spline_of
from scaling_laws.decisions.search.weight_decay import DecayRange, decay_rows
from scaling_laws.inference import drawn_log_losses
from scaling_laws.models import Schedule

__all__ = ["SearchProblem", "cuts_of", "free_form", "search_problem"]

Array = NDArray[np.float64]


def cuts_of(constraints: ScheduleConstraints) -> tuple[int, ...]:
    """Steps at which a cell must start."""
    return (constraints.first_free_step,) if constraints.first_free_step else ()


@dataclass(frozen=True, eq=False)
class SearchProblem:
    """A search at one peak, with the inputs of every evaluation.

    Attributes:
        evaluator: the objective.
        constraints: what a schedule must satisfy.
        baselines: common schedules with the same frame, as whole runs.
        params: parameters, followed by the draws for a robust objective.
        facts: known facts of the run.
        interval_terms: constants of the interval width, for a robust objective, or None.
    """

    evaluator: ObjectiveEvaluator
    constraints: ScheduleConstraints
    baselines: Sequence[Schedule]
    params: dict[str, Any]
    facts: dict[str, Any]
    interval_terms: tuple[float, float, float] | None


def search_problem(
    evaluator: ObjectiveEvaluator, constraints: ScheduleConstraints
) -> SearchProblem:
    """The search for an objective under constraints."""
    fitted, plans = evaluator.fitted, baselines_of(constraints)
    facts = {name: jnp.float64(value) for name, value in evaluator.facts.items()}
    if not evaluator.robust or fitted.uncertainty is None:
        return SearchProblem(evaluator, constraints, plans, params_of(fitted), facts, None)
    last = np.array([constraints.steps - 1])
    ends = drawn_log_losses(fitted.law, fitted.draws, plans[-1].lr, last, evaluator.facts)
    params = params_of(fitted, inlier_draws(ends[:, 0]))
    return SearchProblem(
        evaluator, constraints, plans, params, facts, interval_terms_of(fitted.uncertainty)
    )


def free_form(
    problem: SearchProblem,
    starts: Sequence[Schedule],
    decays: DecayRange | None,
    intervals: int = INTERVALS[0],
) -> tuple[DescentResult, Schedule, Array | None]:
    """Run the gradient search.

    Returns:
        Its result, and the best schedule and weight decay per step, (steps,), or None.
    """
    evaluator, constraints = problem.evaluator, problem.constraints
    baselines = problem.baselines
    law = evaluator.fitted.law
    spline = spline_of(constraints, intervals)
    before = constraints.fixed_start
    further = 0 if decays is None else decays.count
    terms = []
    for end in evaluator.horizons:
        cells = cells_for(law, end, cuts_of(constraints))
        offset, matrix = spline.of_cells(before, cells)
        matrix = np.pad(matrix, [(0, 0), (0, further)])
        decay_map: tuple[Array | None, Array | None] = (None, None)
        if decays is not None:
            decay_map = decay_rows(decays, cells, constraints, matrix.shape)
        terms.append(HorizonTerm(offset, matrix, *decay_map, cells))
    typical_loss = evaluator.final_loss(baselines[0].lr)
    penalty = penalty_of(spline, evaluator.fitted, typical_loss, further)
    objective = objective_of(
        law, terms, problem.params, problem.facts, penalty, problem.interval_terms
    )
    plans = (*starts, baselines[len(baselines) // 2], baselines[-1])
    decay_start = np.zeros(0) if decays is None else decays.start
    initial = [np.append(spline.start_from(plan.lr), decay_start) for plan in plans]
    bounds = None if decays is None else (decays.low, decays.high)
    result = descend(objective, spline, initial, bounds)
    count = len(spline.low)
    lr = np.concatenate([before, spline.rates(result.x[:count])])
    decay = None if decays is None else decays.every_step(result.x[count:], constraints)
    return result, Schedule("free form", lr), decay
