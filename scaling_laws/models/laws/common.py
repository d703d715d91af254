"""Parameters and terms that several laws share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from scaling_laws.models.laws.law import Input
from scaling_laws.models.numerics.convolution import annealed_drop
from scaling_laws.models.numerics.history import CLOCK_FLOOR, History
from scaling_laws.models.numerics.kernels import ExponentialKernel
from scaling_laws.models.parameters import Parameter, Support

__all__ = [
    "ALPHA",
    "DECAY",
    "DROP_AMPLITUDE",
    "FLOOR_LOSS",
    "MEMORY_EXPONENT",
    "MEMORY_SPEED",
    "MODEL_PARAMS",
    "POWER_AMPLITUDE",
    "SIZE_AMPLITUDE",
    "SIZE_AND_DATA",
    "TOKENS",
    "annealing_area",
    "power_of",
    "power_terms",
    "rescale_drop",
    "rescale_power",
    "size_exponent",
]

Array = Any
Values = Mapping[str, Array]

FLOOR_LOSS = Parameter("L0", Support.POSITIVE, "loss that no schedule removes", "nats")
POWER_AMPLITUDE = Parameter(
    "A", Support.POSITIVE, "size of the power law", "nats · (summed LR)^alpha"
)
ALPHA = Parameter(
    "alpha", Support.POSITIVE, "exponent of the power law", "1", (0.15, 1.2), (0.01, 5.0)
)
DECAY = Parameter(
    "decay",
    Support.UNIT,
    "share of the memory that remains after a step (the paper's λ)",
    "1 per optimizer step",
    (0.98, 0.9999),
    (0.5, 1.0 - 1e-7),
)
MEMORY_SPEED = Parameter(
    "C",
    Support.POSITIVE,
    "speed at which a change takes effect",
    "1 / summed LR",
    (0.003, 3.0),
    (1e-7, 1e3),
)
MEMORY_EXPONENT = Parameter(
    "beta", Support.POSITIVE, "exponent of the memory", "1", (0.05, 2.0), (1e-3, 10.0)
)
DROP_AMPLITUDE = Parameter("B", Support.POSITIVE, "loss gained per unit of LR decay", "nats / LR")


SIZE_AMPLITUDE = Parameter(
    "B", Support.POSITIVE, "loss of a model of one parameter above L0", "nats"
)


def size_exponent(name: str) -> Parameter:
    """The exponent of a power law in the number of parameters."""
    return Parameter(
        name, Support.POSITIVE, "exponent in the model size", "1", (0.05, 0.8), (0.01, 3.0)
    )


def power_of(clock: Array, exponent: Array, history: History) -> Array:
    """clock^-exponent, with the clock kept off zero so that it and its gradient stay finite."""
    return jnp.maximum(clock, CLOCK_FLOOR * history.peak_lr) ** -exponent


def power_terms(values: Values, history: History) -> Array:
    """Columns 1 and S^-alpha, S the summed LR, the start of most schedule laws: (points, 2)."""
    falling = power_of(history.clock, values["alpha"], history).reshape(-1)
    return jnp.stack([jnp.ones_like(falling), falling], axis=1)


def annealing_area(values: Values, history: History) -> Array:
    """S2 of the LR annealing law (arXiv 2408.11029), in units of LR: (points,).

    S2(s) = Σ_{i<=s} m_i with m_i = decay·m_{i-1} + (lr[i-1] - lr[i]), in closed form
    Σ_{k<=s} (lr[k-1] - lr[k])·(1 - decay^(s-k+1)) / (1 - decay).
    """
    drop = annealed_drop(history, ExponentialKernel(rate=-jnp.log(values["decay"])))
    return drop / (1.0 - values["decay"])


def rescale_power(values: Values, factor: Any) -> dict[str, Array]:
    """A for LRs `factor` times as large."""
    return {**values, "A": values["A"] * factor ** values["alpha"]}


def rescale_drop(values: Values, factor: Any) -> dict[str, Array]:
    """A and B for LRs `factor` times as large."""
    return {**rescale_power(values, factor), "B": values["B"] / factor}


# what laws of sizes and data share
MODEL_PARAMS = Input("model_params", "model size, in parameters", low=1.0)
TOKENS = Input("tokens", "training data, in tokens", low=1.0)
SIZE_AND_DATA = (
    Parameter("E", Support.POSITIVE, "irreducible loss", "nats", (0.3, 5.0), (1e-6, 20.0)),
    Parameter(
        "A",
        Support.POSITIVE,
        "size of the loss that model size removes",
        "nats · parameters^alpha",
        (1.0, 1e6),
        (1e-6, 1e15),
    ),
    Parameter(
        "B",
        Support.POSITIVE,
        "size of the loss that data removes",
        "nats · tokens^beta",
        (1.0, 1e6),
        (1e-6, 1e15),
    ),
    Parameter("alpha", Support.POSITIVE, "exponent of model size", "1", (0.1, 1.0), (1e-2, 5.0)),
    Parameter("beta", Support.POSITIVE, "exponent of data", "1", (0.1, 1.0), (1e-2, 5.0)),
)
