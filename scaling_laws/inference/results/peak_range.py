"""Peak learning rates between which a fitted law can choose."""

from __future__ import annotations

import math

from scaling_laws.common import UsageError
from scaling_laws.inference.results.ranges import SLACK, Range
from scaling_laws.inference.results.state import AnyState

__all__ = ["check_peaks"]

MIN_SPAN = 1.5  # highest over lowest fitted peak; with less, a fit does not determine the best peak


def check_peaks(fitted: AnyState, peaks: tuple[float, float]) -> tuple[float, float]:
    """The range of peaks to search, if the fit allows it.

    Args:
        fitted: the fit.
        peaks: lowest and highest peak.

    Raises:
        UsageError: if the range is empty, or the fitted runs do not cover it.
    """
    low, high = peaks
    if not 0 < low < high < math.inf:
        raise UsageError(f"peak={low:g}:{high:g} must be two learning rates, the lower one first")
    span = fitted.range
    if not isinstance(span, Range) or span.peak_lr[1] < MIN_SPAN * span.peak_lr[0]:
        known = f"{span.peak_lr[0]:g} to {span.peak_lr[1]:g}" if isinstance(span, Range) else "none"
        raise UsageError(
            f"peak={low:g}:{high:g}: the peak can be searched only with a law fitted to runs "
            f"of several peaks (fitted here: {known}); give one peak, or fit runs that differ in it"
        )
    if low < (1 - SLACK) * span.peak_lr[0] or high > (1 + SLACK) * span.peak_lr[1]:
        raise UsageError(
            f"peak={low:g}:{high:g} leaves the fitted {span.peak_lr[0]:g} to {span.peak_lr[1]:g}: "
            "the law is not reliable for peaks outside; search inside"
        )
    return low, high
