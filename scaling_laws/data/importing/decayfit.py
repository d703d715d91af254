"""Least-squares fits of the first and last step of a decay of a given shape."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaling_laws.data.importing.curve_shapes import Decay
from scaling_laws.data.importing.ramps import Ramp
from scaling_laws.data.importing.samples import Samples, rounded

__all__ = ["DecayFit", "FitRows", "fit_decay", "rows_of", "solve_ends", "solve_share"]

Array = NDArray[np.float64]
ROWS = 240  # rows used by a fit; every row is checked afterwards
BEST = 3  # starts that are refined
HOPELESS = 3.0  # no rounding is tried if the least-squares residual exceeds this many slacks
MAX_LENGTH = 1e3  # longest decay, in lengths of the log


@dataclass(frozen=True)
class DecayFit:
    """A decay with real-valued steps.

    Attributes:
        start: its step 0.
        end_step: step at which it ends.
        peak: rate it starts from.
        end: rate it ends at.
        power: exponent, for shapes that have one.
        start_range: bounds of its first step.
    """

    start: float
    end_step: float
    peak: float
    end: float
    power: float
    start_range: tuple[int, int]


@dataclass(frozen=True, eq=False)
class FitRows:
    """Rows after the warm-up, on the scale of a shape; `weight` is the inverse slack there."""

    steps: Array
    line: Array
    weight: Array


def rows_of(samples: Samples, ramp: Ramp, shape: Decay) -> FitRows | None:
    """The rows used by a fit; None if the shape cannot reach a logged rate of 0."""
    steps = samples.steps[ramp.rows :].astype(np.float64)
    lr, slack = samples.lr[ramp.rows :], samples.slack[ramp.rows :]
    if shape.line != 1.0 and not (lr > 0).all():
        return None
    if steps.size > ROWS:
        # evenly spaced rows, and all rows near both ends of the decay, where the shape is visible
        below = int(np.argmax(lr < lr.max() - slack))
        near_start = np.arange(max(below - 10, 0), min(below + 10, steps.size))
        even = np.linspace(0, steps.size - 1, ROWS).astype(int)
        indices = np.unique(
            np.concatenate([near_start, even, np.arange(steps.size - 10, steps.size)])
        )
        steps, lr, slack = steps[indices], lr[indices], slack[indices]
    return FitRows(steps, shape.to_line(lr), 1.0 / (slack * shape.slope(lr)))


def _ends(rows: FitRows, share: Array, zero: bool) -> tuple[float, float]:
    """Least-squares peak and end on the line's scale; the end is 0 if `zero`."""
    to_peak, to_end = share * rows.weight, (1.0 - share) * rows.weight
    target = rows.line * rows.weight
    aa, ab, bb = float(to_peak @ to_peak), float(to_peak @ to_end), float(to_end @ to_end)
    at, bt = float(to_peak @ target), float(to_end @ target)
    determinant = aa * bb - ab * ab
    if zero or determinant <= 1e-14 * aa * max(bb, 1e-300):
        return (at / aa if aa > 0 else 0.0), 0.0
    return (bb * at - ab * bt) / determinant, (aa * bt - ab * at) / determinant


def fit_decay(samples: Samples, ramp: Ramp, shape: Decay, rows: FitRows) -> list[DecayFit]:
    """The best fits of a shape with real-valued steps, with a fitted end and with end 0.

    Empty if no row is below the peak.
    """
    from scipy.optimize import least_squares

    after = samples.lr[ramp.rows :]
    below = after < after.max() - 2 * samples.slack[ramp.rows :]
    if not below.any():
        return []
    first_below = int(samples.steps[ramp.rows :][int(np.argmax(below))])
    low = max(ramp.last_rising, 0) if ramp.stated_length is None else max(ramp.stated_length - 1, 0)
    # constant rows bound the start from below only for shapes that leave the peak at once; a cosine
    # is flat there
    high = max(first_below, low + 1)
    last = float(samples.steps[-1])
    floor = after <= after.min() + samples.slack[ramp.rows :]
    ends = [last + 1, 1.3 * last, 2 * last, 6 * last, float(samples.total or 0)]
    ends.append(float(samples.steps[ramp.rows :][int(np.argmax(floor))]))
    starts = np.unique([low, low + 1, 0.5 * (low + high), *_late(samples, ramp, first_below)])
    powers = (0.5, 1.5, 3.0) if shape.powered else (1.0,)

    def shares(parameters: Array) -> Array:
        x = (rows.steps - parameters[0]) / math.exp(parameters[1])
        return shape.share(np.clip(x, 0.0, 1.0), math.exp(parameters[2]) if shape.powered else 1.0)

    fits = []
    for zero in (False, True) if shape.line == 1.0 else (False,):

        def residual(parameters: Array, zero: bool = zero) -> Array:
            share = shares(parameters)
            peak, end = _ends(rows, share, zero)
            residuals = (peak * share + end * (1.0 - share) - rows.line) * rows.weight
            return np.asarray(np.clip(residuals, -1e12, 1e12))

        trials: list[tuple[float, list[float]]] = []
        for start, end, power in itertools.product(starts, ends, powers):
            if end > start + 1:
                parameters = np.array([start, math.log(end - start)])
                parameters = np.append(parameters, math.log(power)) if shape.powered else parameters
                trials.append((float(np.square(residual(parameters)).sum()), parameters.tolist()))
        trials.sort()
        limits = math.log(MAX_LENGTH * (last + 2))
        bounds = ([low - 1e-3, 0.0], [high + 1e-3, limits])
        if shape.powered:
            bounds = ([*bounds[0], math.log(0.05)], [*bounds[1], math.log(20.0)])
        best: tuple[float, Array] | None = None
        for _, start_point in trials[:BEST]:
            # a residual that no parameter changes makes SciPy divide 0 by 0
            with np.errstate(divide="ignore", invalid="ignore"):
                solved = least_squares(
                    residual,
                    np.clip(start_point, np.array(bounds[0]) + 1e-6, np.array(bounds[1]) - 1e-6),
                    bounds=bounds,
                    x_scale=np.maximum(np.abs(start_point), 1.0),
                    xtol=1e-14,
                    ftol=1e-14,
                    gtol=1e-14,
                    max_nfev=60,
                )
            finite = bool(np.isfinite(solved.x).all())
            if finite and (best is None or solved.cost < best[0]):
                best = (float(solved.cost), solved.x)
        if best is None:
            continue
        parameters = best[1]
        peak, end = _ends(rows, shares(parameters), zero)
        fits.append(
            DecayFit(
                float(parameters[0]),
                float(parameters[0] + math.exp(parameters[1])),
                _rate(shape, peak),
                _rate(shape, end),
                math.exp(parameters[2]) if shape.powered else 1.0,
                (low, high),
            )
        )
    return fits


def _late(samples: Samples, ramp: Ramp, first_below: int) -> list[float]:
    """Starts of the decay just before the first row below the peak."""
    steps = samples.steps[ramp.rows :]
    index = int(np.searchsorted(steps, first_below))
    before = float(steps[index - 1]) if index else float(max(ramp.last_rising, 0))
    return [before, 0.5 * (before + first_below), first_below - 1.0]


def _rate(shape: Decay, line: float) -> float:
    """The rate for a value on the line's scale."""
    if shape.line == 1.0:
        return line
    if shape.line == 0:
        return math.exp(min(line, 300.0)) if line else 0.0
    return float(line ** (1.0 / shape.line)) if line > 0 else 0.0


def solve_ends(
    shape: Decay, rows: FitRows, start: int, end_step: int, power: float
) -> tuple[float, float, float]:
    """Peak and end of a decay with given steps, with as few digits as the rows allow.

    Returns:
        Peak, end, and the largest difference to a row in units of its slack.
    """
    x = np.clip((rows.steps - start) / (end_step - start), 0.0, 1.0)
    return solve_share(shape, rows, shape.share(x, power))


def solve_share(shape: Decay, rows: FitRows, share: Array) -> tuple[float, float, float]:
    """Highest and lowest rate of rows, given their positions between the two on a shape's scale.

    Args:
        shape: the scale.
        rows: the rows on it.
        share: 1 at the highest rate, 0 at the lowest, like the rows.

    Returns:
        Highest and lowest rate with as few digits as the rows allow, and the largest difference to
        a row in units of its slack.
    """

    def over(peak: float, end: float) -> float:
        if peak <= 0 or end < 0 or (end == 0 and shape.line != 1.0):
            return math.inf
        ends = shape.to_line(np.array([peak, end]))
        residual = np.abs(ends[0] * share + ends[1] * (1.0 - share) - rows.line) * rows.weight
        return float(residual.max())

    best = (1.0, 0.0, math.inf)
    for zero in (True, False) if shape.line == 1.0 else (False,):
        peak, end = (_rate(shape, value) for value in _ends(rows, share, zero))
        end = max(end, 0.0)
        candidate = (peak, end, over(peak, end))
        if candidate[2] < best[2]:
            best = candidate
        if candidate[2] > HOPELESS:
            continue
        rounded_ends = [0.0] if zero else [rounded(end, digits) for digits in range(1, 15)]
        for rounded_peak in dict.fromkeys(rounded(peak, digits) for digits in range(1, 15)):
            for rounded_end in dict.fromkeys(rounded_ends):
                if (residual := over(rounded_peak, rounded_end)) <= 1.0:
                    return rounded_peak, rounded_end, residual
    return best
