"""The critical mixture ratio of continued training (Gu et al. 2024) and its law in tokens.

A share R of domain data is feasible if the general loss ends at most epsilon above where it began
and the domain loss ends below where it began; the critical ratio is the largest feasible share.
`critical_ratio` reads it off measured losses. Over tokens T it follows

    R(T) = beta0 + beta1·T^s

Definition and form are from secondary sources; no parameter values were found. The paper also fits
each loss by a power law of the ratio at fixed T, L = alpha·R^s + beta; that form is from memory and
is not a law here. Known limits: R(T) is not confined to [0, 1]; with s near 0 beta0 and beta1
cannot be separated; the ratio belongs to one model size, one domain and one tolerance.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling_laws.common import LawError
from scaling_laws.models.laws.law import Input, PointLaw
from scaling_laws.models.parameters import Parameter, Support

__all__ = ["CRITICAL_MIXTURE", "TOKENS_UNIT", "critical_ratio"]

TOKENS_UNIT = 1e9  # keeps beta0 and beta1 of one size; the paper's unit is not known


def value(values: Mapping[str, Any], inputs: Mapping[str, Any]) -> Any:
    """Critical mixture ratio: (points,)."""
    billions = inputs["tokens"] / TOKENS_UNIT
    return values["beta0"] + values["beta1"] * jnp.exp(values["s"] * jnp.log(billions))


def critical_ratio(
    shares: ArrayLike,
    general_losses: ArrayLike,
    domain_losses: ArrayLike,
    *,
    general_before: float,
    domain_before: float,
    tolerance: float,
) -> float | None:
    """The largest feasible share of domain data, both losses linear between measured shares.

    Feasible: general loss <= general_before + tolerance and domain loss < domain_before. The second
    is strict, so where the domain loss binds the result is the limit of feasible shares.

    Args:
        shares: domain shares that were trained with, rising: (shares,).
        general_losses: general loss after training with each, nats: (shares,).
        domain_losses: domain loss after training with each, nats: (shares,).
        general_before: general loss of the model that training continued, nats.
        domain_before: its domain loss, nats.
        tolerance: the epsilon by which the general loss may rise, nats.

    Returns:
        The critical ratio, at most the largest share measured; None if no share is feasible.

    Raises:
        LawError: if the arrays differ in length, are empty or contain a number that is not finite,
            or if the shares do not rise.

    Source: Gu et al. 2024, arXiv 2407.17467, definition of feasible and critical ratios.
    """
    share, general, domain = (
        np.asarray(values, dtype=np.float64) for values in (shares, general_losses, domain_losses)
    )
    if share.ndim != 1 or not share.size or {general.shape, domain.shape} != {share.shape}:
        raise LawError(
            "a critical ratio needs shares and two losses of one length, not of shapes "
            f"{share.shape}, {general.shape} and {domain.shape}"
        )
    if not np.isfinite([share, general, domain]).all():
        raise LawError("a critical ratio needs finite shares and losses")
    if np.any(np.diff(share) <= 0.0):
        raise LawError(f"shares must rise from one measurement to the next, not {share.tolist()}")
    general_excess = general - (general_before + tolerance)
    domain_excess = domain - domain_before
    # neither condition changes between these points, so one check per interval is enough
    points = np.unique(
        np.concatenate([share, _zeros(share, general_excess), _zeros(share, domain_excess)])
    )

    def feasible(at: float) -> bool:
        return bool(
            np.interp(at, share, general_excess) <= 0.0
            and np.interp(at, share, domain_excess) < 0.0
        )

    for index in range(len(points) - 1, -1, -1):
        point = float(points[index])
        if feasible(point) or (index and feasible(0.5 * (point + float(points[index - 1])))):
            return point
    return None


def _zeros(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where the line through the points crosses zero between two of them."""
    (interval,) = np.nonzero(y[:-1] * y[1:] < 0.0)
    fraction = y[interval] / (y[interval] - y[interval + 1])
    return x[interval] + fraction * (x[interval + 1] - x[interval])


CRITICAL_MIXTURE = PointLaw(
    name="critical_mixture",
    formula="R = beta0 + beta1·T^s",
    citation="Gu et al. 2024, arXiv 2407.17467 (form from secondary sources)",
    conventions="R is the critical share of domain data, a fraction; T is tokens of the continued "
    f"training in units of {TOKENS_UNIT:g}, a unit of this package",
    inputs=(Input("tokens", "tokens of the continued training", low=1.0),),
    parameters=(
        Parameter(
            "beta0", Support.REAL, "ratio without the power", "1", (0.05, 0.6), (-10.0, 10.0)
        ),
        Parameter(
            "beta1",
            Support.REAL,
            "change of the ratio by the first 1e9 tokens",
            "1 / (1e9 tokens)^s",
            (-0.2, 0.4),
            (-10.0, 10.0),
        ),
        Parameter("s", Support.REAL, "exponent of tokens", "1", (-1.0, 0.5), (-5.0, 5.0)),
    ),
    value=value,
    output="mixture_ratio",
    unit="1",
)
