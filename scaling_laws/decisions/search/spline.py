"""A smooth schedule of free form: a cubic B-spline of few knots, as a polytope of coefficients.

Between two steps a spline changes by a weighted mean of the changes of its coefficients, so bounds
on these bound it: coefficients that do not increase make a schedule that does not increase, small
changes of them make small changes of the rate. A fixed number of intervals keeps staircases out: a
search that is free at every step finds 4 to 8 abrupt drops whose predicted gain a moving average
removes.

What is free are the drops from each coefficient to the next, as shares of the peak.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline
from scipy.optimize import linprog
from scipy.sparse import csr_array, vstack

from scaling_laws.common import UsageError
from scaling_laws.decisions.search.constraints import Limits
from scaling_laws.models import Cells

__all__ = ["INTERVALS", "Spline", "spline_of"]

Array = NDArray[np.float64]
DEGREE = 3
INTERVALS = (48, 24, 12)  # the finest that a moving average leaves as it is
CROWDING = 1.5  # > 1 puts the knots closer to the end, where cooldowns are


@dataclass(frozen=True, eq=False)
class Spline:
    """Schedules that a search can reach: every x of shape (drops,) in a polytope.

    Attributes:
        limits: the frame.
        design: weights of the coefficients at every step that is shaped: (steps shaped, drops + 1).
        centre: where on the part that is shaped each coefficient counts most, from 0 to 1.
        per_step: drop between coefficients where the rate falls by the peak in a step: (drops,).
        low: lowest value of each drop.
        high: highest value of each drop.
        matrix: rows of linear constraints, (rows, drops).
        least: lowest value of each row.
        most: highest value of each row.
    """

    limits: Limits
    design: csr_array
    centre: Array
    per_step: Array
    low: Array
    high: Array
    matrix: Array
    least: Array
    most: Array

    def rates(self, drops: Array) -> Array:
        """Learning rates of the steps that are shaped: (steps shaped,)."""
        limits = self.limits
        level = limits.first - limits.peak * np.concatenate([[0.0], np.cumsum(drops)])
        most = limits.peak if limits.allow_rewarm else limits.first
        return np.asarray(np.clip(self.design @ level, limits.end_min, most))

    def of_cells(
        self, fixed: Array, cells: Cells, cooldown: tuple[int, Array] | None = None
    ) -> tuple[Array, Array]:
        """Mean rates of cells as offset (K,) and matrix (K, drops).

        Args:
            fixed: rates before the part that is shaped.
            cells: of the whole run, with an edge where that part begins.
            cooldown: from which step on the rate of the step before it falls to the lowest one, and
                the multipliers of those steps.
        """
        edges = cells.edges
        begin, end = len(fixed), int(edges[-1])
        design, added = self.design[: end - begin], np.zeros(end - begin)
        if cooldown is not None:
            start, fall = cooldown[0] - begin, cooldown[1]
            last = self.design[[start - 1], :]
            design = vstack([self.design[:start], csr_array(fall[:, None]) @ last], format="csr")
            added[start:] = self.limits.end_min * (1.0 - fall)
        width = np.diff(edges)
        offset = np.add.reduceat(np.concatenate([fixed, added]), edges[:-1]) / width
        later = edges[:-1] >= begin
        start_of = np.append(edges[:-1][later], end) - begin
        shaped = end - begin
        gather = csr_array(
            (np.ones(shaped), np.arange(shaped), start_of), shape=(int(later.sum()), shaped)
        )
        mean = (gather @ design).toarray() / width[later, None]
        offset[later] += mean.sum(axis=1) * self.limits.first
        matrix = np.zeros((len(width), len(self.low)))
        matrix[later] = -self.limits.peak * _felt(mean)
        return offset, matrix

    def start_from(self, lr: Array) -> Array:
        """Drops whose schedule is near that of shape (steps,), within bounds: (drops,)."""
        limits = self.limits
        after = lr[limits.begin :]
        level = np.interp(self.centre * len(after), np.arange(len(after)), after)
        level = np.concatenate([[limits.first], np.clip(level, limits.end_min, limits.peak)[1:]])
        if not limits.allow_rewarm:
            level = np.minimum.accumulate(level)
        return np.clip(-np.diff(level) / limits.peak, self.low, self.high)

    def steepest_gain(self, gradient: Array, drops: Array) -> float:
        """How much a straight line along any allowed direction promises to lower the objective.

        The gap of a conditional-gradient step, in units of the objective: 0 at a stationary point.
        """
        best = linprog(
            gradient,
            A_ub=np.concatenate([self.matrix, -self.matrix]),
            b_ub=np.concatenate([self.most, -self.least]),
            bounds=list(zip(self.low, self.high, strict=True)),
            method="highs",
        )
        return max(0.0, float(gradient @ drops - best.fun)) if best.success else np.nan


def _felt(weights: Array) -> Array:
    """Weights of coefficients -> of drops, each of which lowers all after it: (rows, drops)."""
    return np.asarray(np.cumsum(weights[:, ::-1], axis=1)[:, ::-1][:, 1:])


def spline_of(limits: Limits, intervals: int = INTERVALS[0]) -> Spline:
    """The spline of a frame.

    Args:
        limits: the frame.
        intervals: between knots; the fewer, the smoother.

    Raises:
        UsageError: if no schedule keeps to the limits.
    """
    shaped = limits.steps - limits.begin
    breaks = 1.0 - np.linspace(1.0, 0.0, intervals + 1) ** CROWDING
    knots = np.concatenate([np.zeros(DEGREE), breaks, np.ones(DEGREE)])
    design = csr_array(BSpline.design_matrix(np.arange(shaped) / shaped, knots, DEGREE))
    count = intervals + DEGREE
    spans = np.array([knots[j + 1 + DEGREE] - knots[j + 1] for j in range(count - 1)])
    room = (limits.peak - limits.end_min) / limits.peak
    high = np.full(count - 1, room)
    per_step = shaped * spans / DEGREE  # the slope of a spline is a mean of drop / per_step
    if limits.max_change is not None:
        high = np.minimum(high, limits.max_change * per_step)
    low = -high if limits.allow_rewarm else np.zeros(count - 1)
    fallen = (limits.first - limits.end_min) / limits.peak
    risen = (limits.first - limits.peak) / limits.peak
    if limits.allow_rewarm:
        matrix = np.tril(np.ones((count - 1, count - 1)))
    else:
        matrix = np.ones((1, count - 1))
    least, most = np.full(len(matrix), risen), np.full(len(matrix), fallen)
    for step, rate in limits.fixed.items():
        row = _felt(design[[step - limits.begin], :].toarray())
        wanted = (limits.first - rate) / limits.peak
        matrix = np.concatenate([matrix, row])
        least, most = np.append(least, wanted), np.append(most, wanted)
    centre = np.array([knots[j + 1 : j + 1 + DEGREE].mean() for j in range(count)])
    found = Spline(limits, design, centre, per_step, low, high, matrix, least, most)
    if not np.isfinite(found.steepest_gain(np.zeros(count - 1), np.zeros(count - 1))):
        raise UsageError(
            "no smooth schedule keeps to these limits: allow a larger max_change, more steps, or "
            "fewer fixed rates"
        )
    return found
