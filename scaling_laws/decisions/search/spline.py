"""A smooth free-form schedule: a cubic B-spline with few knots, as a polytope of coefficients.

Between two steps a spline changes by a weighted mean of the differences of its coefficients, so
bounds on these bound the schedule: non-increasing coefficients give a non-increasing schedule, and
small differences give small changes of the rate. The small number of intervals excludes staircases:
a search with one variable per step finds 4 to 8 abrupt drops whose predicted gain a moving average
removes.

The variables are the decrements between successive coefficients, as shares of the peak.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline
from scipy.optimize import linprog
from scipy.sparse import csr_array, vstack

from scaling_laws.common import UsageError
from scaling_laws.decisions.constraints import ScheduleConstraints
from scaling_laws.models import Cells

__all__ = ["INTERVALS", "Spline", "spline_of"]

Array = NDArray[np.float64]
DEGREE = 3
INTERVALS = (48, 24, 12)  # tried in turn until a moving average does not change the loss
GRADING = 1.5  # > 1 places more knots near the end, where cooldowns are


@dataclass(frozen=True, eq=False)
class Spline:
    """The feasible schedules: decrements, (decrements,), in a polytope.

    Attributes:
        constraints: of the schedule.
        design: weights of the coefficients at each shaped step: (shaped steps, decrements + 1).
        centre: position of the largest weight per coefficient, from 0 to 1 over the shaped steps.
        per_step: decrement at which the rate falls by the peak in one step: (decrements,).
        low: lower bounds of the decrements.
        high: upper bounds of the decrements.
        matrix: linear constraints: (rows, decrements).
        lower: lower bounds of the rows.
        upper: upper bounds of the rows.
    """

    constraints: ScheduleConstraints
    design: csr_array
    centre: Array
    per_step: Array
    low: Array
    high: Array
    matrix: Array
    lower: Array
    upper: Array

    def rates(self, decrements: Array) -> Array:
        """Learning rates of the shaped steps: (shaped steps,)."""
        constraints = self.constraints
        level = constraints.initial_lr - constraints.peak_lr * np.concatenate(
            [[0.0], np.cumsum(decrements)]
        )
        upper = constraints.peak_lr if constraints.allow_rewarm else constraints.initial_lr
        return np.asarray(np.clip(self.design @ level, constraints.end_min, upper))

    def of_cells(
        self, fixed: Array, cells: Cells, cooldown: tuple[int, Array] | None = None
    ) -> tuple[Array, Array]:
        """Mean rates per cell as an affine map: offset (K,) and matrix (K, decrements).

        Args:
            fixed: rates before the shaped part.
            cells: of the whole run, with an edge at the start of the shaped part.
            cooldown: first step of a cooldown from the rate before it to the lowest one, and the
                multipliers of its steps.
        """
        edges = cells.edges
        begin, end = len(fixed), int(edges[-1])
        design, added = self.design[: end - begin], np.zeros(end - begin)
        if cooldown is not None:
            start, fall = cooldown[0] - begin, cooldown[1]
            last = self.design[[start - 1], :]
            design = vstack([self.design[:start], csr_array(fall[:, None]) @ last], format="csr")
            added[start:] = self.constraints.end_min * (1.0 - fall)
        width = np.diff(edges)
        offset = np.add.reduceat(np.concatenate([fixed, added]), edges[:-1]) / width
        later = edges[:-1] >= begin
        start_of = np.append(edges[:-1][later], end) - begin
        shaped = end - begin
        gather = csr_array(
            (np.ones(shaped), np.arange(shaped), start_of), shape=(int(later.sum()), shaped)
        )
        mean = (gather @ design).toarray() / width[later, None]
        offset[later] += mean.sum(axis=1) * self.constraints.initial_lr
        matrix = np.zeros((len(width), len(self.low)))
        matrix[later] = -self.constraints.peak_lr * suffix_weights(mean)
        return offset, matrix

    def start_from(self, lr: Array) -> Array:
        """Decrements, within bounds, whose schedule approximates `lr`, (steps,)."""
        constraints = self.constraints
        after = lr[constraints.first_free_step :]
        level = np.interp(self.centre * len(after), np.arange(len(after)), after)
        level = np.concatenate(
            [[constraints.initial_lr], np.clip(level, constraints.end_min, constraints.peak_lr)[1:]]
        )
        if not constraints.allow_rewarm:
            level = np.minimum.accumulate(level)
        return np.clip(-np.diff(level) / constraints.peak_lr, self.low, self.high)

    def frank_wolfe_gap(self, gradient: Array, decrements: Array) -> float:
        """Frank-Wolfe gap: the largest first-order gain of a feasible straight step.

        In units of the objective; 0 at a stationary point.
        """
        best = linprog(
            gradient,
            A_ub=np.concatenate([self.matrix, -self.matrix]),
            b_ub=np.concatenate([self.upper, -self.lower]),
            bounds=list(zip(self.low, self.high, strict=True)),
            method="highs",
        )
        return max(0.0, float(gradient @ decrements - best.fun)) if best.success else np.nan


def suffix_weights(weights: Array) -> Array:
    """Weights of coefficients -> weights of decrements, which lower all later coefficients."""
    return np.asarray(np.cumsum(weights[:, ::-1], axis=1)[:, ::-1][:, 1:])


def spline_of(constraints: ScheduleConstraints, intervals: int = INTERVALS[0]) -> Spline:
    """The spline of the feasible schedules.

    Args:
        constraints: what a schedule must satisfy.
        intervals: number of intervals between knots; fewer are smoother.

    Raises:
        UsageError: if no schedule satisfies the constraints.
    """
    shaped = constraints.steps - constraints.first_free_step
    breaks = 1.0 - np.linspace(1.0, 0.0, intervals + 1) ** GRADING
    knots = np.concatenate([np.zeros(DEGREE), breaks, np.ones(DEGREE)])
    design = csr_array(BSpline.design_matrix(np.arange(shaped) / shaped, knots, DEGREE))
    count = intervals + DEGREE
    spans = np.array([knots[j + 1 + DEGREE] - knots[j + 1] for j in range(count - 1)])
    high = np.full(count - 1, (constraints.peak_lr - constraints.end_min) / constraints.peak_lr)
    per_step = shaped * spans / DEGREE  # the slope of a spline is a mean of decrement / per_step
    if constraints.max_change is not None:
        high = np.minimum(high, constraints.max_change * per_step)
    low = -high if constraints.allow_rewarm else np.zeros(count - 1)
    largest_fall = (constraints.initial_lr - constraints.end_min) / constraints.peak_lr
    largest_rise = (constraints.initial_lr - constraints.peak_lr) / constraints.peak_lr
    if constraints.allow_rewarm:
        matrix = np.tril(np.ones((count - 1, count - 1)))
    else:
        matrix = np.ones((1, count - 1))
    lower, upper = np.full(len(matrix), largest_rise), np.full(len(matrix), largest_fall)
    for step, rate in constraints.fixed_rates.items():
        row = suffix_weights(design[[step - constraints.first_free_step], :].toarray())
        required = (constraints.initial_lr - rate) / constraints.peak_lr
        matrix = np.concatenate([matrix, row])
        lower, upper = np.append(lower, required), np.append(upper, required)
    centre = np.array([knots[j + 1 : j + 1 + DEGREE].mean() for j in range(count)])
    spline = Spline(constraints, design, centre, per_step, low, high, matrix, lower, upper)
    zero = np.zeros(count - 1)
    if not np.isfinite(spline.frank_wolfe_gap(zero, zero)):  # infeasible
        raise UsageError(
            "no smooth schedule satisfies these constraints: allow a larger max_change, "
            "more steps, or fewer fixed rates"
        )
    return spline
