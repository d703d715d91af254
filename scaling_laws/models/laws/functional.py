"""The functional scaling law in drop form (Li et al. 2025, practical ansatz).

    L(t) = L0 + A·S^-alpha - Σ_{k<=t, lr falls} (lr[k-1] - lr[k])·(D + B·S_k^-alpha)·K,
    K = 1 - (1 + C·(S - S_k))^-beta,   S and S_k the LR summed up to and including steps t and k

In the notation of the ansatz c1 = A, c2 = B, c3 = D/B, c4 = C, s = alpha, gamma = beta; B and D are
amplitudes here because both enter linearly. Only falls of the LR count, so a re-warm-up costs
nothing: do not use it there. The form is known from a third party's implementation
(VincentWangzt/TDLT_project); on the public curves B falls to 0 and the law becomes multi_power
with gamma = 0. Scaling the whole schedule up always helps, so it cannot choose a peak LR.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from scaling_laws.models.laws.common import (
    ALPHA,
    FLOOR_LOSS,
    MEMORY_EXPONENT,
    MEMORY_SPEED,
    POWER_AMPLITUDE,
    power_of,
    power_terms,
    rescale_power,
)
from scaling_laws.models.laws.law import Law
from scaling_laws.models.numerics.convolution import annealed_drop
from scaling_laws.models.numerics.history import History
from scaling_laws.models.numerics.kernels import PowerKernel
from scaling_laws.models.parameters import Parameter, Support

__all__ = ["FUNCTIONAL"]


def design_matrix(values: Mapping[str, Any], history: History) -> Any:
    """Columns 1, S^-alpha, and minus the drops with and without S_k^-alpha: (points, 4)."""
    kernel = PowerKernel(
        scale=values["C"],
        exponent=values["beta"],
        level_exponent=jnp.zeros_like(values["beta"]),
        lr_floor=history.peak_lr,
        inclusive=False,
    )
    events = history.changes
    falls = jnp.maximum(jnp.asarray(events.weight), 0.0)
    early = power_of(events.clock, values["alpha"], history)
    plain = annealed_drop(history.with_change_weights(falls), kernel)
    fading = annealed_drop(history.with_change_weights(falls * early), kernel)
    columns = jnp.stack([-fading, -plain], axis=1)
    return jnp.concatenate([power_terms(values, history), columns], axis=1)


def rescale(values: Mapping[str, Any], factor: Any) -> dict[str, Any]:
    """The same losses when every LR is `factor` times as large."""
    return {
        **rescale_power(values, factor),
        "B": values["B"] * factor ** (values["alpha"] - 1.0),
        "D": values["D"] / factor,
        "C": values["C"] / factor,
    }


FUNCTIONAL = Law(
    name="functional",
    formula="L = L0 + A·S^-alpha - Σ_falls (lr[k-1] - lr[k])·(D + B·S_k^-alpha)"
    "·[1 - (1 + C·(S - S_k))^-beta]",
    citation="Li et al. 2025, arXiv 2509.19189, appendix B.2 (form from a third party's code)",
    linear_parameters=(
        FLOOR_LOSS,
        POWER_AMPLITUDE,
        Parameter(
            "B",
            Support.POSITIVE,
            "loss gained per unit of LR decay, fading as training goes on",
            "nats / LR · (summed LR)^alpha",
        ),
        Parameter(
            "D", Support.POSITIVE, "loss gained per unit of LR decay at any time", "nats / LR"
        ),
    ),
    nonlinear_parameters=(
        ALPHA,
        MEMORY_SPEED,
        MEMORY_EXPONENT,
    ),
    design_matrix=design_matrix,
    memory=("C", "beta"),
    rescale=rescale,
    conventions="S sums the LR of steps 0..t inclusive, warm-up included; rises of the LR are "
    "ignored; a fall takes effect from the step after it",
)
