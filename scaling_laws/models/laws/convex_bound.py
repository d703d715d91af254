"""The last-iterate bound of convex optimisation as a loss law (Schaipp et al. 2025).

For gradient norms at most G and distance D to the optimum, the loss after step t is at most

    Ω_t = D²/(2 S_t) + G² Q_t/(2 S_t)
          + G²/2 Σ_{k<t} lr_k / (S_t - S_k) · (Q_t - Q_{k-1}) / (S_t - S_{k-1})

with S the summed LR and Q the summed LR² (arXiv 2501.18965, from Defazio et al. 2023, theorem 10).
The fraction is a difference, 1/(S_t - S_k) - 1/(S_t - S_{k-1}), so summation by parts leaves

    Ω_t = D²/(2 S_t) + G²/2 · [lr_t + Σ_{k<t} lr_k² / (S_t - S_k)],

the noise sum of a functional law with exponents 1 and no delay, which the engine does in linear
time for every step. The law is L = L0 + A/S + B·[...], linear in all its parameters; in the
paper's letters L0 = C, A = M·D²/2, B = M·G²/2 for one M. Steps of LR zero change nothing.

Known limits: a bound's shape, not a law's: with constant G every loss falls as steps^-1/2, and an
LR that jumps down is punished too much. The paper also fits gradient norms that change along the
run; `bound` takes them measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from scaling_laws.common import LawError
from scaling_laws.models.laws.common import FLOOR_LOSS, power_of
from scaling_laws.models.laws.law import Law
from scaling_laws.models.numerics.clocks import SummedLR
from scaling_laws.models.numerics.convolution import noise_level
from scaling_laws.models.numerics.history import History
from scaling_laws.models.numerics.kernels import NoiseKernel
from scaling_laws.models.parameters import Parameter, Support

__all__ = ["CONVEX_BOUND", "bound", "optimal_base_lr"]


def design_matrix(values: Mapping[str, Any], history: History) -> Any:
    """Columns 1, 1/S, lr_t + Σ_{k<t} lr_k²/(S_t - S_k): (points, 3)."""
    clock = jnp.asarray(history.clock).reshape(-1)
    one = jnp.ones_like(clock)
    noise = noise_level(history, NoiseKernel(exponent=one[0], offset=0.0 * one[0]))
    return jnp.stack([one, power_of(clock, one[0], history), noise], axis=1)


def rescale(values: Mapping[str, Any], factor: Any) -> dict[str, Any]:
    """The same losses when every LR is `factor` times as large."""
    return {**values, "A": values["A"] * factor, "B": values["B"] / factor}


def _parts(lr: ArrayLike, gradient_norm: ArrayLike) -> tuple[float, float]:
    """1/(2 S), and the noise term of the bound, both after the last step with LR > 0."""
    rate = np.asarray(lr, dtype=float)
    if rate.ndim != 1 or not np.isfinite(rate).all() or (rate < 0).any():
        raise LawError("lr must be a 1-D array of finite learning rates >= 0")
    norm = np.broadcast_to(np.asarray(gradient_norm, dtype=float), rate.shape)
    moving = rate > 0
    rate, norm = rate[moving], norm[moving]
    if rate.size == 0:
        raise LawError("every learning rate is 0, so nothing is trained")
    # summed backwards, since the difference of two large sums would lose small distances
    ahead = np.append(np.cumsum(rate[:0:-1])[::-1], rate[-1])
    return float(0.5 / rate.sum()), float(0.5 * np.sum((rate * norm) ** 2 / ahead))


def bound(lr: ArrayLike, gradient_norm: ArrayLike = 1.0, distance: float = 1.0) -> float:
    """The last-iterate bound Ω after the last step.

    Args:
        lr: learning rate of every step: (steps,).
        gradient_norm: G, one number or one per step: (steps,).
        distance: D, from the start to the optimum.

    Returns:
        The bound on the loss above the optimum, in the unit of the loss.

    Raises:
        LawError: for rates that are not finite or negative, or all zero.

    >>> round(bound([0.5, 0.5]), 3)
    1.0
    """
    distance_term, noise_term = _parts(lr, gradient_norm)
    return distance**2 * distance_term + noise_term


def optimal_base_lr(
    shape: ArrayLike, gradient_norm: ArrayLike = 1.0, distance: float = 1.0
) -> tuple[float, float]:
    """The factor of a schedule at which the bound is lowest, and the bound there.

    With T1 = D²/(2 Σ shape) and T2 the noise term of the bound at factor 1: γ* = √(T1/T2),
    Ω* = 2·√(T1·T2).

    Args:
        shape: learning rate of every step at factor 1: (steps,).
        gradient_norm: G, one number or one per step: (steps,).
        distance: D.

    Returns:
        γ* and Ω*.

    Raises:
        LawError: for rates that are not finite or negative, or all zero.
    """
    distance_term, noise_term = _parts(shape, gradient_norm)
    distance_term *= distance**2
    return float(np.sqrt(distance_term / noise_term)), float(
        2.0 * np.sqrt(distance_term * noise_term)
    )


CONVEX_BOUND = Law(
    name="convex_bound",
    formula="L = L0 + A/S + B·(lr[t] + Σ_{k<t} lr[k]²/(S_t - S_k))",
    citation="Schaipp et al. 2025, arXiv 2501.18965, theorem from Defazio et al., arXiv 2310.07831",
    linear_parameters=(
        FLOOR_LOSS,
        Parameter("A", Support.POSITIVE, "M·D²/2: loss from the start's distance", "nats · LR"),
        Parameter("B", Support.POSITIVE, "M·G²/2: loss from the updates' noise", "nats / LR"),
    ),
    nonlinear_parameters=(),
    design_matrix=design_matrix,
    rescale=rescale,
    clock=SummedLR(noise=True),
    conventions="S sums the LR of steps 0..t inclusive, warm-up included; constant gradient norm; "
    "steps of LR zero leave the loss as it is",
)
