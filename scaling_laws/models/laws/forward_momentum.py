"""The forward-momentum law (Wang et al., AAAI 2026): an Adam-like momentum of the LR's decay.

    L = L0 + A·S^-alpha + B·N^-alpha_N - C·M,   M_i = M_{i-1} + m_i / (√(1e5·v_i + 1e-8) + 1e-8),

with m and v the bias-corrected first and second moments (0.9, 0.999) of the changes of the LR, as
in the authors' code (siqi-wang25/fm-annealing), which multiplies a change by the number of steps
since the last logged point: here every step is a point. The two constants make M depend on the
unit of the LR, so parameters cannot be carried to rescaled rates, nor to M computed at logged
points. Their README writes + λ_M·M, their code - C·M. Runs of one size cannot separate L0 from
B·N^-alpha_N.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from scaling_laws.models.laws.common import (
    ALPHA,
    FLOOR_LOSS,
    POWER_AMPLITUDE,
    SIZE_AMPLITUDE,
    power_terms,
    size_exponent,
)
from scaling_laws.models.laws.law import Law
from scaling_laws.models.numerics.history import History
from scaling_laws.models.parameters import Parameter, Support

__all__ = ["FORWARD_MOMENTUM"]

FIRST, SECOND = 0.9, 0.999
SCALE, EPSILON = 1e5, 1e-8


def momentum(lr: Any, facts: Mapping[str, Any]) -> Any:
    """M after every step: (steps,) -> (steps,)."""
    rates = jnp.asarray(lr)
    change = jnp.concatenate([jnp.zeros_like(rates[:1]), rates[:-1] - rates[1:]])
    index = jnp.arange(rates.shape[0], dtype=rates.dtype) + 1.0

    def moments(carry: tuple[Any, Any], now: Any) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
        first_moment, second = carry
        after = (
            FIRST * first_moment + (1.0 - FIRST) * now,
            SECOND * second + (1.0 - SECOND) * now**2,
        )
        return after, after

    start = (jnp.zeros_like(rates[0]), jnp.zeros_like(rates[0]))
    _, (first_moment, second) = jax.lax.scan(moments, start, change)
    mean = first_moment / -jnp.expm1(index * jnp.log(FIRST))
    square = second / -jnp.expm1(index * jnp.log(SECOND))
    return jnp.cumsum(mean / (jnp.sqrt(SCALE * square + EPSILON) + EPSILON))


def design_matrix(values: Mapping[str, Any], history: History) -> Any:
    """Columns 1, S^-alpha, N^-alpha_N, -M: (points, 4)."""
    size = jnp.asarray(history.facts["model_params"])
    gained = jnp.asarray(history.traces["momentum"]).reshape(-1)
    floor = jnp.ones_like(gained) * size ** -values["alpha_N"]
    columns = jnp.stack([floor, -gained], axis=1)
    return jnp.concatenate([power_terms(values, history), columns], axis=1)


FORWARD_MOMENTUM = Law(
    name="forward_momentum",
    formula="L = L0 + A·S^-alpha + B·N^-alpha_N - C·M, M = Σ m / (√(1e5·v + 1e-8) + 1e-8) of the "
    "falls of the LR",
    citation="Wang et al. 2025, arXiv 2512.13705",
    linear_parameters=(
        FLOOR_LOSS,
        POWER_AMPLITUDE,
        SIZE_AMPLITUDE,
        Parameter("C", Support.POSITIVE, "loss gained per unit of momentum", "nats"),
    ),
    nonlinear_parameters=(ALPHA, size_exponent("alpha_N")),
    design_matrix=design_matrix,
    rescale=None,
    required_facts=frozenset({"model_params"}),
    derived_traces={"momentum": momentum},
    conventions="S sums the LR of steps 0..t inclusive, warm-up included; M is computed at every "
    "step from changes per step, warm-up included; N in parameters",
)
