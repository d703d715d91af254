"""A schedule as few knots with linear interpolation, and the steps of a table to check."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["TOLERANCE", "Knots", "choose_knots", "rounded", "steps_to_check"]

Array = NDArray[np.float64]
TOLERANCE = 1e-7  # of the peak: the resolution of float32, in which optimizers store their rates
ROUNDING = 1e-8  # of the peak: part of the tolerance for the rounding of written numbers
DIGITS = 12  # of a written number
WINDOW = 64  # initial look-ahead in steps; doubled while a line fits
ROWS = 12  # of a table to check
KINKS = 4  # of the schedule that the table always contains


@dataclass(frozen=True, eq=False)
class Knots:
    """Knots of a piecewise linear schedule, constant before the first and after the last.

    Attributes:
        steps: increasing whole steps, the first one 0: (knots,).
        lr: learning rates at the knots, rounded as they are written: (knots,).
        max_error: largest distance from the schedule over all its steps, in LR.
    """

    steps: NDArray[np.int64]
    lr: Array = field(repr=False)
    max_error: float

    def at(self, steps: NDArray[np.int64]) -> Array:
        """Learning rates at whole steps: (steps,) -> (steps,)."""
        return np.asarray(np.interp(steps, self.steps, self.lr))


def rounded(value: float) -> float:
    """The number as it is written, with `DIGITS` significant digits.

    >>> rounded(0.1 + 0.2)
    0.3
    """
    return float(f"{value:.{DIGITS}g}")


def choose_knots(lr: Array, tolerance: float = TOLERANCE) -> Knots:
    """Few knots on the schedule whose interpolation is within a tolerance of every step.

    The next knot is the farthest step to which a straight line passes all steps in between within
    the tolerance. At a jump, the steps on both sides become knots.

    Args:
        lr: learning rates of shape (steps,).
        tolerance: largest error as a share of the peak.

    Returns:
        The knots; their first step is 0 and their last one is steps - 1.

    >>> choose_knots(np.array([1.0, 0.75, 0.5, 0.25, 0.25])).steps.tolist()
    [0, 3, 4]
    """
    peak = float(lr.max())
    slack = (tolerance - ROUNDING) * peak
    chosen = [0]
    while chosen[-1] < lr.size - 1:
        chosen.append(_farthest(lr, chosen[-1], slack))
    steps = np.array(chosen, dtype=np.int64)
    written = np.array([rounded(value) for value in lr[steps].tolist()])
    error = float(np.abs(np.interp(np.arange(lr.size), steps, written) - lr).max())
    return Knots(steps, written, error)


def _farthest(lr: Array, start: int, slack: float) -> int:
    """The last step to which a line from `start` passes all steps in between within `slack`."""
    best, window = start + 1, WINDOW
    low, high = -np.inf, np.inf  # of the slopes that pass every step so far
    first = start + 1
    while first < lr.size:
        stop = min(first + window, lr.size)
        run = np.arange(first - start, stop - start, dtype=np.float64)
        rise = lr[first:stop] - lr[start]
        lows = np.maximum.accumulate(np.append(low, (rise - slack) / run))
        highs = np.minimum.accumulate(np.append(high, (rise + slack) / run))
        slope = rise / run
        # the line to a step passes that step, and must pass those before it
        fits = (slope >= lows[:-1]) & (slope <= highs[:-1])
        if fits.any():
            best = first + int(np.flatnonzero(fits)[-1])
        low, high = float(lows[-1]), float(highs[-1])
        if low > high:
            break
        first, window = stop, window * 2
    return best


def steps_to_check(lr: Array, warmup: int, every: int = 0) -> list[int]:
    """Steps of a table with which the rates that a trainer applies can be checked.

    Args:
        lr: learning rates of shape (steps,).
        warmup: steps of warm-up.
        every: spacing in steps; 0 chooses about `ROWS` steps: start, end of the warm-up, both sides
            of the sharpest kinks, the middle of the last fall, the end, and others in between.

    Returns:
        Increasing steps; the first is 0 and the last is steps - 1.
    """
    last = lr.size - 1
    if every:
        return sorted({*range(0, last + 1, every), last})
    chosen = {0, last}
    if 0 < warmup <= last:
        chosen |= {warmup // 2, warmup - 1, warmup}
    bends = np.abs(np.diff(lr, 2))
    kinks: list[int] = []
    for i in np.argsort(-bends, kind="stable")[: 50 * KINKS].tolist():
        step = i + 1
        # at a kink the curvature exceeds that of the neighbours; on a smooth curve it is similar
        around = float(np.median(bends[max(i - 20, 0) : i + 21]))
        if bends[i] <= 20 * around + 1e-9 * lr.max() or len(kinks) == KINKS:
            continue
        if all(abs(step - other) > 2 for other in (*kinks, 0, warmup)):
            kinks.append(step)
            # the second step is the far side of a jump
            chosen |= {step, step + 1} if step + 1 <= last else {step}
    falls = np.flatnonzero(np.diff(lr) < 0)
    if falls.size:
        level = np.flatnonzero(np.diff(lr)[: falls[-1]] >= 0)
        start = int(level[-1]) + 1 if level.size else 0
        chosen.add((start + last) // 2)
    while len(chosen) < min(ROWS, lr.size):
        # the middle of the widest gap
        low, high = max(itertools.pairwise(sorted(chosen)), key=lambda pair: pair[1] - pair[0])
        chosen.add((low + high) // 2)
    return sorted(chosen)
