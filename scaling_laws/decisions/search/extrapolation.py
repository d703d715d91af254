"""How far a schedule is outside the fitted range, and the penalty for it in a search."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from scaling_laws.decisions.search.search_objective import Penalty
from scaling_laws.decisions.search.spline import Spline
from scaling_laws.inference import CurveFit, Range, fastest_fall

__all__ = ["lowest_cost", "penalty_of", "range_distance"]

Array = NDArray[np.float64]
COST = 20.0  # a tenth of the peak below the fitted runs costs a tenth of the law's error
MIN_DISTANCE = 0.01  # smaller distances count as inside the range


def range_distance(
    fitted: CurveFit, lr: Array, facts: Mapping[str, float], decay: Array | None = None
) -> dict[str, float]:
    """How far a schedule lies outside the fitted range; empty inside it, or if it is unknown.

    Returns:
        ``peak_lr``, ``steps``, ``fall`` (speed of the fastest fall) and facts in doublings;
        ``lowest_lr`` as a share of the peak.
    """
    span = fitted.range
    if not isinstance(span, Range):
        return {}
    peak = float(lr.max())
    fall = None if span.fastest_fall is None else fastest_fall(lr)
    distances = {
        "peak_lr": _outside(peak, *span.peak_lr),
        "steps": _outside(len(lr), 1, span.steps + 1),
        "lowest_lr": max(0.0, span.lowest_lr - float(lr[-1]) / peak),
    }
    if fall is not None and span.fastest_fall is not None:
        distances["fall"] = _outside(fall, span.fastest_fall, math.inf)
    for name, (low, high) in span.facts.items():
        values = decay if name == "weight_decay" and decay is not None else [facts.get(name, low)]
        extremes = (float(np.min(values)), float(np.max(values)))
        distances[name] = max(_outside(value, low, high) for value in extremes)
    return {name: value for name, value in distances.items() if value > MIN_DISTANCE}


def _outside(value: float, low: float, high: float) -> float:
    """Doublings from a value to an interval; 0 inside it."""
    nearest = min(max(value, low), high)
    if value == nearest:
        return 0.0
    return abs(math.log2(max(value, 1e-300) / max(nearest, 1e-300)))


def penalty_of(spline: Spline, fitted: CurveFit, loss: float, further: int = 0) -> Penalty | None:
    """The penalty on a lower final LR, or a faster fall, than any fitted run had.

    Args:
        spline: of the schedules.
        fitted: the law.
        loss: approximate final loss, in nats.
        further: number of variables after the decrements.

    Returns:
        The penalty, or None if the range or the errors of the law are unknown.
    """
    span, uncertainty, constraints = fitted.range, fitted.uncertainty, spline.constraints
    if not isinstance(span, Range) or uncertainty is None:
        return None
    count = len(spline.low)
    rows = [np.ones((1, count))]
    upper = [np.array([constraints.initial_lr / constraints.peak_lr - span.lowest_lr])]
    if span.fastest_fall is not None:
        # twice the fastest fitted fall costs nothing, as in the notes of a prediction
        rows.append(np.eye(count))
        upper.append(spline.per_step / span.fastest_fall)
    table = np.pad(np.concatenate(rows), [(0, 0), (0, further)])
    return Penalty(table, np.concatenate(upper), COST * uncertainty.log_error * loss)


def lowest_cost(fitted: CurveFit, ends: Array, peak: float, loss: float) -> Array:
    """The penalty on a low final LR only, for members of families: ends (rows,) -> nats (rows,)."""
    if not isinstance(fitted.range, Range) or fitted.uncertainty is None:
        return np.zeros(len(ends))
    excess = np.maximum(fitted.range.lowest_lr - ends / peak, 0.0)
    return np.asarray(0.5 * COST * fitted.uncertainty.log_error * loss * excess**2)
