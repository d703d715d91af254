"""What is held of a law's parameters before a run has spoken: a normal distribution.

It is one of the free numbers of all parameters together (the logarithm of a positive one), so that
what a run does not show stays near what the law says, in the proportions that the law says: a run
at a constant LR tells nothing of what a decay gains, but a law that was fitted to others does.

A law file is believed in one of three ways; how well each explains the run decides. `SAME`: the run
is one more of those that the law was fitted to. `NEAR`: another peak or horizon; the parameters
spread twice as far as the fitted runs leave them open, and further. `OTHER`: another model size or
data; the floor and the common size of the other terms are free as well. Without a law file there
is the shipped prior of the law's shape (`SHIPPED`), and the ratio of amplitudes of published fits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from scaling_laws.common import LawError
from scaling_laws.decisions.replanning.batched_losses import in_unit, log_losses
from scaling_laws.decisions.replanning.binned_log import BinnedLog
from scaling_laws.inference import CurveFit, prior_of
from scaling_laws.models import Law, Parameter, Prior, Support, schedule_laws

__all__ = ["SHIPPED", "GaussianPrior", "calibrated_law", "params_of", "priors_of", "shipped_prior"]

Array = NDArray[np.float64]
TINY = 1e-12  # an amplitude of zero has no logarithm
MAX_DEVIATION = 3.0  # how far a draw may lie from the fit, as a free number
NO_DRAWS = 1.0  # share of the shipped prior's spread where a law comes without draws


@dataclass(frozen=True)
class PriorScope:
    """How a law file is believed; spreads are standard deviations of free numbers.

    Attributes:
        label: its name.
        meaning: what the run is then, in words.
        widen: factor on the spread of the law's draws.
        share: of the shipped prior's spread, added to each shape parameter.
        floor: spread of L0.
        scale: spread that the other amplitudes have in common.
        ratio: further spread of each of them but the first.
    """

    label: str
    meaning: str
    widen: float
    share: float
    floor: float
    scale: float
    ratio: float


# chosen by forecasts of finished runs from their beginnings; docs/replan.md
SCOPES = (
    PriorScope("same", "one more run like those fitted", 1.0, 0.0, 0.0005, 0.002, 0.002),
    PriorScope("near", "like those fitted, at another peak or length", 2.0, 0.3, 0.005, 0.05, 0.05),
    PriorScope("other", "of another model size or data", 2.0, 0.5, 0.2, 0.2, 0.1),
)
SHIPPED = PriorScope("shipped", "known by the shipped prior alone", 0.0, 1.0, 0.3, 1.0, 0.25)


@dataclass(frozen=True, eq=False)
class GaussianPrior:
    """A normal distribution over the free numbers of a law's parameters.

    Attributes:
        law: the law.
        scope: how it came about.
        unit: LR that counts as 1; parameters are for LRs in it.
        centre: (parameters,).
        covariance: (parameters, parameters).
    """

    law: Law
    scope: PriorScope
    unit: float
    centre: Array = field(repr=False)
    covariance: Array = field(repr=False)


def free_numbers(law: Law, values: Mapping[str, float]) -> Array:
    """Parameters -> free numbers: (parameters,)."""
    return np.array([_unconstrained(each, float(values[each.name])) for each in law.parameters])


def _unconstrained(parameter: Parameter, value: float) -> float:
    if parameter.support is Support.POSITIVE:
        value = max(value, TINY)
    return float(parameter.transform.inverse(value))


def params_of(law: Law, free: Array) -> dict[str, Array]:
    """Unconstrained numbers (rows, parameters) -> parameters by name, (rows,) each."""
    return {
        each.name: each.transform.forward(free[:, place])
        for place, each in enumerate(law.parameters)
    }


def priors_of(fitted: CurveFit, unit: float) -> list[GaussianPrior]:
    """A law file, believed in each of the three ways."""
    law = fitted.law
    centre = free_numbers(law, in_unit(law, fitted.params, unit))
    rows = np.zeros((0, len(centre)))
    if fitted.draw_count > 2:
        draws = [
            {name: float(row[place]) for name, row in fitted.draws.items()}
            for place in range(fitted.draw_count)
        ]
        rows = np.array([free_numbers(law, in_unit(law, each, unit)) for each in draws])
        rows = np.clip(rows, centre - MAX_DEVIATION, centre + MAX_DEVIATION)
    shipped = _shape_spread(law)
    priors = []
    for scope in SCOPES:
        share = scope.share if len(rows) else max(scope.share, NO_DRAWS)
        covariance = np.diag((share * shipped) ** 2) + _amplitude_spread(law, centre, scope)
        if len(rows):
            covariance = covariance + scope.widen**2 * np.cov(rows.T)
        priors.append(
            GaussianPrior(law, scope, unit, centre, _still(law, fitted.params, covariance))
        )
    return priors


def _still(law: Law, values: Mapping[str, float], covariance: Array) -> Array:
    """A covariance in which amplitudes of zero, terms that a fit did without, do not move."""
    off = [each in law.linear_parameters and values[each.name] == 0 for each in law.parameters]
    moves = ~np.array(off)
    return np.asarray(covariance * moves[:, None] * moves[None, :])


def _shape_spread(law: Law) -> Array:
    """Spread of the shipped prior, 0 for amplitudes: (parameters,)."""
    prior = _shipped(law)
    return np.array([prior.sd.get(each.name, 0.0) for each in law.parameters])


def _shipped(law: Law) -> Prior:
    prior = prior_of(law, "weak")
    assert prior is not None  # only "none" gives none
    return prior


def _amplitude_spread(law: Law, centre: Array, scope: PriorScope) -> Array:
    """Covariance that a scope adds to the amplitudes: (parameters, parameters)."""
    count = len(law.linear_parameters)
    # a change by a share, as a change of the free number
    step = np.array(
        [
            abs(centre[place]) if each.support is Support.REAL else 1.0
            for place, each in enumerate(law.linear_parameters)
        ]
    )
    found = np.zeros((len(centre), len(centre)))
    rows = [(scope.floor, [0]), (scope.scale, list(range(1, count)))]
    rows += [(scope.ratio, [place]) for place in range(2, count)]
    for spread, places in rows:
        direction = np.zeros(len(centre))
        direction[places] = spread * step[places]
        found += np.outer(direction, direction)
    return found


def shipped_prior(
    law: Law, points: BinnedLog, lr: Array, unit: float, facts: Mapping[str, float]
) -> GaussianPrior:
    """What is held of a law before any fit: the shipped prior, and published ratios of amplitudes.

    The floor and the size of the other terms begin where the run puts them, and are free.

    Raises:
        LawError: if nothing is shipped that says how much a decay gains under this law.
    """
    if law.in_progress is None:
        raise LawError(
            f"nothing is shipped that says how much a decay gains under {law.name}; pass a law "
            f"file of it, fitted to runs that decayed, or take {calibrated_law()}"
        )
    prior = _shipped(law)
    shape = {
        each.name: float(each.transform.forward(prior.mean.get(each.name, 0.0)))
        for each in law.nonlinear_parameters
    }
    ratios, spreads = _ratios(law, unit)
    sizes = np.array([1.0, *ratios])
    columns = _terms(law, shape, points, lr / unit, facts)
    table = np.stack([np.ones(len(points.steps)), columns[:, 1:] @ sizes], axis=1)
    weight = np.sqrt(points.weight)
    found, _ = nnls(weight[:, None] * table, weight * np.exp(points.log_loss))
    floor, size = (max(float(each), 1e-3) for each in found)
    values = {**shape, law.linear_parameters[0].name: floor}
    for each, ratio in zip(law.linear_parameters[1:], sizes, strict=True):
        values[each.name] = size * ratio
    centre = free_numbers(law, values)
    covariance = np.diag(_shape_spread(law) ** 2) + _amplitude_spread(law, centre, SHIPPED)
    for place, spread in enumerate(spreads, start=2):
        covariance[place, place] += max(spread**2 - SHIPPED.ratio**2, 0.0)
    return GaussianPrior(law, SHIPPED, unit, centre, covariance)


def _terms(
    law: Law, shape: Mapping[str, float], points: BinnedLog, lr: Array, facts: Mapping[str, float]
) -> Array:
    """What each amplitude multiplies at some points: (points, amplitudes).

    Read off the law's losses, one amplitude at a time over a floor that keeps them positive.
    """
    floor = 100.0
    count = len(law.linear_parameters)
    table = np.eye(count)
    table[:, 0] = floor
    params = {each.name: table[:, place] for place, each in enumerate(law.linear_parameters)}
    params |= {name: np.full(count, value) for name, value in shape.items()}
    losses = np.exp(log_losses(law, params, lr, points.steps, facts)).T - floor
    losses[:, 0] = 1.0
    return np.asarray(losses)


def calibrated_law() -> str:
    """The name of a law whose forecasts of runs in progress are calibrated, for messages."""
    return next(law.name for law in schedule_laws() if law.in_progress is not None)


def _ratios(law: Law, unit: float) -> tuple[list[float], list[float]]:
    """Ratios of the amplitudes after the second to the second, and the spread of their logs."""
    labelled = dict(law.published)
    for other in schedule_laws():  # a fallback has the terms of the law that it stands in for
        if other.fallback is law:
            labelled |= other.published
    names = [each.name for each in law.linear_parameters[1:]]
    free: list[list[float]] = []
    for values in labelled.values():
        full = {**{each.name: 1.0 for each in law.nonlinear_parameters}, **values}
        scaled = in_unit(law, full, unit)
        if all(float(scaled[name]) > 0 for name in names):
            free.append([float(np.log(scaled[name] / scaled[names[0]])) for name in names[1:]])
    rows = np.array(free)
    return np.exp(rows.mean(axis=0)).tolist(), rows.std(axis=0).tolist()
