"""The peak learning rates that a search may use with a fitted law."""

from __future__ import annotations

from scaling_laws.common import UsageError
from scaling_laws.inference import CurveFit, Range

__all__ = ["check_peak_range"]

MIN_PEAK_RATIO = (
    1.5  # highest over lowest fitted peak above which a fit determines the effect of the peak
)
EDGE_SLACK = 0.01  # relative, at either end of the fitted range


def check_peak_range(fitted: CurveFit, peaks: tuple[float, float]) -> None:
    """Check that the fitted runs cover a range of peaks.

    Raises:
        UsageError: if the fitted runs do not span several peaks, or not these.
    """
    low, high = peaks
    span = fitted.range
    if not isinstance(span, Range) or span.peak_lr[1] < MIN_PEAK_RATIO * span.peak_lr[0]:
        covered = "none"
        if isinstance(span, Range):
            covered = f"{span.peak_lr[0]:g} to {span.peak_lr[1]:g}"
        raise UsageError(
            f"peak={low:g}:{high:g}: the peak can be searched only with a law fitted to runs with "
            f"several peaks (fitted here: {covered}); give one peak, or fit runs that differ in it"
        )
    lowest, highest = span.peak_lr
    if low < (1 - EDGE_SLACK) * lowest or high > (1 + EDGE_SLACK) * highest:
        raise UsageError(
            f"peak={low:g}:{high:g} leaves the fitted {lowest:g} to {highest:g}, where a law does "
            "not predict the best peak reliably; search inside that range"
        )
