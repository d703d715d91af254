"""The best peak LR as a power law of model size and data, and transfer between two of them.

    LR*(N, D) = C·N^-alpha·D^-beta

Bjorck et al. 2024 (arXiv 2409.19913) propose the form and find alpha about 0.23 and beta about
0.32, jointly over models from 760M to 2.7B parameters; fits to smaller models are quoted with
larger beta, up to 0.7 (secondary sources). No C could be confirmed, so only the two scaling
functions use these exponents. Step Law (Li et al. 2025, arXiv 2503.04715) has LR* *rise* with D:
the two disagree in the sign of beta. Known limits: that disagreement is unsettled, so fit beta on
the sizes, batch sizes and schedule you use; the law depends on neither batch size nor weight
decay nor parametrization.

The published Step Law values are the point estimate for dense models under AdamW and a cosine to a
fixed end LR of 1e-5, quoted from memory and a secondary source that agrees.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from scaling_laws.common import LawError
from scaling_laws.models.laws.common import TOKENS
from scaling_laws.models.laws.law import Input, PointLaw
from scaling_laws.models.parameters import Parameter, Support

__all__ = [
    "BJORCK_SIZE_EXPONENT",
    "BJORCK_TOKENS_EXPONENT",
    "PEAK_LR",
    "scale_peak_lr",
    "scale_peak_lr_to_size",
]

BJORCK_SIZE_EXPONENT = 0.23
BJORCK_TOKENS_EXPONENT = 0.32


def value(values: Mapping[str, Any], inputs: Mapping[str, Any]) -> Any:
    """Best peak LR: (points,)."""
    by_size = -values["alpha"] * jnp.log(inputs["model_params"])
    return values["C"] * jnp.exp(by_size - values["beta"] * jnp.log(inputs["tokens"]))


def scale_peak_lr(
    peak_lr: float, tokens: float, new_tokens: float, exponent: float = BJORCK_TOKENS_EXPONENT
) -> float:
    """The best peak LR of a longer or shorter run of the same model.

    LR*(new_tokens) = LR*(tokens)·(new_tokens/tokens)^-exponent

    Args:
        peak_lr: best peak LR at `tokens`.
        tokens: tokens for which it is optimal.
        new_tokens: tokens to carry it to.
        exponent: 0.32 fits models of 760M parameters and more; batch size is kept.

    Raises:
        LawError: if peak_lr, tokens or new_tokens is not finite and > 0, or exponent not finite.

    Source: Bjorck et al. 2024, arXiv 2409.19913.
    """
    return _scaled(peak_lr, ("tokens", tokens), ("new_tokens", new_tokens), exponent)


def scale_peak_lr_to_size(
    peak_lr: float,
    model_params: float,
    new_model_params: float,
    exponent: float = BJORCK_SIZE_EXPONENT,
) -> float:
    """The best peak LR of a larger or smaller model on the same tokens.

    LR*(new_model_params) = LR*(model_params)·(new_model_params/model_params)^-exponent

    Args:
        peak_lr: best peak LR at `model_params`.
        model_params: model size for which it is optimal.
        new_model_params: model size to carry it to.
        exponent: 0.23 is that of the joint fit, as a secondary source quotes it.

    Raises:
        LawError: if peak_lr or a size is not finite and > 0, or exponent not finite.

    Source: Bjorck et al. 2024, arXiv 2409.19913.
    """
    old, new = ("model_params", model_params), ("new_model_params", new_model_params)
    return _scaled(peak_lr, old, new, exponent)


def _scaled(
    peak_lr: float, old: tuple[str, float], new: tuple[str, float], exponent: float
) -> float:
    for name, number in (("peak_lr", peak_lr), old, new):
        if not 0.0 < number < math.inf:
            raise LawError(f"{name} must be finite and > 0, not {number!r}")
    if not math.isfinite(exponent):
        raise LawError(f"exponent must be finite, not {exponent!r}")
    return peak_lr * math.pow(new[1] / old[1], -exponent)


PEAK_LR = PointLaw(
    name="peak_lr",
    formula="LR* = C·N^-alpha·D^-beta",
    citation="Bjorck et al. 2024, arXiv 2409.19913; Step Law: Li et al. 2025, arXiv 2503.04715",
    conventions="LR* is the peak LR of lowest final loss; N is model_params without embeddings, "
    "D is tokens; positive exponents lower the LR",
    inputs=(
        Input("model_params", "model size without embeddings, in parameters", low=1.0),
        TOKENS,
    ),
    parameters=(
        Parameter(
            "C",
            Support.POSITIVE,
            "LR of one parameter and one token",
            "LR · parameters^alpha · tokens^beta",
            (1e-4, 1e4),
            (1e-20, 1e20),
        ),
        Parameter("alpha", Support.REAL, "exponent of model size", "1", (-0.5, 1.5), (-3.0, 3.0)),
        Parameter("beta", Support.REAL, "exponent of data", "1", (-1.0, 1.0), (-3.0, 3.0)),
    ),
    value=value,
    output="peak_lr",
    unit="LR",
    published={"step_law": {"C": 1.79, "alpha": 0.713, "beta": -0.307}},
)
