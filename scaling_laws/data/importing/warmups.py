"""Shapes of warm-ups, and the base class of candidate schedules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_laws.data.importing.samples import digits_of, rounded
from scaling_laws.models import format_number

__all__ = ["COSINE", "LINEAR", "LOGARITHMIC", "SHAPED", "ScheduleCandidate", "Warmup"]

Array = NDArray[np.float64]
SHAPED_COST = 2.0  # description length of a non-linear warm-up, in digits


@dataclass(frozen=True)
class Warmup:
    """A shape of warm-up: ``start + (peak - start)·share``.

    Attributes:
        name: of the shape.
        share: (steps from 0, warm-up steps) -> from 0 at step 0 to 1 at the warm-up's last step.
    """

    name: str
    share: Callable[[Array, int], Array]


LINEAR = Warmup("linear", lambda at, warmup: at / max(warmup - 1, 1))
COSINE = Warmup("cosine", lambda at, warmup: 0.5 - 0.5 * np.cos(np.pi * at / max(warmup - 1, 1)))
# the default of DeepSpeed's WarmupLR: log(step + 1) / log(warmup_num_steps)
LOGARITHMIC = Warmup("logarithmic", lambda at, warmup: np.log1p(at) / np.log(max(warmup, 2)))
SHAPED = (COSINE, LOGARITHMIC)


@dataclass(frozen=True, eq=False)
class ScheduleCandidate:
    """A warm-up, followed by the part that a subclass describes.

    Attributes:
        warmup: steps of the warm-up; a linear one is ``linspace(start, peak, warmup)``.
        start: rate of step 0, if there is a warm-up.
        peak: highest rate.
        last: last step that must be covered.
        steps: total steps of the spec.
        ramp: shape of the warm-up.
    """

    warmup: int
    start: float
    peak: float
    last: int
    steps: int
    ramp: Warmup = field(default=LINEAR, kw_only=True)

    def ramped(self, steps: NDArray[np.int64], lr: Array) -> Array:
        """Rates after the warm-up, with those of the warm-up inserted."""
        step = steps.astype(np.float64)
        rising = step < self.warmup
        if not rising.any():
            return lr
        share = self.ramp.share(np.where(rising, step, 0.0), self.warmup)
        return np.where(rising, self.start + (self.peak - self.start) * share, lr)

    def moved_ramp(self, by: int) -> dict[str, Any] | None:
        """Fields of the linear warm-up shifted by some steps; None if it would not cover step 0.

        Shifted to earlier steps, the logged part starts within the warm-up, at a higher rate;
        shifted to later ones, the line must be >= 0 at step 0.
        """
        if not self.warmup:
            return {}
        if self.ramp is not LINEAR or self.warmup + by < 2 or self.warmup < 2:
            return None
        rise = (self.peak - self.start) / (self.warmup - 1)
        start = self.start - by * rise
        if start < -1e-9 * self.peak:
            return None
        start = 0.0 if start < 1e-9 * self.peak else rounded(start, 12)
        return {"warmup": self.warmup + by, "start": start}

    @property
    def ramp_cost(self) -> float:
        """Description length of the warm-up in digits."""
        if not self.warmup:
            return 0.0
        per_step = rounded(self.peak / self.warmup, 12)
        plain = self.start in (0.0, per_step)
        start = 0.5 if self.start == per_step else 0.0 if plain else float(digits_of(self.start))
        shaped = 0.0 if self.ramp is LINEAR else SHAPED_COST
        return digits_of(self.warmup) + start + shaped

    @property
    def ramp_text(self) -> str:
        """The keys of a spec for a linear warm-up."""
        text = f",warmup={self.warmup}" if self.warmup else ""
        return text + (f",warmup_from={format_number(self.start)}" if text and self.start else "")

    @property
    def ramp_words(self) -> str:
        """The warm-up in words."""
        shape = "" if self.ramp is LINEAR else f"{self.ramp.name} "
        return f"a {shape}warm-up that would reach the peak at step {max(self.warmup - 1, 0)}"
