"""A smooth schedule of free form: a non-increasing cubic B-spline after the warm-up.

Coefficients that do not increase make a spline that does not increase (B-splines diminish
variation), and a fixed number of intervals keeps staircases out: a search that is free at every
step finds 4 to 8 abrupt drops whose predicted gain a moving average removes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline
from scipy.optimize import LinearConstraint, minimize

from scaling_laws.schedules import Frame

__all__ = ["search_free_form"]

Array = NDArray[np.float64]
DEGREE = 3
INTERVALS = 48
CROWDING = 1.5  # > 1 puts the knots closer to the end, where cooldowns are


def _basis(steps: int) -> tuple[Array, NDArray[np.int64], Array]:
    """Spline weights and first coefficient of every step after warm-up; each spline's centre."""
    breaks = 1.0 - np.linspace(1.0, 0.0, INTERVALS + 1) ** CROWDING
    knots = np.concatenate([np.zeros(DEGREE), breaks, np.ones(DEGREE)])
    place = np.arange(steps) / steps
    design = BSpline.design_matrix(place, knots, DEGREE)
    first = design.indices.reshape(steps, DEGREE + 1)[:, 0].astype(np.int64)
    averages = np.array([knots[j + 1 : j + 1 + DEGREE].mean() for j in range(len(breaks) + 2)])
    return design.data.reshape(steps, DEGREE + 1), first, averages


def search_free_form(
    frame: Frame,
    final_loss: Callable[[Any], Any],
    starts: Sequence[Array],
    warmup: Array,
) -> Array:
    """Minimise the predicted final loss over smooth non-increasing schedules.

    Args:
        frame: what is fixed.
        final_loss: learning rates of shape (steps,) -> loss; traceable by JAX.
        starts: schedules of shape (steps,) to start from.
        warmup: learning rates of the warm-up: (frame.warmup,).

    Returns:
        Learning rates of shape (steps,) between `frame.end_min` and `frame.peak`.
    """
    after = frame.steps - frame.warmup
    weights, first, averages = _basis(after)
    count = len(averages)
    span = frame.peak - frame.end_min
    weight_rows, first_rows = jnp.asarray(weights), jnp.asarray(first)
    head = jnp.asarray(warmup)

    def rates(drops: Any) -> Any:
        level = 1.0 - jnp.concatenate([jnp.zeros(1, drops.dtype), jnp.cumsum(drops)])
        shape = sum(weight_rows[:, j] * level[first_rows + j] for j in range(DEGREE + 1))
        return jnp.concatenate([head, frame.end_min + span * shape])

    value_and_gradient = jax.jit(jax.value_and_grad(lambda drops: final_loss(rates(drops))))

    def objective(drops: Array) -> tuple[float, Array]:
        value, gradient = value_and_gradient(jnp.asarray(drops))
        return float(value), np.asarray(gradient)

    best, best_loss = np.zeros(count - 1), np.inf
    for start in starts:
        level = np.interp(averages * after, np.arange(after), start[frame.warmup :])
        level = np.clip((level - frame.end_min) / max(span, np.finfo(float).tiny), 0.0, 1.0)
        level = np.minimum.accumulate(np.concatenate([[1.0], level[1:]]))
        result = minimize(
            objective,
            -np.diff(level),
            jac=True,
            method="SLSQP",
            bounds=[(0.0, 1.0)] * (count - 1),
            constraints=LinearConstraint(np.ones((1, count - 1)), 0.0, 1.0),
            options={"maxiter": 200, "ftol": 1e-10},
        )
        drops = np.clip(result.x, 0.0, 1.0)
        drops = drops / max(1.0, float(drops.sum()))
        loss = objective(drops)[0]
        if loss < best_loss:
            best, best_loss = drops, loss
    found: Array = np.asarray(rates(jnp.asarray(best)))
    return np.clip(found, 0.0, frame.peak)
