"""The member of a trainer's native schedules that is nearest to a schedule.

A native rate is peak·u + end·v: for fixed integer parameters (warm-up, length of the decay) the
best peak and end follow from linear least squares; the integers are found by a pattern search from
guesses based on the schedule, with strides that are halved down to one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from scaling_laws.decisions.export.knots import TOLERANCE, rounded
from scaling_laws.decisions.export.native import NativeFamily, NativeFit
from scaling_laws.models import Schedule

__all__ = ["STARTS", "fit_families", "fit_family"]

Array = NDArray[np.float64]
Point = tuple[int, ...]
SAMPLE = 4096  # steps used by the search; the result is evaluated on all
MAX_RATIO = 4  # of a decay or timescale to the steps; longer ones have no effect
SEARCHED = 2  # guesses from which a search starts
STARTS = ("warmup", "decay", "decay_end", "timescale")  # axes for which `_guesses` has values


def fit_families(plan: Schedule, families: Sequence[NativeFamily]) -> list[NativeFit]:
    """The nearest member of each family, nearest first (by the mean square of the distance)."""
    fits = [fit for family in families if (fit := fit_family(plan, family)) is not None]
    return sorted(fits, key=lambda fit: (not fit.exact, float(np.square(fit.lr - plan.lr).sum())))


def fit_family(plan: Schedule, family: NativeFamily) -> NativeFit | None:
    """The nearest member of one family; None if no member fits into the schedule's length."""
    guesses = _guesses(plan)
    steps = _sample(plan)
    target = plan.lr[steps]
    float_steps = steps.astype(np.float64)
    costs: dict[Point, float] = {}

    def cost(point: Point) -> float:
        if point not in costs:
            costs[point] = np.inf
            numbers = dict(zip(family.axes, point, strict=True))
            inside = all(0 <= value <= MAX_RATIO * plan.steps for value in point)
            basis = family.basis(float_steps, plan.steps, numbers) if inside else None
            if basis is not None:
                peak, end = _levels(*basis, target, plan.peak_lr)
                costs[point] = float(np.square(peak * basis[0] + end * basis[1] - target).sum())
        return costs[point]

    points = sorted(itertools.product(*(guesses[axis] for axis in family.axes)), key=cost)
    starts = points[:SEARCHED]
    best = min((_descend(start, plan.steps, cost) for start in starts), key=cost)
    if not np.isfinite(cost(best)):
        return None
    return _member(plan, family, dict(zip(family.axes, best, strict=True)))


def _descend(start: Point, steps: int, cost: Callable[[Point], float]) -> Point:
    """Pattern search along one axis at a time, with strides that are halved down to one."""
    best, stride = start, max(steps // 8, 1)
    while stride and start:
        moves = [
            (*best[:axis], best[axis] + sign * stride, *best[axis + 1 :])
            for axis in range(len(best))
            for sign in (-1, 1)
        ]
        candidate = min(moves, key=cost)
        if cost(candidate) < cost(best) * (1 - 1e-9):
            best = candidate
        else:
            stride //= 2
    return best


def _member(plan: Schedule, family: NativeFamily, numbers: Mapping[str, int]) -> NativeFit:
    every = np.arange(plan.steps, dtype=np.float64)
    basis = family.basis(every, plan.steps, numbers)
    assert basis is not None  # the search found it valid
    peak, end = _levels(*basis, plan.lr, plan.peak_lr)
    near = abs(peak - plan.peak_lr) <= 1e-9 * plan.peak_lr
    peak = plan.peak_lr if near else rounded(peak)
    # an end below rounding is 0
    end = rounded(end) if end > 1e-9 * peak else 0.0
    lr = peak * basis[0] + end * basis[1]
    off = np.abs(lr - plan.lr)
    largest = float(off.max())
    exact = largest <= TOLERANCE * plan.peak_lr
    return NativeFit(family, dict(numbers), peak, end, lr, largest, float(off.mean()), exact)


def _levels(u: Array, v: Array, target: Array, top: float) -> tuple[float, float]:
    """Least squares of peak·u + end·v against the target rates, with 0 <= end <= peak.

    No rate exceeds `top` by more than rounding.
    """
    top /= max(float(u.max()), 1e-9)  # some trainers' warm-ups end just below their peak
    uu, uv, vv = float(u @ u), float(u @ v), float(v @ v)
    uy, vy = float(u @ target), float(v @ target)

    def best_end(peak: float) -> float:
        return float(np.clip((vy - peak * uv) / vv, 0.0, peak)) if vv > 0 else 0.0

    determinant = uu * vv - uv * uv
    if determinant > 1e-12 * max(uu * vv, 1e-300):
        peak = (uy * vv - vy * uv) / determinant
        end = (vy * uu - uy * uv) / determinant
    else:
        peak, end = (uy / uu if uu > 0 else top), 0.0
    if end < 0:
        peak, end = (uy / uu if uu > 0 else top), 0.0
    peak = min(peak, top)
    if end > peak:
        both = u + v
        peak = min(max(float(both @ target) / float(both @ both), 0.0), top)
        return peak, peak
    return peak, (best_end(peak) if peak == top else end)


def _sample(plan: Schedule) -> NDArray[np.int64]:
    """Steps for the search: all of a short schedule; otherwise a sample, dense at both ends."""
    last = plan.steps - 1
    if plan.steps <= SAMPLE:
        return np.arange(plan.steps)
    spread = np.linspace(0, last, SAMPLE // 2)
    # a warm-up is short compared with the run; the last steps of a decay determine its end
    dense = np.geomspace(1, last + 1, SAMPLE // 4) - 1
    steps = np.concatenate([spread, dense, last - dense, _near(plan.warmup, last)])
    return np.unique(steps.round().astype(np.int64))


def _near(step: int, last: int) -> NDArray[np.float64]:
    return np.asarray(np.clip(np.arange(step - 4.0, step + 5.0), 0, last))


def _guesses(plan: Schedule) -> dict[str, tuple[int, ...]]:
    """Integer parameters suggested by the schedule, by axis."""
    total, rise = plan.steps, plan.warmup
    below = np.flatnonzero(plan.lr[rise:] < plan.lr[rise:].max(initial=0.0) * (1 - 1e-9))
    start = rise + int(below[0]) if below.size else total
    level = np.flatnonzero(plan.lr >= plan.peak_lr * (1 - 1e-9))
    last_level = int(level[-1])
    shares = [round(total * share) for share in (0.1, 0.3, 0.6, 0.9)]
    lengths = {total - start + shift for shift in (-1, 0, 1)}
    lengths |= {total - last_level + shift for shift in (-1, 0, 1)}
    lengths |= {max(share, 1) for share in shares}
    return {
        "warmup": tuple(sorted({0, max(rise - 2, 0), max(rise - 1, 0), rise, rise + 1})),
        "decay": tuple(sorted(length for length in lengths if length >= 1)),
        "decay_end": (total - 1, total, total + 1, round(1.3 * total)),
        "timescale": tuple(sorted({max(rise, 1), max(total // 10, 1), total})),
    }
