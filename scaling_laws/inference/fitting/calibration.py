"""Widths of intervals, calibrated on held-out errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import ndtri, stdtrit

from scaling_laws.inference.constants import NORMAL_90
from scaling_laws.inference.results import Uncertainty, VarianceInputs
from scaling_laws.inference.results.uncertainty import scale_of

__all__ = ["FEW_RUNS", "HeldOutErrors", "calibrate"]

Array = NDArray[np.float64]
OPTIMISM = 1.5  # assumed ratio of held-out to fitted errors
PSEUDO = 3.0  # pseudo-runs that the enlarged fitted errors count as
OUTLIER = 9.0  # cap of squared scaled errors, so that a few outliers do not set the scale
# the 90 % quantile over a few runs is too low for the next one; the correction was measured by
# nested leave-one-out on sets of 9 to 34 runs (docs/log.md)
FEW = 4.0
FEW_RUNS = 6  # up to this many runs, a mean square is more accurate than a quantile


@dataclass(frozen=True, eq=False)
class HeldOutErrors:
    """Errors in one run.

    Attributes:
        error: log(observed / predicted): (points,).
        exposure: of its points.
    """

    error: Array
    exposure: VarianceInputs


def calibrate(
    method: str, held_out: Sequence[HeldOutErrors], fitted: Sequence[HeldOutErrors], folds: int
) -> Uncertainty:
    """The uncertainty implied by errors of held-out runs.

    Two parameters of the law's model error are fitted to the held-out errors by likelihood; fitted
    errors enter with the weight of a few runs. Two factors then make the intervals contain 90 % of
    held-out points and of held-out final losses. For a few runs the factors are Student-t, from
    mean squares (a single run, held out in part, keeps the wider quantile).

    Args:
        method: how runs were held out.
        held_out: errors of held-out runs.
        fitted: residuals of the same runs in the fit.
        folds: number of refits behind `held_out`.
    """
    log_error = float(np.sqrt(np.mean([np.mean(run.error**2) for run in held_out])))
    sigma_constant, sigma_decay = _scales(held_out, fitted)
    dof = len(held_out) + PSEUDO
    widen = float(stdtrit(dof, 0.95)) / NORMAL_90
    scaled = [
        np.abs(run.error) / scale_of(sigma_constant, sigma_decay, run.exposure) for run in held_out
    ]
    if 1 < len(held_out) <= FEW_RUNS:
        curve = _of_few([float(np.mean(row**2)) for row in scaled])
        final = _of_few([float(row[-1] ** 2) for row in scaled])
    else:
        curve = _quantile([(row, 1.0 / len(row)) for row in scaled])
        final = _quantile([(row[-1:], 1.0) for row in scaled])
    return Uncertainty(
        method, log_error, folds, sigma_constant, sigma_decay, widen * curve, widen * final, dof
    )


def _scales(
    held_out: Sequence[HeldOutErrors], fitted: Sequence[HeldOutErrors]
) -> tuple[float, float]:
    def cost(logs: Array) -> float:
        sigma_constant, sigma_decay = np.exp(logs)
        total = 0.0
        for rows, share, stretch in (
            (held_out, 1.0, 1.0),
            (fitted, PSEUDO / len(fitted), OPTIMISM),
        ):
            for run in rows:
                scale = scale_of(sigma_constant, sigma_decay, run.exposure)
                square = np.minimum((stretch * run.error / scale) ** 2, OUTLIER)
                total += share * float(np.mean(0.5 * square + np.log(scale)))
        return total

    errors = np.concatenate([run.error for run in (*held_out, *fitted)])
    start = np.log(max(float(np.sqrt(np.mean(errors**2))), 1e-6))
    result = minimize(cost, np.array([start, start]), method="Nelder-Mead", options={"xatol": 1e-3})
    sigma_constant, sigma_decay = np.exp(np.clip(result.x, np.log(1e-6), np.log(1.0)))
    return float(sigma_constant), float(sigma_decay)


def _of_few(squares: Sequence[float]) -> float:
    """The 90 % quantile of normal errors with the rms of a few runs and `PSEUDO` runs of rms 1.

    Args:
        squares: mean squared scaled error of each run.
    """
    return NORMAL_90 * float(np.sqrt((PSEUDO + sum(squares)) / (PSEUDO + len(squares))))


def _quantile(rows: Sequence[tuple[Array, float]]) -> float:
    """The 90 % quantile of weighted scaled errors and of `PSEUDO` runs of normal ones."""
    grid = np.abs(ndtri((np.arange(40) + 0.5) / 40))
    values = np.concatenate([*(row for row, _ in rows), grid])
    weight = np.concatenate(
        [*(np.full(len(row), share) for row, share in rows), np.full(len(grid), PSEUDO / len(grid))]
    )
    order = np.argsort(values)
    share = np.cumsum(weight[order]) - 0.5 * weight[order]
    level = min(0.9 * (1.0 + FEW / max(len(rows), 2) ** 2), 0.99)
    return float(np.interp(level * np.sum(weight), share, values[order]))
