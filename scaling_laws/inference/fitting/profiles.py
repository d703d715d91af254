"""Profiles: how fast the objective rises when one shape parameter is pinned elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import LawError, UsageError, unknown_name
from scaling_laws.data import Run
from scaling_laws.inference.fitting.fit_data import Data, prepare
from scaling_laws.inference.fitting.objective import read_objective
from scaling_laws.inference.fitting.priors import Prior
from scaling_laws.inference.fitting.varpro import solve_jobs
from scaling_laws.inference.results import CurveFit, FitRecord, require_curve_fit
from scaling_laws.inference.results.uncertainty import robust_sd
from scaling_laws.models import in_float64

__all__ = ["Profile", "profile"]

Array = NDArray[np.float64]
LEAST_REACH = 0.5  # in the free number, to either side: a factor of 1.6 of a positive parameter


@dataclass(frozen=True, eq=False)
class Profile:
    """The objective along one parameter, all others solved anew.

    A fit works with LRs as shares of the highest peak, and so does a profile: that is what stands
    still while the others move. Where the unit of a parameter depends on another (C of
    multi_power, in LR^gamma), numbers here are in the unit that the fit's values give it.

    Attributes:
        values: at which the parameter was pinned, increasing: (points,).
        objective: what the fit minimised, prior included: (points,); infinite where a solve failed.
        fit: the parameter of the fit.
        interval_90: the middle 90 % of the draws; None if there are none.
    """

    values: Array
    objective: Array
    fit: float
    interval_90: tuple[float, float] | None = None


@in_float64
def profile(
    fitted: CurveFit,
    runs: Iterable[Run] | Mapping[str, Run],
    *,
    names: Sequence[str] | None = None,
    points: int = 15,
    width: float = 3.0,
    weights: Mapping[str, float] | None = None,
    report: Callable[[str], None] | None = None,
) -> dict[str, Profile]:
    """The objective of a fit along its shape parameters.

    Objective, prior, given and tied parameters and the first step are those of the fit's record.
    A parameter is pinned at points around the fit, evenly in its free number, inside its bounds.

    Args:
        fitted: the fit.
        runs: the runs that it was fitted to.
        names: shape parameters; default all that were searched.
        points: how many for each parameter, an odd number: the fit is the middle one. There are
            fewer if the fit lies on a bound.
        width: how far to either side, in robust standard deviations of the draws.
        weights: of runs, by name, as they were given to the fit.
        report: called with a line of progress now and then.

    Returns:
        A profile a parameter, by name.

    Raises:
        LawError: if the parameters were given, not fitted, or the law takes no schedule.
        UsageError: if the runs are not those of the fit, a name is no searched shape parameter, or
            `points` or `width` make no sense.
    """
    chosen = require_curve_fit(fitted).law
    record = fitted.record
    if record is None:
        raise LawError(f"{chosen.name}: its parameters were given, not fitted; fit it first")
    if points < 3 or points % 2 == 0:
        raise UsageError(f"points={points} must be an odd number >= 3")
    if not 0.0 < width < np.inf:
        raise UsageError(f"width={width!r} must be a number > 0")
    data = prepare(
        chosen,
        runs,
        from_step=record.from_step,
        weights=weights,
        fix=record.fixed,
        tie=record.ties,
    )
    _check_runs(data, record)
    searched = [
        each.name
        for each, moves in zip(chosen.nonlinear_parameters, data.moving(), strict=True)
        if moves
    ]
    for name in names or ():
        if name not in searched:
            raise UsageError(unknown_name("searched shape parameter", name, searched))
    chosen_names = searched if names is None else list(dict.fromkeys(names))
    if not chosen_names:
        return {}
    fit = _free(data, {name: np.array([value]) for name, value in fitted.params.items()})[0]
    draws = _free(data, fitted.draws) if len(fitted.draws) else np.empty((0, len(fit)))
    low, high = data.limits
    starts, pinned = [], []
    for place, parameter in enumerate(chosen.nonlinear_parameters):
        if parameter.name not in chosen_names:
            continue
        spread = float(robust_sd(draws[:, place])) if len(draws) > 1 else 0.0
        reach = max(LEAST_REACH, width * spread)
        for number in _grid(fit[place], reach, low[place], high[place], points):
            starts.append(np.where(np.arange(len(fit)) == place, number, fit))
            pinned.append(place)
    jobs = data.jobs(
        np.array(starts), prior=_prior(record), strength=_strength(record), moving=data.moving()
    )
    # pinned here and not through `jobs`, which would leave out the prior on what does not move
    moving = jobs.moving & (np.arange(len(fit)) != np.array(pinned)[:, None])

    def tell(done: int, _: float) -> None:
        if report is not None:
            report(f"{chosen.name}: profiles, {done} of {len(starts)} points")

    outcomes = solve_jobs(
        chosen,
        data.problem,
        replace(jobs, moving=moving),
        read_objective(record.minimised),
        ties=data.ties,
        limits=data.limits,
        report=tell,
    )
    objective = np.array([outcome.objective for outcome in outcomes])
    profiles = {}
    for place, parameter in enumerate(chosen.nonlinear_parameters):
        mine = np.flatnonzero(np.array(pinned) == place)
        if mine.size == 0:
            continue
        ends = np.quantile(draws[:, place], [0.05, 0.95]) if len(draws) else np.empty(0)
        grid = [starts[job][place] for job in mine]
        values = _logged(data, fitted, place, np.array([*grid, *ends]))
        rest = [float(value) for value in values[len(grid) :]]
        profiles[parameter.name] = Profile(
            values[: len(grid)],
            objective[mine],
            fitted.params[parameter.name],
            (rest[0], rest[1]) if rest else None,
        )
    return {name: profiles[name] for name in chosen_names}


def _check_runs(data: Data, record: FitRecord) -> None:
    names = {run.name for run in data.runs}
    if names != set(record.runs):
        raise UsageError(
            f"the fit was of runs {', '.join(record.runs)}, not of {', '.join(sorted(names))}"
        )
    if len(data.observed) != record.n_points:
        raise UsageError(
            f"these runs have {len(data.observed)} points, the fit had {record.n_points}; "
            "give the runs that were fitted"
        )


def _prior(record: FitRecord) -> Prior | None:
    if not record.prior:
        return None
    return Prior(
        {name: numbers[0] for name, numbers in record.prior.items()},
        {name: numbers[1] for name, numbers in record.prior.items()},
        record.prior_source,
    )


def _strength(record: FitRecord) -> float:
    return next((numbers[2] for numbers in record.prior.values()), 0.0)


def _free(data: Data, logged: Mapping[str, Array]) -> Array:
    """Parameters in the unit of the logs -> free shape parameters of the fit: (rows, shape)."""
    law, rows = data.law, []
    for number in range(len(next(iter(logged.values())))):
        values = {name: float(row[number]) for name, row in logged.items()}
        scaled = values if law.rescale is None else law.rescale(values, 1.0 / data.unit)
        rows.append(
            [each.transform.inverse(float(scaled[each.name])) for each in law.nonlinear_parameters]
        )
    return np.array(rows)


def _logged(data: Data, fitted: CurveFit, place: int, free: Array) -> Array:
    """Free numbers of one shape parameter -> in the unit that the fit gives it in the logs."""
    law = data.law
    parameter = law.nonlinear_parameters[place]
    if law.rescale is None:
        return np.array([float(parameter.transform.forward(float(number))) for number in free])
    values = law.rescale(dict(fitted.params), 1.0 / data.unit)
    pinned = [
        {**values, parameter.name: float(parameter.transform.forward(float(number)))}
        for number in free
    ]
    return np.array([float(law.rescale(each, data.unit)[parameter.name]) for each in pinned])


def _grid(fit: float, reach: float, low: float, high: float, points: int) -> Array:
    """Around a free number, which is one of the points, inside its bounds."""
    side = points // 2 + 1
    before = np.linspace(max(fit - reach, min(low, fit)), fit, side)
    after = np.linspace(fit, min(fit + reach, max(high, fit)), side)
    return np.unique(np.concatenate([before, after[1:]]))
