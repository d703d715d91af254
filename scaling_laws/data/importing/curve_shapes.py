"""Shapes of decay that are fitted to sampled learning rates, each linear on some scale.

With x the elapsed fraction of the decay, every shape is ``to_line(lr) = to_line(peak)·g(x) +
to_line(end)·(1 - g(x))``, so peak and end follow from least squares once the decay's first and last
step are known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["SHAPES", "Decay"]

Array = NDArray[np.float64]
SMALLEST = 1e-150  # rate whose every power used here is finite


@dataclass(frozen=True)
class Decay:
    """A shape of decay.

    Attributes:
        name: of the family, or of the cooldown of `wsd`.
        share: (x in [0, 1], power) -> g(x), from 1 down to 0.
        line: exponent of the scale on which it is linear in g: 1 the rate itself, 0 its logarithm,
            else that power of it.
        whole: family of a decay that begins at the end of the warm-up; None if none is registered.
        cooldown: value of `decay=` in `wsd` for a decay that begins later; None if not available.
        powered: whether it has a free exponent.
    """

    name: str
    share: Callable[[Array, float], Array]
    line: float = 1.0
    whole: str | None = None
    cooldown: str | None = None
    powered: bool = False

    @property
    def scaleless(self) -> bool:
        """Whether the shape is the same whatever its first step."""
        return self.line != 1.0 or self.name in ("linear", "power")

    def to_line(self, lr: Array) -> Array:
        """Rates to the scale on which the shape is straight; 0 where it has no finite value."""
        if self.line == 1.0:
            return lr
        safe = np.maximum(np.where(lr > 0, lr, 1.0), SMALLEST)
        return np.asarray(np.log(safe) if self.line == 0 else safe**self.line)

    def slope(self, lr: Array) -> Array:
        """Derivative of `to_line`, for the tolerance on that scale."""
        if self.line == 1.0:
            return np.ones_like(lr)
        safe = np.where(lr > 0, lr, 1.0)
        return np.asarray(np.abs(safe ** (self.line - 1) * (self.line or 1.0)))

    def rates(self, x: Array, peak: float, end: float, power: float) -> Array:
        """Learning rates at elapsed fractions of the decay."""
        share = self.share(np.clip(x, 0.0, 1.0), power)
        if self.line == 1.0:
            return np.asarray(end + (peak - end) * share)
        if self.line == 0:
            return np.asarray(peak * (end / peak) ** (1.0 - share))
        return np.asarray(
            (peak**self.line * share + end**self.line * (1.0 - share)) ** (1.0 / self.line)
        )


SHAPES: tuple[Decay, ...] = (
    Decay("linear", lambda x, power: 1.0 - x, whole="linear", cooldown="linear"),
    Decay(
        "cosine",
        lambda x, power: 0.5 * (1.0 + np.cos(np.pi * x)),
        whole="cosine",
        cooldown="cosine",
    ),
    Decay("1-sqrt", lambda x, power: 1.0 - np.sqrt(x), cooldown="1-sqrt"),
    Decay(
        "exponential", lambda x, power: 1.0 - x, 0.0, whole="exponential", cooldown="exponential"
    ),
    Decay("inverse_linear", lambda x, power: 1.0 - x, -1.0, whole="inverse_linear"),
    Decay("inverse_sqrt", lambda x, power: 1.0 - x, -2.0, whole="inverse_sqrt"),
    Decay("rex", lambda x, power: (1.0 - x) / (0.5 + 0.5 * (1.0 - x)), whole="rex"),
    Decay(
        "power",
        lambda x, power: (1.0 - x) ** power,
        whole="power",
        cooldown="power",
        powered=True,
    ),
)
