"""Which peak learning rates a fitted law may be asked to choose from."""

from __future__ import annotations

import math

from scaling_laws.common import UsageError
from scaling_laws.inference.results.ranges import Range
from scaling_laws.inference.results.state import AnyState

__all__ = ["check_peaks"]

SPAN = 1.5  # highest over lowest fitted peak from which on a fit can say something about peaks


def check_peaks(fitted: AnyState, asked: tuple[float, float]) -> tuple[float, float]:
    """The range of peaks to search.

    Raises:
        UsageError: if it is empty, or the fitted runs do not span peaks, or not these.
    """
    low, high = asked
    if not 0 < low < high < math.inf:
        raise UsageError(f"peak={low:g}:{high:g} must be two learning rates, the lower one first")
    span = fitted.range
    if not isinstance(span, Range) or span.peak_lr[1] < SPAN * span.peak_lr[0]:
        known = f"{span.peak_lr[0]:g} to {span.peak_lr[1]:g}" if isinstance(span, Range) else "none"
        raise UsageError(
            f"peak={low:g}:{high:g}: the peak can be searched only by a law fitted to runs of "
            f"several peaks (fitted here: {known}); give one peak, or fit runs that differ in it"
        )
    if low < 0.99 * span.peak_lr[0] or high > 1.01 * span.peak_lr[1]:
        raise UsageError(
            f"peak={low:g}:{high:g} leaves the fitted {span.peak_lr[0]:g} to {span.peak_lr[1]:g}: "
            "a law says nothing reliable of the best peak out there; search inside"
        )
    return low, high
