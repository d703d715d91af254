"""A schedule as few knots between which it is linear, and the steps worth checking by eye."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["TOLERANCE", "Knots", "choose_knots", "rounded", "steps_to_check"]

Array = NDArray[np.float64]
TOLERANCE = 1e-7  # of the peak: float32, in which optimizers keep their rates, resolves no less
ROUNDING = 1e-8  # of the peak: what is left for the rounding of the numbers that are written
DIGITS = 12  # of a written number: legible, and far below the tolerance
WINDOW = 64  # steps looked ahead at first; doubled while a line holds
ROWS = 12  # of a table to check by eye
KINKS = 4  # of the schedule that are always among them


@dataclass(frozen=True, eq=False)
class Knots:
    """Knots of a piecewise linear schedule; before the first and after the last it is level.

    Attributes:
        steps: increasing whole steps, the first one 0: (knots,).
        lr: learning rates at them, rounded as they will be written: (knots,).
        max_error: largest distance from the schedule over all its steps, in LR.
    """

    steps: NDArray[np.int64]
    lr: Array = field(repr=False)
    max_error: float

    def at(self, steps: NDArray[np.int64]) -> Array:
        """Learning rates at whole steps: (steps,) -> (steps,)."""
        return np.asarray(np.interp(steps, self.steps, self.lr))


def rounded(value: float) -> float:
    """The number as it will be written, with `DIGITS` significant digits.

    >>> rounded(0.1 + 0.2)
    0.3
    """
    return float(f"{value:.{DIGITS}g}")


def choose_knots(lr: Array, tolerance: float = TOLERANCE) -> Knots:
    """Few knots on the schedule itself that keep every step within a tolerance.

    From each knot the next is the farthest step to which a straight line passes all steps between
    within the tolerance. Where a rate jumps, the steps on both sides become knots.

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
    places = [0]
    while places[-1] < lr.size - 1:
        places.append(_farthest(lr, places[-1], slack))
    steps = np.array(places, dtype=np.int64)
    written = np.array([rounded(value) for value in lr[steps].tolist()])
    error = float(np.abs(np.interp(np.arange(lr.size), steps, written) - lr).max())
    return Knots(steps, written, error)


def _farthest(lr: Array, start: int, slack: float) -> int:
    """The last step to which a line from `start` passes all steps between within `slack`."""
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
        # the line to a step must pass those before it; it passes the step itself
        fits = (slope >= lows[:-1]) & (slope <= highs[:-1])
        if fits.any():
            best = first + int(np.flatnonzero(fits)[-1])
        low, high = float(lows[-1]), float(highs[-1])
        if low > high:
            break
        first, window = stop, window * 2
    return best


def steps_to_check(lr: Array, warmup: int, every: int = 0) -> list[int]:
    """Steps of a table that shows whether a trainer applies a schedule.

    Args:
        lr: learning rates of shape (steps,).
        warmup: steps of warm-up.
        every: every how many steps to show one; 0 shows about `ROWS`: start, end of the warm-up,
            both sides of the sharpest kinks, the middle of the last fall, the end, others between.

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
    for place in np.argsort(-bends, kind="stable")[: 50 * KINKS].tolist():
        step = place + 1
        # a kink stands out among its neighbours; a smooth curve bends everywhere alike
        around = float(np.median(bends[max(place - 20, 0) : place + 21]))
        if bends[place] <= 20 * around + 1e-9 * lr.max() or len(kinks) == KINKS:
            continue
        if all(abs(step - other) > 2 for other in (*kinks, 0, warmup)):
            kinks.append(step)
            # of a jump the far side lies beyond the bend
            chosen |= {step, step + 1} if step + 1 <= last else {step}
    falls = np.flatnonzero(np.diff(lr) < 0)
    if falls.size:
        level = np.flatnonzero(np.diff(lr)[: falls[-1]] >= 0)
        start = int(level[-1]) + 1 if level.size else 0
        chosen.add((start + last) // 2)
    while len(chosen) < min(ROWS, lr.size):
        known = sorted(chosen)
        # into the middle of the widest gap
        low, high = max(itertools.pairwise(known), key=lambda pair: pair[1] - pair[0])
        chosen.add((low + high) // 2)
    return sorted(chosen)
