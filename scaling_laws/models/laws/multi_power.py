"""The Multi-Power Law (Luo et al. 2025): a power-law memory in summed learning rate.

    L(t) = L0 + A·S(t)^-alpha - B Σ_{k<=t} (lr[k-1] - lr[k])·[1 - (1 + C·lr[k]^-gamma·S_k(t))^-beta]

with S_k(t) the LR summed over steps k..t, both included. Known limits: B, C, beta and gamma are
weakly identified by a few runs; scaling the whole schedule up always lowers the loss, so the law
cannot choose a peak LR; parameters do not carry over to another model size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from scaling_laws.models.laws.common import (
    ALPHA,
    DROP_AMPLITUDE,
    FLOOR_LOSS,
    MEMORY_EXPONENT,
    POWER_AMPLITUDE,
    power_terms,
    rescale_drop,
)
from scaling_laws.models.laws.law import Law
from scaling_laws.models.laws.prior import Prior
from scaling_laws.models.numerics.convolution import annealed_drop
from scaling_laws.models.numerics.history import History
from scaling_laws.models.numerics.kernels import PowerKernel
from scaling_laws.models.parameters import Parameter, Support

__all__ = ["LR_FLOOR", "MULTI_POWER"]

LR_FLOOR = 1e-6  # share of the peak below which lr[k]^-gamma stops growing: 0^-gamma is infinite


def design_matrix(values: Mapping[str, Any], history: History) -> Any:
    """Columns 1, S^-alpha, -drop: (points, 3)."""
    kernel = PowerKernel(
        scale=values["C"],
        exponent=values["beta"],
        level_exponent=values["gamma"],
        lr_floor=LR_FLOOR * history.peak_lr,
    )
    drop = annealed_drop(history, kernel)
    return jnp.concatenate([power_terms(values, history), -drop[:, None]], axis=1)


def rescale(values: Mapping[str, Any], factor: Any) -> dict[str, Any]:
    """The same losses when every LR is `factor` times as large."""
    return {
        **rescale_drop(values, factor),
        "C": values["C"] * factor ** (values["gamma"] - 1.0),
    }


MULTI_POWER = Law(
    name="multi_power",
    formula="L = L0 + A·S^-alpha - B·Σ_k (lr[k-1] - lr[k])·[1 - (1 + C·lr[k]^-gamma·S_k(t))^-beta]",
    citation="Luo et al. 2025, arXiv 2503.12811",
    linear_parameters=(FLOOR_LOSS, POWER_AMPLITUDE, DROP_AMPLITUDE),
    nonlinear_parameters=(
        ALPHA,
        Parameter(
            "C",
            Support.POSITIVE,
            "speed at which a change takes effect",
            "LR^gamma / summed LR",
            (0.003, 3.0),
            (1e-7, 1e3),
        ),
        MEMORY_EXPONENT,
        Parameter(
            "gamma",
            Support.POSITIVE,
            "how much sooner a change to a lower LR takes effect",
            "1",
            (0.05, 1.5),
            (1e-4, 5.0),
        ),
    ),
    design_matrix=design_matrix,
    memory=("C", "beta", "gamma"),
    prior=Prior(
        # printed by `python -m benchmarks.priors`: the mean over the published fits and our own
        # proxy data, and twice their spread
        mean={"alpha": -0.77, "C": -1.97, "beta": -0.66, "gamma": -0.58},
        sd={"alpha": 0.14, "C": 0.77, "beta": 0.52, "gamma": 0.56},
        source="published 25M, 100M, 400M and data/proxy_nano",
    ),
    rescale=rescale,
    published={
        # thu-yao-01-luo/MultiPowerLaw, all digits as printed there: fits to runs of three model
        # sizes, peak 3e-4, points every 128 steps
        "25M": {
            "L0": 3.04045406,
            "A": 0.52468604,
            "alpha": 0.50786857,
            "B": 363.78751622,
            "C": 2.06560812,
            "beta": 0.58279013,
            "gamma": 0.64142257,
        },
        "100M": {
            "L0": 2.6514477,
            "A": 0.60115152,
            "alpha": 0.45295811,
            "B": 437.9464276,
            "C": 2.13245612,
            "beta": 0.59785199,
            "gamma": 0.65523644,
        },
        "400M": {
            "L0": 2.37474466,
            "A": 0.65421216,
            "alpha": 0.42878731,
            "B": 523.42464371,
            "C": 2.02462735,
            "beta": 0.59350493,
            "gamma": 0.63472457,
        },
    },
    conventions="S sums the LR of steps 0..t inclusive, warm-up included; warm-up rises count as "
    f"negative changes; lr[k] below {LR_FLOOR:g} of the peak counts as that in lr[k]^-gamma",
)
