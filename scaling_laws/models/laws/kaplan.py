"""The joint law of model size and data of Kaplan et al. 2020.

    L(N, D) = [(N_c/N)^(alpha_N/alpha_D) + D_c/D]^alpha_D

It has the two one-variable laws as limits: (N_c/N)^alpha_N for D -> ∞ and (D_c/D)^alpha_D for
N -> ∞. Known limits: no irreducible loss, so it falls to zero; N counts no embeddings, which
misleads at small sizes; the points came from schedules that did not end with the data, and later
work (Hoffmann et al. 2022, Porian et al. 2024) finds another optimal split of compute. N_c and D_c
scale with the vocabulary and tokenizer and mean nothing by themselves.

The published values are the joint fit to WebText2 (test loss, stopped early). They are quoted
from several secondary sources that agree; the paper's own table was not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from scaling_laws.models.laws.common import TOKENS
from scaling_laws.models.laws.law import Input, PointLaw
from scaling_laws.models.parameters import Parameter, Support

__all__ = ["KAPLAN"]


def value(values: Mapping[str, Any], inputs: Mapping[str, Any]) -> Any:
    """Loss in nats: (points,). In logs, because alpha_N/alpha_D as a power soon overflows."""
    by_size = (values["alpha_N"] / values["alpha_D"]) * (
        jnp.log(values["N_c"]) - jnp.log(inputs["model_params"])
    )
    by_data = jnp.log(values["D_c"]) - jnp.log(inputs["tokens"])
    return jnp.exp(values["alpha_D"] * jnp.logaddexp(by_size, by_data))


KAPLAN = PointLaw(
    name="kaplan",
    formula="L = [(N_c/N)^(alpha_N/alpha_D) + D_c/D]^alpha_D",
    citation="Kaplan et al. 2020, arXiv 2001.08361, equation 1.5",
    conventions="loss in nats per token; N is model_params without embeddings, D is tokens of "
    "unique data; natural logarithms",
    inputs=(
        Input("model_params", "model size without embeddings, in parameters", low=1.0),
        TOKENS,
    ),
    parameters=(
        Parameter(
            "N_c",
            Support.POSITIVE,
            "model size that alone would give a loss of 1 nat",
            "parameters",
            (1e10, 1e18),
            (1e4, 1e28),
        ),
        Parameter(
            "D_c",
            Support.POSITIVE,
            "data that alone would give a loss of 1 nat",
            "tokens",
            (1e10, 1e18),
            (1e4, 1e28),
        ),
        Parameter(
            "alpha_N", Support.POSITIVE, "exponent of model size", "1", (0.02, 0.5), (1e-3, 5.0)
        ),
        Parameter("alpha_D", Support.POSITIVE, "exponent of data", "1", (0.02, 0.5), (1e-3, 5.0)),
    ),
    value=value,
    published={"kaplan": {"N_c": 6.4e13, "D_c": 1.8e13, "alpha_N": 0.076, "alpha_D": 0.103}},
)
