"""The LR annealing law with a term for the model size (Tissue, Wang and Wang 2024).

    L(s, N) = L0 + A·S1^-alpha + B·N^-beta - C·N^-gamma·S2

The form is quoted from memory and not checked against the paper's text; whether the gain of
annealing grows or falls with size is left to the fit (gamma may have either sign). Known limits:
those of `lr_annealing`; runs of one size cannot separate L0 from B·N^-beta, nor C from N^-gamma.
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
    SIZE_AMPLITUDE,
    annealing_area,
    power_terms,
    rescale_power,
    size_exponent,
)
from scaling_laws.models.laws.law import Law
from scaling_laws.models.numerics.history import History
from scaling_laws.models.parameters import Parameter, Support

__all__ = ["LR_ANNEALING_SIZE"]


def design_matrix(values: Mapping[str, Any], history: History) -> Any:
    """Columns 1, S1^-alpha, N^-beta, -N^-gamma·S2: (points, 4)."""
    size = jnp.asarray(history.facts["model_params"])
    area = annealing_area(values, history) * size ** -values["gamma"]
    floor = jnp.full_like(area, 1.0) * size ** -values["beta"]
    columns = jnp.stack([floor, -area], axis=1)
    return jnp.concatenate([power_terms(values, history), columns], axis=1)


def rescale(values: Mapping[str, Any], factor: Any) -> dict[str, Any]:
    """The same losses when every LR is `factor` times as large."""
    return {**rescale_power(values, factor), "C": values["C"] / factor}


LR_ANNEALING_SIZE = Law(
    name="lr_annealing_size",
    formula="L = L0 + A·S1^-alpha + B·N^-beta - C·N^-gamma·S2, S2 as in lr_annealing",
    citation="Tissue, Wang & Wang 2024, arXiv 2408.11029 (form quoted from memory)",
    linear_parameters=(
        FLOOR_LOSS,
        POWER_AMPLITUDE,
        SIZE_AMPLITUDE,
        Parameter(
            "C",
            Support.POSITIVE,
            "loss gained per unit of annealing area by a model of one parameter",
            "nats / LR",
        ),
    ),
    nonlinear_parameters=(
        ALPHA,
        size_exponent("beta"),
        Parameter(
            "gamma",
            Support.REAL,
            "exponent of the gain of annealing in the model size",
            "1",
            (-0.3, 0.3),
            (-2.0, 2.0),
        ),
        DECAY,
    ),
    design_matrix=design_matrix,
    memory=("decay",),
    rescale=rescale,
    required_facts=frozenset({"model_params"}),
    conventions="S1 sums the LR of steps 0..t inclusive, warm-up included; S2 counts warm-up rises "
    "as negative changes; decay is per optimizer step; N in parameters",
)
