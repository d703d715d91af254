"""Tune the shape parameters of every schedule family."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import qmc

from scaling_laws.common import ScheduleError
from scaling_laws.decisions.constraints import ScheduleConstraints
from scaling_laws.models import (
    FAMILIES,
    Cells,
    Family,
    Schedule,
    SearchBox,
    SearchFrame,
    format_spec,
    member_values,
    schedule,
    with_defaults,
)

__all__ = ["tune_families"]

Array = NDArray[np.float64]
SAMPLES = 5  # as a power of two: points of a shape's box tried before the local search
POLISHED = 6  # shapes that get a local search, from their best two points
COARSE = 24_576  # steps: a longer member is tuned on a grid of so many


@dataclass(frozen=True, eq=False)
class _Member:
    """A shape of a family with free numbers, and its approximate objective."""

    family: Family
    shape: SearchBox
    free: Array
    value: float


def tune_families(
    constraints: ScheduleConstraints,
    cells: Sequence[Cells],
    objective: Callable[[list[Array]], Array],
    seed: int,
) -> list[Schedule]:
    """The best member of the searchable shapes of registered families, the best first.

    Args:
        constraints: what is fixed; members that break it are left out.
        cells: how the objective wants runs gathered: one an end that counts.
        objective: mean rates, a row a run, for each of `cells` -> values (rows,).
        seed: of the points tried first.

    Returns:
        Whole runs: the head of the constraints and a member of a family after it.
    """
    frame = constraints.search_frame
    steps = min(frame.steps, COARSE)
    ratio = frame.steps / steps
    warmup = max(1, round(frame.warmup / ratio)) if frame.warmup else 0
    coarse = SearchFrame(frame.peak, steps, warmup, frame.end_min)
    done = len(constraints.prefix_lr)
    head = np.concatenate([[0.0], np.cumsum(constraints.prefix_lr)])

    def rows(family: Family, shape: SearchBox, free: Array) -> list[Array] | None:
        """Mean rates of a member; None if it is no schedule or breaks the constraints."""
        try:
            lr = family.build(with_defaults(family, member_values(family, shape, coarse, free)))
        except ScheduleError:
            return None
        if constraints.max_change is not None and (
            np.abs(np.diff(lr[warmup:])).max(initial=0.0)
            > ratio * constraints.max_change * constraints.peak_lr
        ):
            return None
        sums = head[-1] + ratio * np.concatenate([[0.0], np.cumsum(lr)])
        found = []
        for each in cells:
            place = np.maximum(each.edges - done, 0) / ratio
            after = np.interp(place, np.arange(steps + 1), sums)
            total = np.where(each.edges < done, head[np.minimum(each.edges, done)], after)
            found.append(np.diff(total) / np.diff(each.edges))
        return found

    def value(family: Family, shape: SearchBox, free: Array) -> float:
        means = rows(family, shape, free)
        return np.inf if means is None else float(objective([row[None] for row in means])[0])

    tried = [
        (family, shape, point)
        for family in FAMILIES.values()
        for shape in family.shapes
        for point in _points(shape, seed)
    ]
    built = [(each, means) for each in tried if (means := rows(*each)) is not None]
    if not built:
        return []
    tables = [np.stack([means[place] for _, means in built]) for place in range(len(cells))]
    values = objective(tables)
    members = [
        _Member(*each, float(number)) for (each, _), number in zip(built, values, strict=True)
    ]
    by_shape: dict[str, list[_Member]] = {}
    for member in sorted(members, key=lambda each: each.value):
        if np.isfinite(member.value):
            by_shape.setdefault(member.shape.label, []).append(member)
    best = [
        min((_polish(each, value) for each in group[:2]), key=lambda each: each.value)
        if rank < POLISHED
        else group[0]
        for rank, group in enumerate(by_shape.values())
    ]
    best.sort(key=lambda each: each.value)
    plans = []
    for each in best:
        spec = format_spec(each.family, member_values(each.family, each.shape, frame, each.free))
        plan = constraints.complete(schedule(spec))
        if constraints.violation(plan.lr) is None:
            plans.append(plan)
    return plans


def _points(shape: SearchBox, seed: int) -> Array:
    """First points of a shape's box: (points, free numbers)."""
    low, high = np.array(shape.low), np.array(shape.high)
    if low.size == 0:
        return np.zeros((1, 0))
    sobol = qmc.Sobol(low.size, seed=np.random.default_rng(seed))
    return np.asarray(low + sobol.random_base2(SAMPLES) * (high - low))


def _polish(member: _Member, value: Callable[[Family, SearchBox, Array], float]) -> _Member:
    """A local search from a member."""
    low, high = np.array(member.shape.low), np.array(member.shape.high)
    if low.size == 0:
        return member
    found = minimize(
        lambda free: value(member.family, member.shape, np.clip(free, low, high)),
        member.free,
        method="Nelder-Mead",
        bounds=list(zip(low, high, strict=True)),
        options={"maxfev": 60 * low.size, "xatol": 1e-4, "fatol": 1e-8},
    )
    if not found.fun < member.value:
        return member
    return _Member(member.family, member.shape, np.clip(found.x, low, high), float(found.fun))
