"""The precision to which a column of numbers was printed, inferred from the numbers."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Precision", "precision_of"]

Array = NDArray[np.float64]
SAMPLE = 4000  # values examined
FULL = 12  # significant digits from which a number counts as not rounded
# error of a trainer's arithmetic, as a fraction of the largest value
DOUBLE, SINGLE = 1e-9, 5e-7
TIE = 0.01  # largest share of the rounding that arithmetic in float32 may add to it


@dataclass(frozen=True)
class Precision:
    """The number format of a column.

    Attributes:
        kind: ``full`` (every digit), ``single`` (every digit of float32), ``significant`` or
            ``decimals`` (rounded to that many).
        digits: number of digits; 0 for ``full`` and ``single``.
    """

    kind: str
    digits: int = 0

    def half_width(self, values: Array) -> Array:
        """Largest rounding error of values, of the same shape.

        A trainer that computes in float32 rounds a tie between two printed numbers to either side,
        so a few units of float32 are added where they are far below the printed digits.
        """
        top = float(np.abs(values).max(initial=0.0))
        slack = np.full(values.shape, (SINGLE if self.kind == "single" else DOUBLE) * top)
        if self.kind == "decimals":
            rounding = np.full(values.shape, 0.5 * 10.0**-self.digits)
        elif self.kind == "significant":
            size = np.abs(values)
            exponent = np.floor(np.log10(np.where(size > 0, size, 1.0)) + 1e-12)
            rounding = np.where(size > 0, 0.5 * 10.0 ** (exponent - self.digits + 1), 0.0)
        else:
            return slack
        return np.asarray(slack + rounding + np.minimum(SINGLE * top, TIE * rounding))

    @property
    def words(self) -> str:
        """A description."""
        return {
            "full": "all digits",
            "single": "single precision",
            "significant": f"{self.digits} significant digits",
            "decimals": f"{self.digits} decimals",
        }[self.kind]


def precision_of(values: Array) -> Precision:
    """The precision of most of the values.

    Trailing zeros are invisible, so the longest value counts; the format is `decimals` or
    `significant`, whichever count more values reach in full.

    >>> precision_of(np.array([2.99e-4, 1.5e-4, 1.23e-5])).words
    '3 significant digits'
    >>> precision_of(np.array([0.000299, 0.00015, 0.000012, 0.000003])).words
    '6 decimals'
    """
    finite = np.unique(values[np.isfinite(values) & (values != 0)])
    if not finite.size:
        return Precision("full")
    if finite.size > SAMPLE:
        finite = finite[np.linspace(0, finite.size - 1, SAMPLE).astype(int)]
    parts = [Decimal(repr(value)).normalize().as_tuple() for value in finite.tolist()]
    significant = np.array([len(part.digits) for part in parts])
    decimals = np.array([max(-int(part.exponent), 0) for part in parts])
    if significant.max() >= FULL:
        single = np.array_equal(finite.astype(np.float32).astype(np.float64), finite)
        return Precision("single" if single else "full")
    reach = (significant == significant.max()).mean() - (decimals == decimals.max()).mean()
    if reach >= 0:
        return Precision("significant", int(significant.max()))
    return Precision("decimals", int(decimals.max()))
