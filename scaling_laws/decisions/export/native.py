"""Native schedules of trainers: families, and the member nearest to a schedule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Basis", "NativeFamily", "NativeFit"]

Array = NDArray[np.float64]
Basis = Callable[[Array, int, Mapping[str, int]], tuple[Array, Array] | None]


@dataclass(frozen=True)
class NativeFamily:
    """A named schedule of a trainer, as a formula with few parameters.

    Attributes:
        name: the trainer's name for it.
        axes: names of its integer parameters, among `nearest.STARTS`.
        basis: (steps as floats, total steps, integer parameters) -> (u, v), both (steps,), such
            that the rate is peak·u + end·v; None if the trainer does not accept the parameters.
        options: settings that distinguish it from others of the same name.
    """

    name: str
    axes: tuple[str, ...]
    basis: Basis
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class NativeFit:
    """The member of a native family that is nearest to a schedule.

    Attributes:
        family: the family.
        numbers: its integer parameters.
        peak: its highest learning rate.
        end: its lowest learning rate.
        lr: learning rates of shape (steps,).
        max_error: largest distance from the schedule, in LR.
        mean_error: mean distance.
        exact: whether it equals the schedule up to rounding.
    """

    family: NativeFamily
    numbers: Mapping[str, int]
    peak: float
    end: float
    lr: Array = field(repr=False)
    max_error: float
    mean_error: float
    exact: bool

    @property
    def label(self) -> str:
        """The family's name with its options."""
        words = [str(value) for value in self.family.options.values()]
        return " ".join([self.family.name, *words])
