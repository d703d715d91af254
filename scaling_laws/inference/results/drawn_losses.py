"""Losses under the bootstrap draws of a fit, and the uncertainty of its parameters in them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from scaling_laws.inference.results.state import CurveState
from scaling_laws.inference.results.uncertainty import VarianceInputs, robust_sd
from scaling_laws.models import AtPoints, History, Law, bucket, in_float64, pad_points

__all__ = ["compiled_draws", "drawn_log_losses", "variance_inputs_of"]

Array = NDArray[np.float64]
KNOTS = 96  # steps at which a prediction's parameter sd is computed
LEAST_CELLS = 256  # of a time grid: one compiled program for most schedules


@cache
def compiled_draws(law: Law) -> Any:
    """(params (draws,), points) -> losses (draws, points)."""

    def losses(params: Mapping[str, Any], points: History) -> Any:
        return jax.vmap(lambda point: law.loss(params, point))(points).reshape(-1)

    return jax.jit(jax.vmap(losses, in_axes=(0, None)))


@in_float64
def drawn_log_losses(
    law: Law,
    params: Mapping[str, Array],
    lr: Array,
    steps: NDArray[np.int64],
    facts: Mapping[str, float],
    traces: Mapping[str, Array] | None = None,
) -> Array:
    """Log losses under many values of the parameters: params (draws,) -> (draws, points)."""
    history = law.history(AtPoints(steps), lr, facts=facts, traces=traces)
    points = pad_points(history, bucket(len(steps)), LEAST_CELLS)
    losses = np.asarray(compiled_draws(law)(dict(params), points))[:, : len(steps)]
    return np.asarray(np.log(np.maximum(losses, 1e-6)))


@in_float64
def variance_inputs_of(
    fitted: CurveState,
    lr: Array,
    steps: NDArray[np.int64],
    facts: Mapping[str, float],
    traces: Mapping[str, Array] | None = None,
) -> VarianceInputs | None:
    """What the predictive variance at some steps depends on; None without an uncertainty.

    The parameter sd is computed at `KNOTS` steps and interpolated.
    """
    if fitted.uncertainty is None:
        return None
    if fitted.draw_count < 2:
        return VarianceInputs.of(lr, steps)
    last = int(np.max(steps))
    knots = np.unique(np.append(np.linspace(0, last, KNOTS).astype(np.int64), last))
    law = fitted.law
    rows = drawn_log_losses(law, fitted.draws, lr, knots, facts, traces)
    return VarianceInputs.of(lr, steps, np.interp(steps, knots, robust_sd(rows)))
