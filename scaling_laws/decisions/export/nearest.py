"""The member of a trainer's own schedules that is nearest to a wanted one.

A native rate is peak·u + end·v: for given whole numbers (warm-up, length of the decay) the best
peak and end follow from linear least squares; the whole numbers are searched, from guesses that the
schedule suggests, by steps that halve down to one.
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
SAMPLE = 4096  # steps that a search looks at; the result is judged on all
FARTHEST = 4  # times the steps: a longer decay or timescale is as good as none
KEPT = 2  # guesses from which the search goes on
STARTS = ("warmup", "decay", "decay_end", "timescale")  # what `_guesses` knows


def fit_families(plan: Schedule, families: Sequence[NativeFamily]) -> list[NativeFit]:
    """The nearest member of each family, nearest first (by the mean square of the distance)."""
    found = [fit for family in families if (fit := fit_family(plan, family)) is not None]
    return sorted(found, key=lambda fit: (not fit.exact, float(np.square(fit.lr - plan.lr).sum())))


def fit_family(plan: Schedule, family: NativeFamily) -> NativeFit | None:
    """The nearest member of one family; None if no member fits into the schedule's length."""
    guesses = _guesses(plan)
    steps = _sample(plan)
    wanted = plan.lr[steps]
    at = steps.astype(np.float64)
    seen: dict[Point, float] = {}

    def cost(point: Point) -> float:
        if point not in seen:
            seen[point] = np.inf
            numbers = dict(zip(family.axes, point, strict=True))
            inside = all(0 <= value <= FARTHEST * plan.steps for value in point)
            basis = family.basis(at, plan.steps, numbers) if inside else None
            if basis is not None:
                peak, end = _levels(*basis, wanted, plan.peak_lr)
                seen[point] = float(np.square(peak * basis[0] + end * basis[1] - wanted).sum())
        return seen[point]

    starts = sorted(itertools.product(*(guesses[axis] for axis in family.axes)), key=cost)[:KEPT]
    best = min((_descend(start, plan.steps, cost) for start in starts), key=cost)
    if not np.isfinite(cost(best)):
        return None
    return _member(plan, family, dict(zip(family.axes, best, strict=True)))


def _descend(start: Point, steps: int, cost: Callable[[Point], float]) -> Point:
    """Move along one axis at a time while that helps, by steps that halve down to one."""
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
    # rounding noise is no end LR
    end = rounded(end) if end > 1e-9 * peak else 0.0
    lr = peak * basis[0] + end * basis[1]
    off = np.abs(lr - plan.lr)
    largest = float(off.max())
    exact = largest <= TOLERANCE * plan.peak_lr
    return NativeFit(family, dict(numbers), peak, end, lr, largest, float(off.mean()), exact)


def _levels(u: Array, v: Array, wanted: Array, top: float) -> tuple[float, float]:
    """Least squares of peak·u + end·v against the wanted rates, with 0 <= end <= peak.

    No rate goes above `top` by more than rounding of its shape: nobody asked for a higher one.
    """
    top /= max(float(u.max()), 1e-9)  # some trainers' warm-ups end just below their peak
    uu, uv, vv = float(u @ u), float(u @ v), float(v @ v)
    uy, vy = float(u @ wanted), float(v @ wanted)

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
        peak = min(max(float(both @ wanted) / float(both @ both), 0.0), top)
        return peak, peak
    return peak, (best_end(peak) if peak == top else end)


def _sample(plan: Schedule) -> NDArray[np.int64]:
    """Steps to look at: all of a short schedule; else spread out, dense at the start."""
    last = plan.steps - 1
    if plan.steps <= SAMPLE:
        return np.arange(plan.steps)
    spread = np.linspace(0, last, SAMPLE // 2)
    # warm-ups are short beside the whole; a decay's last steps tell its end
    dense = np.geomspace(1, last + 1, SAMPLE // 4) - 1
    steps = np.concatenate([spread, dense, last - dense, _near(plan.warmup, last)])
    return np.unique(steps.round().astype(np.int64))


def _near(step: int, last: int) -> NDArray[np.float64]:
    return np.asarray(np.clip(np.arange(step - 4.0, step + 5.0), 0, last))


def _guesses(plan: Schedule) -> dict[str, tuple[int, ...]]:
    """Whole numbers that the schedule itself suggests, by axis."""
    total, rise = plan.steps, plan.warmup
    below = np.flatnonzero(plan.lr[rise:] < plan.lr[rise:].max() * (1 - 1e-9))
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
