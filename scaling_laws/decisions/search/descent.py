"""The gradient search over smooth schedules, from several starts, with its optimality gap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import LinearConstraint, minimize
from threadpoolctl import threadpool_limits

from scaling_laws.decisions.search.spline import Spline

__all__ = ["DescentResult", "descend"]

Array = NDArray[np.float64]
ITERATIONS = 300
RESTARTS = 4
AGAIN, AGREE = 2, 1e-6  # no further start once so many have reached the lowest value, in nats
TOLERANCE = 1e-7  # nats; restarts end when one gains less


@dataclass(frozen=True, eq=False)
class DescentResult:
    """Result of a gradient search from several starts.

    Attributes:
        x: the best variables: (variables,).
        value: the objective there.
        start_objectives: final objective per start, best first.
        frank_wolfe_gap: Frank-Wolfe (conditional-gradient) gap, the largest first-order gain of a
            feasible straight step; 0 at a stationary point.
    """

    x: Array
    value: float
    start_objectives: tuple[float, ...]
    frank_wolfe_gap: float


def descend(
    objective: Callable[[Array], tuple[float, Array]],
    spline: Spline,
    starts: Sequence[Array],
    extra: tuple[Array, Array] | None = None,
) -> DescentResult:
    """Minimise over the spline's polytope, and over a box of additional variables.

    Args:
        objective: variables -> value and gradient.
        spline: of the schedules.
        starts: initial variables: (decrements + additional,) per start.
        extra: lower and upper bounds of the additional variables.
    """
    empty = np.zeros(0)
    extra_low, extra_high = extra or (empty, empty)
    low, high = np.append(spline.low, extra_low), np.append(spline.high, extra_high)
    rows = np.pad(spline.matrix, [(0, 0), (0, len(extra_low))])
    equal = spline.lower == spline.upper
    constraints = [
        LinearConstraint(rows[mask], spline.lower[mask], spline.upper[mask])
        for mask in (equal, ~equal)
        if mask.any()
    ]
    results: list[tuple[float, Array]] = []
    # matrices of 50 x 50 are too small for a multithreaded BLAS
    with threadpool_limits(limits=1, user_api="blas"):
        for start in starts:
            x, value = start, np.inf
            for _ in range(RESTARTS):  # resets the BFGS matrix: fixed rates give a thin polytope
                result = minimize(
                    objective,
                    x,
                    jac=True,
                    method="SLSQP",
                    bounds=list(zip(low, high, strict=True)),
                    constraints=constraints,
                    options={"maxiter": ITERATIONS, "ftol": 1e-10},
                )
                feasible = _feasible(spline, np.clip(result.x, low, high))
                new_value = objective(feasible)[0]
                gain = value - new_value
                if not np.isfinite(value) or gain > 0:
                    x, value = feasible, new_value
                if gain < TOLERANCE:
                    break
            results.append((value, x))
            lowest = min(reached for reached, _ in results)
            if sum(reached <= lowest + AGREE for reached, _ in results) >= AGAIN:
                break
    results.sort(key=lambda pair: pair[0])
    value, x = results[0]
    gradient = objective(x)[1]
    count = len(spline.low)
    gap = spline.frank_wolfe_gap(gradient[:count], x[:count])
    gap += float(np.maximum(gradient[count:] * (x[count:] - extra_low), 0.0).sum())
    gap += float(np.maximum(gradient[count:] * (x[count:] - extra_high), 0.0).sum())
    return DescentResult(x, value, tuple(reached for reached, _ in results), gap)


def _feasible(spline: Spline, x: Array) -> Array:
    """Scale the decrements if rounding in the solver makes their sum too high."""
    count = len(spline.low)
    total, highest = float(x[:count].sum()), float(spline.upper[0])
    if spline.constraints.allow_rewarm or spline.constraints.fixed_rates or total <= highest:
        return x
    return np.append(x[:count] * (highest / total), x[count:])
