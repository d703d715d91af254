"""The law of model size and data of Hoffmann et al. 2022, known as Chinchilla.

    L(N, D) = E + A/N^alpha + B/D^beta

Known limits: each D needs a run of its own whose schedule ends there (points along one run do not
count); every token is new; A and alpha, and B and beta, trade off against each other, so
parameters of two fits compare badly where their losses agree.

Published values: ``hoffmann`` are the unrounded numbers of the paper's third approach as given in
the code of Besiroglu et al. 2024, ``hoffmann_rounded`` those printed in the paper. Besiroglu et al.
found that fit stopped early and repeated it on 245 points read off a figure: ``besiroglu`` is the
optimum of the same objective, ``besiroglu_likelihood`` their fit of the scale along with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from scaling_laws.common import LawError
from scaling_laws.models.laws.common import MODEL_PARAMS, SIZE_AND_DATA, TOKENS
from scaling_laws.models.laws.law import PointLaw

__all__ = ["CHINCHILLA", "FLOPS_PER_PARAM_TOKEN", "compute_optimal"]

FLOPS_PER_PARAM_TOKEN = 6.0  # forward and backward pass of a dense transformer


def value(values: Mapping[str, Any], inputs: Mapping[str, Any]) -> Any:
    """Loss in nats: (points,)."""
    by_size = jnp.exp(-values["alpha"] * jnp.log(inputs["model_params"]))
    by_data = jnp.exp(-values["beta"] * jnp.log(inputs["tokens"]))
    return values["E"] + values["A"] * by_size + values["B"] * by_data


def compute_optimal(values: Mapping[str, float], flops: float) -> tuple[float, float]:
    """The model size and data of lowest loss for a training compute of C = 6·N·D.

    On the line N·D = C/6 the two gains balance where alpha·A/N^alpha = beta·B/D^beta, hence

        N = G·(C/6)^(beta/(alpha+beta)),  D = (C/6)/N,  G = (alpha·A/(beta·B))^(1/(alpha+beta))

    Args:
        values: A, B, alpha and beta of the law; others are ignored.
        flops: training compute C, in floating-point operations.

    Returns:
        model_params and tokens.

    Raises:
        LawError: if flops or one of the four parameters is missing, not finite or not > 0: without
            either gain there is no optimum.

    Source: Hoffmann et al. 2022, arXiv 2203.15556, equation 4.
    """
    numbers = {"flops": flops, **{key: values.get(key) for key in ("A", "B", "alpha", "beta")}}
    for name, number in numbers.items():
        if number is None or not 0.0 < number < math.inf:
            raise LawError(f"the compute optimum needs {name} > 0, not {number!r}")
    alpha, beta = values["alpha"], values["beta"]
    balance = math.log(alpha * values["A"]) - math.log(beta * values["B"])
    budget = math.log(flops / FLOPS_PER_PARAM_TOKEN)
    log_size = (balance + beta * budget) / (alpha + beta)
    return math.exp(log_size), math.exp(budget - log_size)


def _from_logs(a: float, b: float, e: float, alpha: float, beta: float) -> dict[str, float]:
    return {
        "E": math.exp(e),
        "A": math.exp(a),
        "B": math.exp(b),
        "alpha": alpha,
        "beta": beta,
    }


CHINCHILLA = PointLaw(
    name="chinchilla",
    formula="L = E + A/N^alpha + B/D^beta",
    citation="Hoffmann et al. 2022, arXiv 2203.15556, approach 3; "
    "Besiroglu et al. 2024, arXiv 2404.10102",
    conventions="loss in nats per token; N is model_params with embeddings, D is tokens seen, "
    "all of them new; natural logarithms; compute is 6·N·D",
    inputs=(
        MODEL_PARAMS,
        TOKENS,
    ),
    parameters=SIZE_AND_DATA,
    value=value,
    published={
        "hoffmann": _from_logs(6.0073404, 6.0179186, 0.5267228, 0.33917084, 0.2849083),
        "hoffmann_rounded": {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28},
        "besiroglu": _from_logs(6.16902, 7.66985, 0.597285, 0.347297, 0.367157),
        "besiroglu_likelihood": _from_logs(6.17796, 7.64273, 0.59711, 0.34781, 0.36585),
    },
)
