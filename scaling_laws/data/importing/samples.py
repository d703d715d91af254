"""Sampled learning rates, and numbers with few digits."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Samples", "digits_of", "rounded", "roundest", "simplest_between", "simplest_share"]


@dataclass(frozen=True, eq=False)
class Samples:
    """Logged learning rates.

    Attributes:
        steps: increasing steps of updates: (rows,).
        lr: their rates: (rows,).
        slack: largest rounding error of each, by its printed digits: (rows,).
        last: last step that the schedule must cover.
        total: number of planned updates, if known.
        warmup: warm-up steps, if given.
    """

    steps: NDArray[np.int64] = field(repr=False)
    lr: NDArray[np.float64] = field(repr=False)
    slack: NDArray[np.float64] = field(repr=False)
    last: int
    total: int | None = None
    warmup: int | None = None

    @property
    def peak(self) -> float:
        """The highest logged rate."""
        return float(self.lr.max())


def rounded(value: float, digits: int) -> float:
    """A number rounded to significant digits."""
    return float(f"{value:.{digits - 1}e}")


def digits_of(value: float) -> int:
    """Significant digits of the shortest decimal representation; 0 for zero."""
    if value == 0:
        return 0
    return len(Decimal(repr(float(value))).normalize().as_tuple().digits)


def roundest(low: int, high: int) -> int:
    """The whole number from low to high with the most trailing zeros."""
    size = 1
    while -(-low // (size * 10)) * size * 10 <= high:
        size *= 10
    return -(-low // size) * size


def simplest_between(low: float, high: float) -> float:
    """The number from low to high, both within (0, 1), with the fewest decimals."""
    for decimals in range(1, 17):
        numerator = math.ceil(low * 10**decimals)
        if numerator <= high * 10**decimals:
            return float(Decimal(numerator).scaleb(-decimals))
    return 0.5 * (low + high)


def simplest_share(total: int, part: int) -> float:
    """The share with the fewest decimals that makes ``round(whole·share)`` the part."""
    return simplest_between((part - 0.49) / total, (part + 0.49) / total)
