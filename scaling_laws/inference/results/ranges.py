"""What fitted runs, or rows, covered: beyond it a prediction extrapolates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scaling_laws.models import Schedule

__all__ = ["InputRange", "Range", "fastest_fall"]

SLACK = 0.01  # values outside a range by less are inside: specs and logs round


@dataclass(frozen=True)
class Range:
    """What the fitted runs covered; outside it a prediction extrapolates.

    Attributes:
        peak_lr: lowest and highest peak learning rate.
        steps: last logged step of the longest run.
        lowest_lr: lowest learning rate after the peak at a logged step, as a fraction of the peak.
        fastest_fall: fewest steps within which a schedule falls by half of its peak; None if none
            does, or if it is unknown.
        facts: lowest and highest value of each fact that the law uses.
    """

    peak_lr: tuple[float, float]
    steps: int
    lowest_lr: float
    facts: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    fastest_fall: int | None = None

    def departures(self, schedule: Schedule, facts: Mapping[str, float] | None = None) -> list[str]:
        """In words, where a schedule or a fact lies outside the range."""
        notes = []
        low, high = self.peak_lr
        if not (1 - SLACK) * low <= schedule.peak_lr <= (1 + SLACK) * high:
            notes.append(f"peak LR {schedule.peak_lr:g} is outside the fitted {low:g} to {high:g}")
        if schedule.steps > 1.05 * (self.steps + 1):
            notes.append(f"{schedule.steps} steps are more than the fitted {self.steps + 1}")
        end = float(schedule.lr[-1]) / schedule.peak_lr if schedule.peak_lr > 0 else 0.0
        if end < 0.5 * self.lowest_lr:
            notes.append(
                f"it ends at {end:.2g} of its peak, the fitted runs go down to {self.lowest_lr:.2g}"
            )
        fall = None if self.fastest_fall is None else fastest_fall(schedule.lr)
        if self.fastest_fall is not None and fall is not None and 2 * fall < self.fastest_fall:
            notes.append(
                f"its LR falls by half of the peak within {fall} step{'s' * (fall > 1)}, the "
                f"fitted runs take at least {self.fastest_fall}"
            )
        for name, (low, high) in self.facts.items():
            value = (facts or {}).get(name, low)
            if not (1 - SLACK) * low <= value <= (1 + SLACK) * high:
                notes.append(f"{name} {value:g} is outside the fitted {low:g} to {high:g}")
        return notes


def fastest_fall(lr: NDArray[np.float64]) -> int | None:
    """Fewest steps within which a schedule falls by half of its peak; None if it never does.

    >>> fastest_fall(np.array([1.0, 1.0, 0.7, 0.4, 0.4]))
    2
    """
    half = 0.5 * float(lr.max())

    def falls_within(steps: int) -> bool:
        return bool(np.any(lr - _lowest_ahead(lr, steps) >= half))

    lower, upper = 0, len(lr) - 1  # bisection: it falls within `upper` steps, not within `lower`
    if half <= 0 or not falls_within(upper):
        return None
    while upper - lower > 1:
        middle = (lower + upper) // 2
        lower, upper = (lower, middle) if falls_within(middle) else (middle, upper)
    return upper


def _lowest_ahead(lr: NDArray[np.float64], steps: int) -> NDArray[np.float64]:
    """The lowest rate from each step to `steps` later; doubling windows, no SciPy to import."""
    lowest, covered = lr, 0
    while covered < steps:
        shift = min(covered + 1, steps - covered)
        later = np.concatenate([lowest[shift:], np.full(min(shift, len(lr)), lr[-1])])
        lowest, covered = np.minimum(lowest, later), covered + shift
    return lowest


@dataclass(frozen=True)
class InputRange:
    """What the fitted rows of a tabular law covered.

    Attributes:
        inputs: lowest and highest value of each input.
        totals: lowest and highest sum of the inputs whose names begin with each prefix, such as
            the shares of a mixture: if they always sum to one, the law is determined only there.
    """

    inputs: Mapping[str, tuple[float, float]]
    totals: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, inputs: Mapping[str, NDArray[np.float64]], prefixes: Sequence[str] = ()
    ) -> InputRange:
        """The range of some rows, and of the sums of the inputs with these prefixes."""

        def ends(row: NDArray[np.float64]) -> tuple[float, float]:
            return float(row.min()), float(row.max())

        return cls(
            {name: ends(row) for name, row in inputs.items()},
            {prefix: ends(_total(inputs, prefix)) for prefix in prefixes},
        )

    def departures(self, inputs: Mapping[str, NDArray[np.float64]]) -> list[str]:
        """In words, where inputs lie outside the range."""
        notes = []
        for name, (low, high) in self.inputs.items():
            row = inputs[name]
            if (row < (1 - SLACK) * low).any() or (row > (1 + SLACK) * high).any():
                notes.append(
                    f"{name} {row.min():g} to {row.max():g} leaves the fitted {low:g} to {high:g}"
                    if row.size > 1
                    else f"{name} {row.item():g} is outside the fitted {low:g} to {high:g}"
                )
        for prefix, (low, high) in self.totals.items():
            total = _total(inputs, prefix)
            if (total < (1 - SLACK) * low).any() or (total > (1 + SLACK) * high).any():
                notes.append(
                    f"{prefix}* sum to {total.min():g}, in the fitted rows to {low:g} to {high:g}"
                )
        return notes


def _total(inputs: Mapping[str, NDArray[np.float64]], prefix: str) -> NDArray[np.float64]:
    rows = [row for name, row in inputs.items() if name.startswith(prefix)]
    total = rows[0]
    for row in rows[1:]:
        total = total + row
    return total
