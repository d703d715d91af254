"""Weight decay that is searched with the learning rate: piecewise linear over the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import UsageError
from scaling_laws.decisions.constraints import ScheduleConstraints
from scaling_laws.models import Cells, Law, schedule_laws

__all__ = ["DecayRange", "decay_rows", "read_decay_range"]

Array = NDArray[np.float64]
KNOTS = np.array([0.0, 0.25, 0.5, 0.75, 0.9, 1.0])  # of the piecewise linear curve, over the run


@dataclass(frozen=True, eq=False)
class DecayRange:
    """The range of weight decays to search.

    Attributes:
        lowest: lowest weight decay.
        highest: highest weight decay.
        constant: the run's weight decay during its prefix.
    """

    lowest: float
    highest: float
    constant: float

    @property
    def count(self) -> int:
        """Number of variables: one per knot."""
        return len(KNOTS)

    @property
    def low(self) -> Array:
        """Lower bounds of the variables."""
        return np.full(self.count, self.lowest)

    @property
    def high(self) -> Array:
        """Upper bounds of the variables."""
        return np.full(self.count, self.highest)

    @property
    def start(self) -> Array:
        """Initial values of the variables."""
        return np.full(self.count, min(max(self.constant, self.lowest), self.highest))

    def every_step(self, x: Array, constraints: ScheduleConstraints) -> Array:
        """Weight decay per step: (steps,)."""
        decay = _knot_weights(np.arange(constraints.steps) / constraints.steps) @ x
        decay = np.clip(decay, self.lowest, self.highest)  # the sum carries rounding
        decay[: len(constraints.prefix_lr)] = self.constant
        return np.asarray(decay)


def _knot_weights(position: Array) -> Array:
    """Weights of the knots at positions in the run, from 0 to 1: (positions, knots)."""
    return np.stack([np.interp(position, KNOTS, row) for row in np.eye(len(KNOTS))], axis=1)


def read_decay_range(
    law: Law, facts: Mapping[str, float], weight_decay: tuple[float, float] | None
) -> DecayRange | None:
    """Validate the range of weight decays; None if it is not searched.

    Raises:
        UsageError: if the law does not model weight decay, or the range is empty.
    """
    if weight_decay is None:
        return None
    low, high = weight_decay
    if not law.uses_weight_decay:
        others = ", ".join(other.name for other in schedule_laws() if other.uses_weight_decay)
        raise UsageError(f"{law.name} does not model weight decay; laws that do: {others}")
    if not (0 <= low < high < np.inf):
        raise UsageError(f"weight_decay={low:g}:{high:g} must be a range of numbers >= 0")
    return DecayRange(float(low), float(high), float(facts["weight_decay"]))


def decay_rows(
    decays: DecayRange, cells: Cells, constraints: ScheduleConstraints, shape: tuple[int, ...]
) -> tuple[Array, Array]:
    """Weight decay per cell as an affine map: offset (K,) and matrix (K, variables).

    The knots span all steps of the run, so a shorter horizon uses a part of the curve.

    Args:
        decays: the range.
        cells: of the run.
        constraints: of the schedule; steps of the prefix keep the constant weight decay.
        shape: of the matrix; the knots are its last columns.
    """
    weights = _knot_weights(cells.node / constraints.steps)
    done = cells.node < len(constraints.prefix_lr)
    weights[done] = 0.0
    matrix = np.zeros(shape)
    matrix[:, shape[1] - decays.count :] = weights
    return np.where(done, decays.constant, 0.0), matrix
