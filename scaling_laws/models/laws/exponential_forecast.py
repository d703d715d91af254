"""AutoLRS's loss forecaster (Jin et al. 2021): an exponential in steps, within one run.

    L(t) = L0 + A·exp(-rate·t)

It extrapolates a short stretch of one run at one LR. Known limit: it does not read the LR, so it
predicts nothing for another schedule; losses fall more slowly than any exponential for long.
`denoise` is the smoothing that AutoLRS applies before the fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling_laws.common import LawError
from scaling_laws.models.laws.common import FLOOR_LOSS
from scaling_laws.models.laws.law import Law
from scaling_laws.models.numerics.history import History
from scaling_laws.models.parameters import Parameter, Support

__all__ = ["EXPONENTIAL_FORECAST", "denoise"]

ROUNDS, SHARE = 10, 0.03


def design_matrix(values: Mapping[str, Any], history: History) -> Any:
    """Columns 1, exp(-rate·t): (points, 2)."""
    falling = jnp.exp(-values["rate"] * jnp.asarray(history.step).reshape(-1))
    return jnp.stack([jnp.ones_like(falling), falling], axis=1)


def rescale(values: Mapping[str, Any], factor: Any) -> dict[str, Any]:
    """The same values: the law does not read the LR."""
    return dict(values)


def denoise(
    steps: ArrayLike, loss: ArrayLike, smoothing: float | None = None
) -> NDArray[np.float64]:
    """Losses of a part of a run, smoothed as before the fit of AutoLRS.

    Ten times, the 3 % of the points in the first half that are furthest from a smoothing spline of
    degree two are dropped; the last spline is the result. From a reading of the authors' code
    (YuchenJin/autolrs); ties and the spline's smoothness are ours.

    Args:
        steps: increasing steps: (points,).
        loss: losses in nats: (points,).
        smoothing: sum of squares that the spline may leave; default the points times the variance
            of their second differences over six, the noise of a smooth curve.

    Returns:
        Smoothed losses at all steps: (points,).

    Raises:
        LawError: if there are fewer than 8 points, or steps do not increase.
    """
    from scipy.interpolate import UnivariateSpline

    step, observed = np.asarray(steps, dtype=float), np.asarray(loss, dtype=float)
    if step.shape != observed.shape or step.ndim != 1 or len(step) < 8:
        raise LawError(
            f"needs 1-D arrays of at least 8 points, not {step.shape} and {observed.shape}"
        )
    if (np.diff(step) <= 0).any():
        raise LawError("steps must increase")
    half = len(step) // 2
    keep = np.ones(len(step), dtype=bool)

    def spline() -> Any:
        remaining = observed[keep]
        noise = float(np.mean(np.diff(remaining, 2) ** 2)) / 6.0
        allowed = len(remaining) * noise if smoothing is None else smoothing
        return UnivariateSpline(step[keep], remaining, k=2, s=allowed)

    for _ in range(ROUNDS):
        early_indices = np.flatnonzero(keep[:half])
        drop = int(SHARE * len(early_indices))
        if drop == 0:
            break
        residuals = np.abs(observed[early_indices] - spline()(step[early_indices]))
        keep[early_indices[np.argsort(residuals, kind="stable")[-drop:]]] = False
    return np.asarray(spline()(step))


EXPONENTIAL_FORECAST = Law(
    name="exponential_forecast",
    formula="L = L0 + A·exp(-rate·t)",
    citation="Jin et al. 2021, AutoLRS (ICLR 2021)",
    linear_parameters=(
        FLOOR_LOSS,
        Parameter("A", Support.POSITIVE, "loss above the floor at step 0", "nats"),
    ),
    nonlinear_parameters=(
        Parameter(
            "rate",
            Support.POSITIVE,
            "speed of the fall",
            "1 / optimizer step",
            (1e-5, 1e-2),
            (1e-8, 1.0),
        ),
    ),
    design_matrix=design_matrix,
    rescale=rescale,
    conventions="t counts optimizer steps from 0; one run at one LR",
)
