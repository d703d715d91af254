"""The peak learning rate, where the fit spans peaks."""

from __future__ import annotations

import math
from collections.abc import Callable

__all__ = ["golden_section"]

GOLDEN = 0.5 * (math.sqrt(5.0) - 1.0)
CLOSE = 1.03  # a ratio of peaks that no loss tells apart


def golden_section(
    objective: Callable[[float], float], low: float, high: float, report: Callable[[str], None]
) -> tuple[float, str]:
    """The peak of the lowest objective, to 3 %, and in words how sharp it is.

    Args:
        objective: peak -> value in nats.
        low: lowest peak.
        high: highest peak.
        report: called with a line of progress now and then.
    """
    seen: dict[float, float] = {}

    def value(log_peak: float) -> float:
        peak = float(f"{math.exp(log_peak):.4g}")
        if peak not in seen:
            seen[peak] = objective(peak)
            report(f"peak {peak:g}: {seen[peak]:.5f}")
        return seen[peak]

    left, right = math.log(low), math.log(high)
    value(left), value(right)
    one, two = right - GOLDEN * (right - left), left + GOLDEN * (right - left)
    while right - left > math.log(CLOSE):
        if value(one) < value(two):
            right, two = two, one
            one = right - GOLDEN * (right - left)
        else:
            left, one = one, two
            two = left + GOLDEN * (right - left)
    best = min(seen, key=lambda peak: seen[peak])
    close = [peak for peak, found in seen.items() if found <= seen[best] + 1e-3]
    where = "inside the range" if low * CLOSE < best < high / CLOSE else "at an end of the range"
    return best, (
        f"peak {best:g} was searched in {low:g} to {high:g} and lies {where}; peaks from "
        f"{min(close):g} to {max(close):g} cost at most 0.001 nats more"
    )
