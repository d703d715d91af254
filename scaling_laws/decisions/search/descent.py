"""The gradient search over smooth schedules, from several starts, with what shows its end."""

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
SETTLED = 1e-7  # nats that a restart must gain for another one


@dataclass(frozen=True, eq=False)
class DescentResult:
    """Result of a gradient search from several starts.

    Attributes:
        free: the best free numbers: (free numbers,).
        value: of the objective there.
        start_objectives: values that the starts reached, best first.
        frank_wolfe_gap: Frank-Wolfe (conditional-gradient) gap, a bound on what any feasible
            straight step gains to first order; 0 at a stationary point.
    """

    free: Array
    value: float
    start_objectives: tuple[float, ...]
    frank_wolfe_gap: float


def descend(
    objective: Callable[[Array], tuple[float, Array]],
    spline: Spline,
    starts: Sequence[Array],
    extra: tuple[Array, Array] | None = None,
) -> DescentResult:
    """Minimise over the spline's polytope, and over a box of further numbers.

    Args:
        objective: free numbers -> value and gradient.
        spline: of the schedules.
        starts: free numbers to begin with: (decrements + further,) each.
        extra: lowest and highest of each further number.
    """
    none = np.zeros(0)
    extra_low, extra_high = extra or (none, none)
    low, high = np.append(spline.low, extra_low), np.append(spline.high, extra_high)
    rows = np.pad(spline.matrix, [(0, 0), (0, len(extra_low))])
    equal = spline.lower == spline.upper
    constraints = [
        LinearConstraint(rows[which], spline.lower[which], spline.upper[which])
        for which in (equal, ~equal)
        if which.any()
    ]
    found: list[tuple[float, Array]] = []
    # at 50 x 50 the threads of a linear algebra library only wait for each other
    with threadpool_limits(limits=1, user_api="blas"):
        for start in starts:
            free, value = start, np.inf
            for _ in range(RESTARTS):  # a fresh curvature where fixed rates leave a thin polytope
                result = minimize(
                    objective,
                    free,
                    jac=True,
                    method="SLSQP",
                    bounds=list(zip(low, high, strict=True)),
                    constraints=constraints,
                    options={"maxiter": ITERATIONS, "ftol": 1e-10},
                )
                reached = _inside(spline, np.clip(result.x, low, high))
                lower = objective(reached)[0]
                gained = value - lower
                if not np.isfinite(value) or gained > 0:
                    free, value = reached, lower
                if gained < SETTLED:
                    break
            found.append((value, free))
    found.sort(key=lambda each: each[0])
    value, free = found[0]
    gradient = objective(free)[1]
    decrements = len(spline.low)
    gain = spline.frank_wolfe_gap(gradient[:decrements], free[:decrements])
    gain += float(np.maximum(gradient[decrements:] * (free[decrements:] - extra_low), 0.0).sum())
    gain += float(np.maximum(gradient[decrements:] * (free[decrements:] - extra_high), 0.0).sum())
    return DescentResult(free, value, tuple(each for each, _ in found), gain)


def _inside(spline: Spline, free: Array) -> Array:
    """Scale the decrements where rounding in the solver makes their sum too high."""
    total = float(free[: len(spline.low)].sum())
    highest = float(spline.upper[0])
    if spline.constraints.allow_rewarm or spline.constraints.fixed_rates or total <= highest:
        return free
    return np.append(free[: len(spline.low)] * (highest / total), free[len(spline.low) :])
