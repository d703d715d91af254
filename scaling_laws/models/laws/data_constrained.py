"""Loss when data repeats (Muennighoff et al. 2023): repeated tokens and excess parameters fade.

    L = E + A/N'^alpha + B/D'^beta
    D' = U_D·[1 + R_D_star·(1 - exp(-R_D/R_D_star))],  U_D = min(D, unique),  R_D = D/U_D - 1
    N' = U_N·[1 + R_N_star·(1 - exp(-R_N/R_N_star))],  U_N = min(N, N*(U_D)),  R_N = N/U_N - 1

N*(U_D) is the model size for which U_D tokens are compute-optimal under the same A, B, alpha and
beta. Along a line of constant N·D the two gains balance where alpha·A/N^alpha = beta·B/D^beta, so

    N*(D) = [alpha·A/(beta·B)·D^beta]^(1/alpha)

Without repetition and with N <= N*(D) the law is E + A/N^alpha + B/D^beta; more repetition than
that never gains more than 1 + R_D_star times the unique tokens. Known limits: the loss never rises
with repetition, so it does not describe over-fitting after dozens of epochs; a model larger than
N*(U_D) counts for less even when no token repeats.

Published values: the fit to C4 of the authors' public repository (huggingface/datablations), with
alpha and beta tied. The authors warn that differences and trends carry over to other data, the
level of the loss does not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from scaling_laws.models.laws.common import MODEL_PARAMS, SIZE_AND_DATA
from scaling_laws.models.laws.law import Input, PointLaw
from scaling_laws.models.parameters import Parameter, Support

__all__ = ["DATA_CONSTRAINED"]

MAX_LOG_EXCESS = 60.0  # beyond e^60 times the useful size nothing changes, and exp would overflow


def log_effective(log_total: Any, log_unique: Any, limit: Any) -> Any:
    """Log of the effective amount of a total of which only a part is new: (points,).

    Args:
        log_total: log of the amount used, at least log_unique.
        log_unique: log of the part that is new (tokens) or useful (parameters).
        limit: R_star: how many times the new part repetition can at most add.
    """
    repeats = jnp.expm1(jnp.minimum(log_total - log_unique, MAX_LOG_EXCESS))
    return log_unique + jnp.log1p(-limit * jnp.expm1(-repeats / limit))


def value(values: Mapping[str, Any], inputs: Mapping[str, Any]) -> Any:
    """Loss in nats: (points,)."""
    size, tokens = jnp.log(inputs["model_params"]), jnp.log(inputs["tokens"])
    unique = jnp.minimum(tokens, jnp.log(inputs["unique_tokens"]))
    alpha, beta = values["alpha"], values["beta"]
    balance = jnp.log(alpha * values["A"]) - jnp.log(beta * values["B"])
    useful = jnp.minimum(size, (balance + beta * unique) / alpha)
    by_size = jnp.exp(-alpha * log_effective(size, useful, values["R_N_star"]))
    by_data = jnp.exp(-beta * log_effective(tokens, unique, values["R_D_star"]))
    return values["E"] + values["A"] * by_size + values["B"] * by_data


DATA_CONSTRAINED = PointLaw(
    name="data_constrained",
    formula="L = E + A/N'^alpha + B/D'^beta, X' = U·[1 + R_star·(1 - exp(-(X/U - 1)/R_star))]",
    citation="Muennighoff et al. 2023, arXiv 2305.16264; code huggingface/datablations",
    conventions="loss in nats per token; N is model_params, D is tokens seen, repeats included; "
    "unique_tokens above tokens count as tokens; U_N is the model size for which the unique "
    "tokens are compute-optimal at 6·N·D, at most N; natural logarithms; A and B > 0",
    inputs=(
        MODEL_PARAMS,
        Input("tokens", "tokens seen in training, repeats included", low=1.0),
        Input("unique_tokens", "different tokens at hand", low=1.0),
    ),
    parameters=(
        *SIZE_AND_DATA,
        Parameter(
            "R_D_star",
            Support.POSITIVE,
            "repetitions after which a token has lost most of its value",
            "repetitions",
            (1.0, 100.0),
            (1e-2, 1e4),
        ),
        Parameter(
            "R_N_star",
            Support.POSITIVE,
            "the same for parameters beyond the useful size",
            "useful sizes",
            (1.0, 100.0),
            (1e-2, 1e4),
        ),
    ),
    value=value,
    published={
        "c4": {
            "E": math.exp(0.6254804),
            "A": math.exp(6.255414),
            "B": math.exp(7.3049974),
            "alpha": 0.3526596,
            "beta": 0.3526596,
            "R_D_star": 15.387756,
            "R_N_star": 5.309743,
        }
    },
)
