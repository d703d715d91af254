"""Profiles: the objective along one nonlinear parameter, the others re-optimised."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import LawError, UsageError, unknown_name
from scaling_laws.data import Run
from scaling_laws.inference.fitting.fit_data import Data, prepare
from scaling_laws.inference.fitting.objective import read_objective
from scaling_laws.inference.fitting.priors import Prior
from scaling_laws.inference.fitting.problem import Solution
from scaling_laws.inference.fitting.solver import Solver, solve
from scaling_laws.inference.fitting.solver_registry import find_solver
from scaling_laws.inference.results import CurveFit, FitRecord, require_curve_fit
from scaling_laws.inference.results.uncertainty import robust_sd
from scaling_laws.models import in_float64

__all__ = ["Profile", "profile"]

Array = NDArray[np.float64]
MIN_REACH = 0.5  # in the unconstrained parameter: a factor of 1.6 in a positive one


@dataclass(frozen=True, eq=False)
class Profile:
    """The objective along one parameter, all others re-optimised.

    A profile fixes the parameter in the units of the fit, where LRs are divided by the highest
    peak. Where the unit of a parameter depends on another one (C of multi_power, in LR^gamma),
    values are converted with the fitted value of that parameter.

    Attributes:
        values: of the parameter, increasing: (points,).
        objective: what the fit minimised, prior included: (points,); infinite where a solve failed.
        fit: its fitted value.
        interval_90: 5 % and 95 % quantiles of the draws; None if there are none.
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
    solver: str | Solver | None = None,
) -> dict[str, Profile]:
    """The objective of a fit along its nonlinear parameters.

    Objective, prior, fixed and tied parameters, first step and solver are those of the fit's
    record. A parameter is fixed at points around the fit that are evenly spaced in its
    unconstrained form, within its bounds.

    Args:
        fitted: the fit.
        runs: the runs that it was fitted to.
        names: nonlinear parameters; default all that were searched.
        points: per parameter, an odd number: the fit is the middle one. There are fewer if the fit
            lies on a bound.
        width: how far to either side, in robust standard deviations of the draws.
        weights: of runs, by name, as passed to the fit.
        solver: default that of the fit's record.

    Returns:
        One profile per parameter, by name.

    Raises:
        LawError: if the parameters were not fitted, or the law takes no schedule.
        UsageError: if the runs are not those of the fit, a name is not a searched nonlinear
            parameter, or `points` or `width` is invalid.
    """
    law = require_curve_fit(fitted).law
    record = _check_arguments(fitted, points, width)
    data = prepare(
        law,
        runs,
        from_step=record.from_step,
        weights=weights,
        fix=record.fixed,
        tie=record.ties,
    )
    _check_runs(data, record)
    parameter_names = _chosen_names(data, names)
    if not parameter_names:
        return {}
    fit = _unconstrained(data, {name: np.array([value]) for name, value in fitted.params.items()})
    has_draws = len(fitted.draws) > 0
    draws = _unconstrained(data, fitted.draws) if has_draws else np.empty((0, fit.shape[1]))
    grids = {
        index: _grid_of(data, fit[0], draws, index, points, width)
        for index, parameter in enumerate(law.nonlinear_parameters)
        if parameter.name in parameter_names
    }
    solutions = _solve_grids(data, record, fit[0], grids, find_solver(solver or record.solver))
    objective = np.array([solution.objective for solution in solutions])
    profiles, begin = {}, 0
    for index, grid in grids.items():
        ends = np.quantile(draws[:, index], [0.05, 0.95]) if has_draws else np.empty(0)
        values = _logged(data, fitted, index, np.concatenate([grid, ends]))
        low_high = [float(value) for value in values[len(grid) :]]
        name = law.nonlinear_parameters[index].name
        profiles[name] = Profile(
            values[: len(grid)],
            objective[begin : begin + len(grid)],
            fitted.params[name],
            (low_high[0], low_high[1]) if low_high else None,
        )
        begin += len(grid)
    return {name: profiles[name] for name in parameter_names}


def _check_arguments(fitted: CurveFit, points: int, width: float) -> FitRecord:
    if fitted.record is None:
        raise LawError(f"{fitted.law.name}: its parameters were given, not fitted; fit it first")
    if points < 3 or points % 2 == 0:
        raise UsageError(f"points={points} must be an odd number >= 3", value=points)
    if not 0.0 < width < np.inf:
        raise UsageError(f"width={width!r} must be a number > 0", value=width)
    return fitted.record


def _chosen_names(data: Data, names: Sequence[str] | None) -> list[str]:
    """Names of the parameters to profile; default all that were searched."""
    searched = [
        parameter.name
        for parameter, is_free in zip(data.law.nonlinear_parameters, data.free_mask(), strict=True)
        if is_free
    ]
    for name in names or ():
        if name not in searched:
            raise UsageError(
                unknown_name("searched nonlinear parameter", name, searched), value=name
            )
    return searched if names is None else list(dict.fromkeys(names))


def _grid_of(data: Data, fit: Array, draws: Array, index: int, points: int, width: float) -> Array:
    """Unconstrained values of one parameter at which it is fixed: (points,)."""
    low, high = data.bounds
    sd = float(robust_sd(draws[:, index])) if len(draws) > 1 else 0.0
    return _grid(fit[index], max(MIN_REACH, width * sd), low[index], high[index], points)


def _solve_grids(
    data: Data, record: FitRecord, fit: Array, grids: Mapping[int, Array], solver: Solver
) -> list[Solution]:
    """All points of all profiles in one call, one grid after the other."""
    pinned = np.concatenate([np.full(len(grid), index) for index, grid in grids.items()])
    values = np.concatenate(list(grids.values()))
    is_pinned = np.arange(len(fit)) == pinned[:, None]
    requests = data.requests(
        np.where(is_pinned, values[:, None], fit), prior=_prior(record), strength=_strength(record)
    )
    # not through `requests`, which omits the prior of parameters that are not searched
    return solve(
        solver,
        data,
        replace(requests, free_mask=requests.free_mask & ~is_pinned),
        read_objective(record.minimised),
        stage=f"{data.law.name}: profiles",
    )


def _check_runs(data: Data, record: FitRecord) -> None:
    names = {run.name for run in data.runs}
    if names != set(record.runs):
        raise UsageError(
            f"the fit used runs {', '.join(record.runs)}, not {', '.join(sorted(names))}"
        )
    if len(data.observed) != record.n_points:
        raise UsageError(
            f"these runs have {len(data.observed)} points, the fit had {record.n_points}; "
            "pass the runs that were fitted"
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


def _unconstrained(data: Data, logged: Mapping[str, Array]) -> Array:
    """Parameters in the unit of the logs -> unconstrained ones of the fit: (rows, nonlinear)."""
    law, rows = data.law, []
    for number in range(len(next(iter(logged.values())))):
        values = {name: float(row[number]) for name, row in logged.items()}
        scaled = values if law.rescale is None else law.rescale(values, 1.0 / data.unit)
        rows.append(
            [
                parameter.transform.inverse(float(scaled[parameter.name]))
                for parameter in law.nonlinear_parameters
            ]
        )
    return np.array(rows)


def _logged(data: Data, fitted: CurveFit, index: int, unconstrained: Array) -> Array:
    """Unconstrained values of one parameter -> in the unit that it has in the logs."""
    law = data.law
    parameter = law.nonlinear_parameters[index]
    if law.rescale is None:
        return np.array(
            [float(parameter.transform.forward(float(number))) for number in unconstrained]
        )
    values = law.rescale(dict(fitted.params), 1.0 / data.unit)
    pinned = [
        {**values, parameter.name: float(parameter.transform.forward(float(number)))}
        for number in unconstrained
    ]
    return np.array([float(law.rescale(row, data.unit)[parameter.name]) for row in pinned])


def _grid(fit: float, reach: float, low: float, high: float, points: int) -> Array:
    """Points around the fit, which is one of them, within the bounds."""
    side = points // 2 + 1
    before = np.linspace(max(fit - reach, min(low, fit)), fit, side)
    after = np.linspace(fit, min(fit + reach, max(high, fit)), side)
    return np.unique(np.concatenate([before, after[1:]]))
