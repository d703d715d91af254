"""The D-CPT law (Que et al. 2024): continued training on a mixture of general and domain data.

    L(N, D, r) = E + A/N^alpha + B·r^eta/D^beta + C/(r + epsilon)^gamma

r is the share of the corpus whose validation loss L is: the domain's share for the domain loss,
the general corpus' share for the general loss, each with parameters of its own. The form is taken
from a third party's summary; no parameter values were found.

Known limits: B·r^eta rises with r, so at few tokens the law can rise with the share although the
corpus it is judged on grows; C, epsilon and gamma are identified by small shares only; no schedule
enters. At r = 0 the slope in r is infinite for eta < 1; here the derivative of that term is 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from scaling_laws.models.laws.common import MODEL_PARAMS, SIZE_AND_DATA
from scaling_laws.models.laws.law import Input, PointLaw
from scaling_laws.models.parameters import Parameter, Support

__all__ = ["DOMAIN_CONTINUAL"]


def value(values: Mapping[str, Any], inputs: Mapping[str, Any]) -> Any:
    """Loss in nats: (points,)."""
    share = inputs["domain_share"]
    nonzero = share > 0.0
    # both branches of a `where` are differentiated: log(0) must not appear in either
    log_share = jnp.log(jnp.where(nonzero, share, jnp.ones_like(share)))
    mixed = jnp.exp(values["eta"] * log_share - values["beta"] * jnp.log(inputs["tokens"]))
    by_size = jnp.exp(-values["alpha"] * jnp.log(inputs["model_params"]))
    by_data = jnp.where(nonzero, mixed, jnp.zeros_like(mixed))
    by_share = jnp.exp(-values["gamma"] * jnp.log(share + values["epsilon"]))
    return values["E"] + values["A"] * by_size + values["B"] * by_data + values["C"] * by_share


DOMAIN_CONTINUAL = PointLaw(
    name="domain_continual",
    formula="L = E + A/N^alpha + B·r^eta/D^beta + C/(r + epsilon)^gamma",
    citation="Que et al. 2024, arXiv 2406.01375 (form from a secondary source)",
    conventions="loss in nats per token on one validation corpus; r is domain_share, that corpus' "
    "share of the training tokens, a fraction; N is model_params, D is tokens of the continued "
    "training only; natural logarithms",
    inputs=(
        MODEL_PARAMS,
        Input("tokens", "tokens of the continued training, both corpora", low=1.0),
        Input("domain_share", "share of them from the validated corpus", 0.0, 1.0),
    ),
    parameters=(
        *SIZE_AND_DATA,
        Parameter(
            "C",
            Support.POSITIVE,
            "size of the loss that the share removes",
            "nats",
            (1e-3, 10.0),
            (1e-9, 1e4),
        ),
        Parameter(
            "gamma", Support.POSITIVE, "exponent of the share", "1", (0.05, 2.0), (1e-3, 10.0)
        ),
        Parameter(
            "eta",
            Support.POSITIVE,
            "exponent of the share in what data removes",
            "1",
            (0.05, 2.0),
            (1e-3, 10.0),
        ),
        Parameter(
            "epsilon",
            Support.POSITIVE,
            "share that the base model counts for",
            "1",
            (1e-3, 1.0),
            (1e-9, 10.0),
        ),
    ),
    value=value,
)
