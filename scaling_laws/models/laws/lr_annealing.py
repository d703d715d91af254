"""The LR annealing law (Tissue, Wang and Wang 2024): exponential memory counted in steps.

    L(s) = L0 + A·S1^-alpha - C·S2,   S2 = Σ_{i<=s} m_i,   m_i = decay·m_{i-1} + (lr[i-1] - lr[i])

Known limits: `decay` (the paper's λ) is a factor per optimizer step, so it changes with the batch
size; appended zero-LR steps still lower the loss; scaling the whole schedule up always helps, so
the law cannot choose a peak LR.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from scaling_laws.models.laws.common import (
    ALPHA,
    DECAY,
    FLOOR_LOSS,
    POWER_AMPLITUDE,
    annealing_area,
    power_terms,
    rescale_power,
)
from scaling_laws.models.laws.law import Law
from scaling_laws.models.numerics.history import History
from scaling_laws.models.parameters import Parameter, Support

__all__ = ["LR_ANNEALING"]


def design_matrix(values: Mapping[str, Any], history: History) -> Any:
    """Columns 1, S1^-alpha, -S2: (points, 3)."""
    area = annealing_area(values, history)
    return jnp.concatenate([power_terms(values, history), -area[:, None]], axis=1)


def rescale(values: Mapping[str, Any], factor: Any) -> dict[str, Any]:
    """The same losses when every LR is `factor` times as large."""
    return {**rescale_power(values, factor), "C": values["C"] / factor}


LR_ANNEALING = Law(
    name="lr_annealing",
    formula="L = L0 + A·S1^-alpha - C·S2, S2 = Σ_i Σ_{k<=i} (lr[k-1] - lr[k])·decay^(i-k)",
    citation="Tissue, Wang & Wang 2024, arXiv 2408.11029",
    linear_parameters=(
        FLOOR_LOSS,
        POWER_AMPLITUDE,
        Parameter("C", Support.POSITIVE, "loss gained per unit of annealing area", "nats / LR"),
    ),
    nonlinear_parameters=(ALPHA, DECAY),
    design_matrix=design_matrix,
    memory=("decay",),
    rescale=rescale,
    conventions="S1 sums the LR of steps 0..t inclusive, warm-up included; S2 counts warm-up rises "
    "as negative changes; decay is per optimizer step, so r times as many steps need decay^(1/r)",
)
