"""The gradient search over smooth schedules, from several starts, with what shows its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import LinearConstraint, minimize
from threadpoolctl import threadpool_limits

from scaling_laws.decisions.search.spline import Spline

__all__ = ["Descent", "descend"]

Array = NDArray[np.float64]
AGREE = 1e-5  # nats: far below what any log resolves
ITERATIONS = 300
RESTARTS = 4
SETTLED = 1e-7  # nats that a restart must gain for another one


@dataclass(frozen=True, eq=False)
class Descent:
    """What a search from several starts found.

    Attributes:
        free: the best free numbers: (free numbers,).
        value: of the objective there.
        ends: values that the starts reached, best first.
        steepest_gain: how much a straight line along any allowed direction promises, at most.
    """

    free: Array
    value: float
    ends: tuple[float, ...]
    steepest_gain: float

    @property
    def agreeing(self) -> int:
        """How many starts ended within 1e-5 nats of the best."""
        return sum(end <= self.value + AGREE for end in self.ends)


def descend(
    objective: Callable[[Array], tuple[float, Array]],
    spline: Spline,
    starts: Sequence[Array],
    extra: tuple[Array, Array] | None = None,
) -> Descent:
    """Minimise over the spline's polytope, and over a box of further numbers.

    Args:
        objective: free numbers -> value and gradient.
        spline: of the schedules.
        starts: free numbers to begin with: (drops + further,) each.
        extra: lowest and highest of each further number.
    """
    none = np.zeros(0)
    extra_low, extra_high = extra or (none, none)
    low, high = np.append(spline.low, extra_low), np.append(spline.high, extra_high)
    rows = np.pad(spline.matrix, [(0, 0), (0, len(extra_low))])
    equal = spline.least == spline.most
    constraints = [
        LinearConstraint(rows[which], spline.least[which], spline.most[which])
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
    drops = len(spline.low)
    gain = spline.steepest_gain(gradient[:drops], free[:drops])
    gain += float(np.maximum(gradient[drops:] * (free[drops:] - extra_low), 0.0).sum())
    gain += float(np.maximum(gradient[drops:] * (free[drops:] - extra_high), 0.0).sum())
    return Descent(free, value, tuple(each for each, _ in found), gain)


def _inside(spline: Spline, free: Array) -> Array:
    """A solver's last digits must not leave the frame: the drops scaled where they sum too high."""
    total = float(free[: len(spline.low)].sum())
    most = float(spline.most[0])
    if spline.limits.allow_rewarm or spline.limits.fixed or total <= most:
        return free
    return np.append(free[: len(spline.low)] * (most / total), free[len(spline.low) :])
