"""What a law is: named parameters and a pure function from a history to the terms of its loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp

from scaling_laws.numerics.history import CLOCK_FLOOR, History
from scaling_laws.params import Parameter, Support

__all__ = [
    "ALPHA",
    "DROP_AMPLITUDE",
    "FLOOR_LOSS",
    "POWER_AMPLITUDE",
    "Law",
    "power_terms",
    "rescale_drop",
    "rescale_power",
]

Array = Any
Values = Mapping[str, Array]


@dataclass(frozen=True)
class Law:
    """A loss law that is linear in its amplitudes.

        loss(point) = Σ_j amplitude_j · term_j(shape parameters, history)

    A fit solves the amplitudes exactly for every trial of the shape parameters (variable
    projection), so a law names them apart.

    Attributes:
        name: registry key and file name.
        formula: the equation, in one line.
        citation: paper and equation.
        amplitudes: parameters that enter linearly, all >= 0, in the order of the terms.
        shape: the other parameters.
        terms: (shape values, history) -> (points, amplitudes); pure JAX.
        rescale: (all values, c) -> values that give the same losses when every LR is c times
            as large.
        conventions: what a reader of a law file must know to use the numbers elsewhere.
        needs: facts of a run it cannot do without, such as model_params.
    """

    name: str
    formula: str
    citation: str
    amplitudes: tuple[Parameter, ...]
    shape: tuple[Parameter, ...]
    terms: Callable[[Values, History], Array]
    rescale: Callable[[Values, Any], dict[str, Array]]
    conventions: str
    needs: frozenset[str] = field(default_factory=frozenset)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Amplitudes, then shape parameters: the order used everywhere."""
        return (*self.amplitudes, *self.shape)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all parameters."""
        return tuple(parameter.name for parameter in self.parameters)

    def loss(self, values: Values, history: History) -> Array:
        """Loss in nats at every point of a history.

        Args:
            values: all parameters by name.
            history: N blocks of Q points.

        Returns:
            Losses of shape (N·Q,).
        """
        amplitudes = jnp.stack(
            [jnp.asarray(values[parameter.name]) for parameter in self.amplitudes]
        )
        return self.terms(values, history) @ amplitudes


FLOOR_LOSS = Parameter("L0", Support.POSITIVE, "loss that no schedule removes", "nats")
POWER_AMPLITUDE = Parameter(
    "A", Support.POSITIVE, "size of the power law", "nats · (summed LR)^alpha"
)
ALPHA = Parameter(
    "alpha", Support.POSITIVE, "exponent of the power law", "1", (0.15, 1.2), (0.01, 5.0)
)
DROP_AMPLITUDE = Parameter("B", Support.POSITIVE, "loss gained per unit of LR decay", "nats / LR")


def power_terms(values: Values, history: History) -> Array:
    """Columns 1 and S^-alpha, the start of every schedule-aware law: (points, 2).

    S, the summed LR, is kept off zero so that the power and its gradient stay finite.
    """
    clock = jnp.maximum(history.clock, CLOCK_FLOOR * history.peak_lr).reshape(-1)
    falling = clock ** -values["alpha"]
    return jnp.stack([jnp.ones_like(falling), falling], axis=1)


def rescale_power(values: Values, factor: Any) -> dict[str, Array]:
    """A for LRs `factor` times as large."""
    return {**values, "A": values["A"] * factor ** values["alpha"]}


def rescale_drop(values: Values, factor: Any) -> dict[str, Array]:
    """A and B for LRs `factor` times as large."""
    return {**rescale_power(values, factor), "B": values["B"] / factor}
