"""Weight decay that is searched with the learning rate: a broken line over the run."""

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
PLACES = np.array([0.0, 0.25, 0.5, 0.75, 0.9, 1.0])  # of the run: the corners of the line


@dataclass(frozen=True, eq=False)
class DecayRange:
    """Between which weight decays to search.

    Attributes:
        lowest: lowest weight decay.
        highest: highest weight decay.
        usual: what the run has where it is not searched.
    """

    lowest: float
    highest: float
    usual: float

    @property
    def count(self) -> int:
        """Free numbers: the weight decay at each corner."""
        return len(PLACES)

    @property
    def low(self) -> Array:
        """Lowest value of each free number."""
        return np.full(self.count, self.lowest)

    @property
    def high(self) -> Array:
        """Highest value of each free number."""
        return np.full(self.count, self.highest)

    @property
    def start(self) -> Array:
        """Where the search begins."""
        return np.full(self.count, min(max(self.usual, self.lowest), self.highest))

    def every_step(self, free: Array, constraints: ScheduleConstraints) -> Array:
        """Weight decay of every step: (steps,)."""
        found = _line(np.arange(constraints.steps) / constraints.steps) @ free
        found = np.clip(found, self.lowest, self.highest)  # the sum carries rounding
        found[: len(constraints.prefix_lr)] = self.usual
        return np.asarray(found)


def _line(place: Array) -> Array:
    """Weights of the corners at places of the run, from 0 to 1: (places, corners)."""
    return np.stack([np.interp(place, PLACES, row) for row in np.eye(len(PLACES))], axis=1)


def read_decay_range(
    law: Law, facts: Mapping[str, float], given: tuple[float, float] | None
) -> DecayRange | None:
    """Check the range that a caller asks for.

    Raises:
        UsageError: if the law does not know weight decay, or the range is empty.
    """
    if given is None:
        return None
    low, high = given
    if not law.uses_weight_decay:
        others = ", ".join(other.name for other in schedule_laws() if other.uses_weight_decay)
        raise UsageError(f"{law.name} does not model weight decay; laws that do: {others}")
    if not (0 <= low < high < np.inf):
        raise UsageError(f"weight_decay={low:g}:{high:g} must be a range of numbers >= 0")
    return DecayRange(float(low), float(high), float(facts["weight_decay"]))


def decay_rows(
    decays: DecayRange, cells: Cells, constraints: ScheduleConstraints, shape: tuple[int, ...]
) -> tuple[Array, Array]:
    """Weight decay of cells as offset (K,) and matrix (K, free numbers).

    The line is over all steps of the run, so that a shorter horizon sees a part of it.

    Args:
        decays: the range.
        cells: of the run.
        constraints: the frame; steps of its head keep the usual weight decay.
        shape: of the matrix; the corners are its last columns.
    """
    line = _line(cells.node / constraints.steps)
    done = cells.node < len(constraints.prefix_lr)
    line[done] = 0.0
    matrix = np.zeros(shape)
    matrix[:, shape[1] - decays.count :] = line
    return np.where(done, decays.usual, 0.0), matrix
