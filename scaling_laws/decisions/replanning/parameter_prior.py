"""The prior of a law's parameters before a run is taken into account: a normal distribution.

It is a joint distribution of all unconstrained parameters (the logarithm of a positive one), so
whatever a run does not determine keeps its prior: a run at a constant LR contains no information
about the gain of a decay, but a law that was fitted to other runs does.

A law file gives one of three priors, chosen by how well each explains the run. `SAME`: the run is
similar to those that the law was fitted to. `NEAR`: another peak or horizon; the parameters spread
twice as far as in the draws of the fit, plus a part of the shipped prior. `OTHER`: another model
size or data; the floor and the common scale of the other terms are also free. Without a law file:
the shipped prior of the law's nonlinear parameters (`SHIPPED`), and published amplitude ratios.
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
TINY = 1e-12  # replaces an amplitude of zero, which has no logarithm
MAX_DEVIATION = 3.0  # of a draw from the fit, per unconstrained parameter
SHIPPED_SHARE_WITHOUT_DRAWS = 1.0  # of the shipped prior's sd, for a law file without draws
MIN_SCALE = 1e-3  # of the floor and the scale of the other terms, in nats


@dataclass(frozen=True)
class PriorScope:
    """How wide the prior from a law file is; widths are sds of unconstrained parameters.

    Attributes:
        label: its name.
        meaning: the corresponding description of the run, for messages.
        widen: factor on the spread of the law's draws.
        share: of the shipped prior's sd, added per nonlinear parameter.
        floor: sd of L0.
        scale: sd that the other amplitudes have in common.
        ratio: additional sd of each other amplitude except the first.
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
    PriorScope("same", "similar to those fitted", 1.0, 0.0, 0.0005, 0.002, 0.002),
    PriorScope("near", "like those fitted, at another peak or length", 2.0, 0.3, 0.005, 0.05, 0.05),
    PriorScope("other", "of another model size or data", 2.0, 0.5, 0.2, 0.2, 0.1),
)
SHIPPED = PriorScope("shipped", "described by the shipped prior only", 0.0, 1.0, 0.3, 1.0, 0.25)


@dataclass(frozen=True, eq=False)
class GaussianPrior:
    """A normal distribution of a law's unconstrained parameters.

    Attributes:
        law: the law.
        scope: where it comes from and how wide it is.
        unit: LR that counts as 1; parameters refer to LRs in this unit.
        mean: (parameters,).
        covariance: (parameters, parameters).
    """

    law: Law
    scope: PriorScope
    unit: float
    mean: Array = field(repr=False)
    covariance: Array = field(repr=False)


def unconstrained_parameters(law: Law, values: Mapping[str, float]) -> Array:
    """Parameters by name -> unconstrained parameters: (parameters,)."""
    return np.array(
        [_unconstrained(parameter, float(values[parameter.name])) for parameter in law.parameters]
    )


def _unconstrained(parameter: Parameter, value: float) -> float:
    if parameter.support is Support.POSITIVE:
        value = max(value, TINY)
    return float(parameter.transform.inverse(value))


def params_of(law: Law, unconstrained: Array) -> dict[str, Array]:
    """Unconstrained parameters (rows, parameters) -> (rows,) per parameter name."""
    return {
        parameter.name: parameter.transform.forward(column)
        for parameter, column in zip(law.parameters, unconstrained.T, strict=True)
    }


def priors_of(fitted: CurveFit, unit: float) -> list[GaussianPrior]:
    """The priors of a law file, one per scope."""
    law = fitted.law
    mean = unconstrained_parameters(law, in_unit(law, fitted.params, unit))
    rows = np.zeros((0, len(mean)))
    if fitted.draw_count > 2:
        draws = [
            {name: float(row[i]) for name, row in fitted.draws.items()}
            for i in range(fitted.draw_count)
        ]
        rows = np.array([unconstrained_parameters(law, in_unit(law, draw, unit)) for draw in draws])
        rows = np.clip(rows, mean - MAX_DEVIATION, mean + MAX_DEVIATION)
    shipped = _shipped_sd(law)
    priors = []
    for scope in SCOPES:
        share = scope.share if len(rows) else max(scope.share, SHIPPED_SHARE_WITHOUT_DRAWS)
        covariance = np.diag((share * shipped) ** 2) + _amplitude_covariance(law, mean, scope)
        if len(rows):
            covariance = covariance + scope.widen**2 * np.cov(rows.T)
        covariance = _without_zero_amplitudes(law, fitted.params, covariance)
        priors.append(GaussianPrior(law, scope, unit, mean, covariance))
    return priors


def _without_zero_amplitudes(law: Law, values: Mapping[str, float], covariance: Array) -> Array:
    """The covariance with zero variance for amplitudes of zero, i.e. terms that the fit omits."""
    zero = [
        parameter in law.linear_parameters and values[parameter.name] == 0
        for parameter in law.parameters
    ]
    varies = ~np.array(zero)
    return np.asarray(covariance * varies[:, None] * varies[None, :])


def _shipped_sd(law: Law) -> Array:
    """Standard deviations of the shipped prior, 0 for amplitudes: (parameters,)."""
    prior = _shipped(law)
    return np.array([prior.sd.get(parameter.name, 0.0) for parameter in law.parameters])


def _shipped(law: Law) -> Prior:
    prior = prior_of(law, "weak")
    assert prior is not None  # only "none" gives none
    return prior


def _amplitude_covariance(law: Law, mean: Array, scope: PriorScope) -> Array:
    """Covariance that a scope adds to the amplitudes: (parameters, parameters)."""
    count = len(law.linear_parameters)
    # change of the unconstrained parameter per relative change of the amplitude
    per_share = np.array(
        [
            abs(mean[i]) if parameter.support is Support.REAL else 1.0
            for i, parameter in enumerate(law.linear_parameters)
        ]
    )
    covariance = np.zeros((len(mean), len(mean)))
    rows = [(scope.floor, [0]), (scope.scale, list(range(1, count)))]
    rows += [(scope.ratio, [i]) for i in range(2, count)]
    for sd, indices in rows:
        direction = np.zeros(len(mean))
        direction[indices] = sd * per_share[indices]
        covariance += np.outer(direction, direction)
    return covariance


def shipped_prior(
    law: Law, points: BinnedLog, lr: Array, unit: float, facts: Mapping[str, float]
) -> GaussianPrior:
    """The prior without a law file: the shipped prior, and published ratios of amplitudes.

    The means of the floor and of the scale of the other terms are least-squares estimates from the
    run; both have a wide prior.

    Raises:
        LawError: if nothing is shipped that determines the gain of a decay under this law.
    """
    if law.in_progress is None:
        raise LawError(
            f"nothing is shipped that determines the gain of a decay under {law.name}; pass a law "
            f"file of it, fitted to runs that decayed, or use {calibrated_law()}"
        )
    prior = _shipped(law)
    nonlinear = {
        parameter.name: float(parameter.transform.forward(prior.mean.get(parameter.name, 0.0)))
        for parameter in law.nonlinear_parameters
    }
    ratios, log_sds = _ratios(law, unit)
    relative = np.array([1.0, *ratios])
    columns = _design_matrix(law, nonlinear, points, lr / unit, facts)
    two_columns = np.stack([np.ones(len(points.steps)), columns[:, 1:] @ relative], axis=1)
    weight = np.sqrt(points.weight)
    estimates, _ = nnls(weight[:, None] * two_columns, weight * np.exp(points.log_loss))
    floor, scale = (max(float(estimate), MIN_SCALE) for estimate in estimates)
    values = {**nonlinear, law.linear_parameters[0].name: floor}
    for parameter, ratio in zip(law.linear_parameters[1:], relative, strict=True):
        values[parameter.name] = scale * ratio
    mean = unconstrained_parameters(law, values)
    covariance = np.diag(_shipped_sd(law) ** 2) + _amplitude_covariance(law, mean, SHIPPED)
    for i, sd in enumerate(log_sds, start=2):
        covariance[i, i] += max(sd**2 - SHIPPED.ratio**2, 0.0)
    return GaussianPrior(law, SHIPPED, unit, mean, covariance)


def _design_matrix(
    law: Law,
    nonlinear: Mapping[str, float],
    points: BinnedLog,
    lr: Array,
    facts: Mapping[str, float],
) -> Array:
    """What each amplitude multiplies at some points: (points, amplitudes).

    From losses with one amplitude at 1, plus a floor that keeps them positive, so that the compiled
    programs of `log_losses` are shared.
    """
    floor = 100.0
    count = len(law.linear_parameters)
    table = np.eye(count)
    table[:, 0] = floor
    params = {
        parameter.name: column
        for parameter, column in zip(law.linear_parameters, table.T, strict=True)
    }
    params |= {name: np.full(count, value) for name, value in nonlinear.items()}
    losses = np.exp(log_losses(law, params, lr, points.steps, facts)).T - floor
    losses[:, 0] = 1.0
    return np.asarray(losses)


def calibrated_law() -> str:
    """The name of a law whose forecasts of runs in progress are calibrated, for messages."""
    return next(law.name for law in schedule_laws() if law.in_progress is not None)


def _ratios(law: Law, unit: float) -> tuple[list[float], list[float]]:
    """Published ratios of the amplitudes after the second to the second.

    Returns:
        Their geometric means, and the standard deviations of their logarithms.
    """
    published = dict(law.published)
    for other in schedule_laws():  # a fallback has the terms of the law that it replaces
        if other.fallback is law:
            published |= other.published
    names = [parameter.name for parameter in law.linear_parameters[1:]]
    log_ratios: list[list[float]] = []
    for values in published.values():
        full = {**{parameter.name: 1.0 for parameter in law.nonlinear_parameters}, **values}
        scaled = in_unit(law, full, unit)
        if all(float(scaled[name]) > 0 for name in names):
            log_ratios.append(
                [float(np.log(scaled[name] / scaled[names[0]])) for name in names[1:]]
            )
    rows = np.array(log_ratios)
    return np.exp(rows.mean(axis=0)).tolist(), rows.std(axis=0).tolist()
