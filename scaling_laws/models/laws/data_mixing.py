"""The law of the data mixture of Ye et al. 2024: exponential in the shares of the domains.

    L(r) = c + k·exp(Σ_j t_j·r_j)

for the loss on one validation domain, at one model size and one number of tokens; a negative t_j
says that training domain j helps. The form is from memory and secondary sources that agree with
each other; the paper was not read. No parameters are published here: they belong to one set of
domains.

Known limits: where the shares of every row sum to 1, raising all t_j by d and dividing k by exp(d)
changes nothing, so only differences of the t_j (and k·exp(t_j), the loss above c on domain j alone)
are determined; the law depends on neither model size nor tokens nor the schedule.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from scaling_laws.models.laws.law import Input, PointLaw
from scaling_laws.models.parameters import Parameter, Support

__all__ = ["DATA_MIXING"]

SHARE, EFFECT = "share_", "t_"


def value(values: Mapping[str, Any], inputs: Mapping[str, Any]) -> Any:
    """Loss in nats: (points,)."""
    effects = [
        values[EFFECT + name.removeprefix(SHARE)] * share
        for name, share in inputs.items()
        if name.startswith(SHARE)
    ]
    return values["c"] + values["k"] * jnp.exp(sum(effects[1:], start=effects[0]))


DATA_MIXING = PointLaw(
    name="data_mixing",
    formula="L = c + k·exp(Σ_j t_j·r_j)",
    citation="Ye et al. 2024, arXiv 2403.16952 (form from secondary sources)",
    conventions="loss in nats per token on one validation domain; r_j is share_j, the share of "
    "training tokens from domain j, a fraction, not a percentage; one model size, one number of "
    "tokens",
    inputs=(Input(f"{SHARE}*", "share of the training tokens that a domain has", 0.0, 1.0),),
    parameters=(
        Parameter(
            "c", Support.POSITIVE, "loss that no mixture removes", "nats", (0.3, 5.0), (1e-6, 20.0)
        ),
        Parameter(
            "k",
            Support.POSITIVE,
            "size of the loss that the mixture changes",
            "nats",
            (0.01, 10.0),
            (1e-8, 1e6),
        ),
        Parameter(
            f"{EFFECT}*",
            Support.REAL,
            "effect of a training domain; negative if it helps",
            "1 per share",
            (-3.0, 3.0),
            (-50.0, 50.0),
        ),
    ),
    value=value,
    huber_delta=0.01,
)
