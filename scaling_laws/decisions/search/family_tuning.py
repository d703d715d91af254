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
LOG2_SAMPLES = 5  # of the points in a shape's box evaluated before the local search
POLISHED = 6  # shapes that get a local search, the best of them from two points
MAX_TUNING_STEPS = 24_576  # a longer schedule is tuned on a grid of so many steps


@dataclass(frozen=True, eq=False)
class _Member:
    """A point in the box of a family's shape, and its approximate objective."""

    family: Family
    shape: SearchBox
    point: Array
    value: float


def tune_families(
    constraints: ScheduleConstraints,
    cells: Sequence[Cells],
    objective: Callable[[list[Array]], Array],
    seed: int,
) -> list[Schedule]:
    """The best member per searchable shape of the registered families, the best first.

    Args:
        constraints: what a schedule must satisfy; members that violate it are omitted.
        cells: over which the objective averages runs, one per horizon.
        objective: mean rates, (runs, K) for each of `cells` -> values (runs,).
        seed: of the initial points.

    Returns:
        Whole runs: the prefix of the constraints followed by a member of a family.
    """
    frame = constraints.search_frame
    steps = min(frame.steps, MAX_TUNING_STEPS)
    ratio = frame.steps / steps
    warmup = max(1, round(frame.warmup / ratio)) if frame.warmup else 0
    coarse = SearchFrame(frame.peak, steps, warmup, frame.end_min)
    done = len(constraints.prefix_lr)
    prefix_sums = np.concatenate([[0.0], np.cumsum(constraints.prefix_lr)])

    def mean_rates(family: Family, shape: SearchBox, point: Array) -> list[Array] | None:
        """Mean rates of a member; None if it is not valid or violates the constraints."""
        try:
            lr = family.build(with_defaults(family, member_values(family, shape, coarse, point)))
        except ScheduleError:
            return None
        if constraints.max_change is not None and (
            np.abs(np.diff(lr[warmup:])).max(initial=0.0)
            > ratio * constraints.max_change * constraints.peak_lr
        ):
            return None
        sums = prefix_sums[-1] + ratio * np.concatenate([[0.0], np.cumsum(lr)])
        means = []
        for edges in (horizon_cells.edges for horizon_cells in cells):
            after = np.interp(np.maximum(edges - done, 0) / ratio, np.arange(steps + 1), sums)
            total = np.where(edges < done, prefix_sums[np.minimum(edges, done)], after)
            means.append(np.diff(total) / np.diff(edges))
        return means

    def value(family: Family, shape: SearchBox, point: Array) -> float:
        means = mean_rates(family, shape, point)
        return np.inf if means is None else float(objective([row[None] for row in means])[0])

    plans = []
    for member in _best_members(_sampled_members(mean_rates, objective, seed), value):
        values = member_values(member.family, member.shape, frame, member.point)
        plan = constraints.complete(schedule(format_spec(member.family, values)))
        if constraints.violation(plan.lr) is None:
            plans.append(plan)
    return plans


def _sampled_members(
    mean_rates: Callable[[Family, SearchBox, Array], list[Array] | None],
    objective: Callable[[list[Array]], Array],
    seed: int,
) -> list[_Member]:
    """Quasi-random members of every shape that satisfy the constraints, with their objective."""
    points = [
        (family, shape, point)
        for family in FAMILIES.values()
        for shape in family.shapes
        for point in _points(shape, seed)
    ]
    valid = [(point, means) for point in points if (means := mean_rates(*point)) is not None]
    if not valid:
        return []
    tables = [np.stack(rows) for rows in zip(*(means for _, means in valid), strict=True)]
    values = objective(tables)
    return [_Member(*point, float(value)) for (point, _), value in zip(valid, values, strict=True)]


def _best_members(
    members: Sequence[_Member], value: Callable[[Family, SearchBox, Array], float]
) -> list[_Member]:
    """The best member per shape, the best first, after a local search for the best shapes."""

    def key(member: _Member) -> float:
        return member.value

    by_shape: dict[str, list[_Member]] = {}
    for member in sorted(members, key=key):
        if np.isfinite(member.value):
            by_shape.setdefault(member.shape.label, []).append(member)
    best = [
        min((_polish(member, value) for member in group[: 1 if rank else 2]), key=key)
        if rank < POLISHED
        else group[0]
        for rank, group in enumerate(by_shape.values())
    ]
    return sorted(best, key=key)


def _points(shape: SearchBox, seed: int) -> Array:
    """Initial points in a shape's box: (points, dimensions)."""
    low, high = np.array(shape.low), np.array(shape.high)
    if low.size == 0:
        return np.zeros((1, 0))
    sobol = qmc.Sobol(low.size, seed=np.random.default_rng(seed))
    return np.asarray(low + sobol.random_base2(LOG2_SAMPLES) * (high - low))


def _polish(member: _Member, value: Callable[[Family, SearchBox, Array], float]) -> _Member:
    """A local search from a member."""
    low, high = np.array(member.shape.low), np.array(member.shape.high)
    if low.size == 0:
        return member
    result = minimize(
        lambda point: value(member.family, member.shape, np.clip(point, low, high)),
        member.point,
        method="Nelder-Mead",
        bounds=list(zip(low, high, strict=True)),
        options={"maxfev": 60 * low.size, "xatol": 1e-4, "fatol": 1e-8},
    )
    if not result.fun < member.value:
        return member
    return _Member(member.family, member.shape, np.clip(result.x, low, high), float(result.fun))
