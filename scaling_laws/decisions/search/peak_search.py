"""The peak learning rate, where the fit spans peaks."""

from __future__ import annotations

import math
from collections.abc import Callable

from scaling_laws.common import report_progress

__all__ = ["golden_section"]

GOLDEN = 0.5 * (math.sqrt(5.0) - 1.0)
PEAK_RATIO = 1.03  # peaks this close have indistinguishable losses


def golden_section(
    objective: Callable[[float], float], low: float, high: float
) -> tuple[float, str]:
    """The peak with the lowest objective, to 3 %, and a note on how sharp the minimum is.

    Peaks are rounded to four digits and both ends are evaluated: SciPy's bounded Brent search does
    neither, and never reaches an end of the range.

    Args:
        objective: peak -> value in nats.
        low: lowest peak.
        high: highest peak.
    """
    values: dict[float, float] = {}

    def value_at(log_peak: float) -> float:
        peak = float(f"{math.exp(log_peak):.4g}")
        if peak not in values:
            values[peak] = objective(peak)
            report_progress(f"peak {peak:g}: {values[peak]:.5f}")
        return values[peak]

    left, right = math.log(low), math.log(high)
    value_at(left), value_at(right)
    one, two = right - GOLDEN * (right - left), left + GOLDEN * (right - left)
    while right - left > math.log(PEAK_RATIO):
        if value_at(one) < value_at(two):
            right, two = two, one
            one = right - GOLDEN * (right - left)
        else:
            left, one = one, two
            two = left + GOLDEN * (right - left)
    best = min(values, key=values.__getitem__)
    close = [peak for peak, value in values.items() if value <= values[best] + 1e-3]
    where = (
        "inside the range"
        if low * PEAK_RATIO < best < high / PEAK_RATIO
        else "at an end of the range"
    )
    return best, (
        f"peak {best:g} was searched in {low:g} to {high:g} and lies {where}; peaks from "
        f"{min(close):g} to {max(close):g} cost at most 0.001 nats more"
    )
