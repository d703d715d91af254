"""Candidates from registered families with more than one decay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import ScheduleError
from scaling_laws.data.importing.samples import digits_of
from scaling_laws.data.importing.warmups import LINEAR, ScheduleCandidate
from scaling_laws.models import format_number, schedule

__all__ = ["FamilyCandidate"]

Array = NDArray[np.float64]
COST = 3.0  # description length of these families beside their numbers, in digits
NO_SPEC = 1.5
FROM_START = ("anneal_start",)  # keys counted from the start of the run instead of `begin`


@dataclass(frozen=True, eq=False)
class FamilyCandidate(ScheduleCandidate):
    """A warm-up, followed by the registered formula of a family.

    Attributes:
        shape: name of the family.
        begin: step from which the family counts: `warmup`, or the step before it where the warm-up
            reaches its peak as the family begins; 0 for `wsd_s`, which counts from the run's start.
        values: of the family's own keys.
    """

    shape: str
    begin: int
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def smooth(self) -> bool:
        """Whether all its rates differ, so that full agreement is not a coincidence."""
        return True

    @property
    def length(self) -> int:
        """Required number of steps; 0 if any."""
        if self.shape == "wsd_s":
            return int(self.values["decay_ends"][-1])
        return self.steps if self.shape == "infinite" else 0

    def rates(self, steps: NDArray[np.int64]) -> Array:
        """Learning rates at some steps, like `steps`."""
        family_lr = schedule(self._text(self.begin)).lr
        after = np.clip(steps - self.begin, 0, family_lr.size - 1)
        return self.ramped(steps, family_lr[after])

    @property
    def exists(self) -> bool:
        """Whether the family accepts these values."""
        try:
            schedule(self._text(self.begin) if self.spec is None else self.spec)
        except ScheduleError:
            return False
        return True

    def shifted(self, by: int) -> FamilyCandidate | None:
        """The same rates shifted by some steps; None if it would not cover step 0."""
        ramp_changes = self.moved_ramp(by)
        if ramp_changes is None or self.begin + by < 0:
            return None
        # the decay lengths of wsd_s are fractions of its steps, which would change
        if self.shape == "wsd_s" or not self.warmup:
            return None
        values = {key: _shifted_value(key, value, by) for key, value in self.values.items()}
        return replace(
            self, **ramp_changes, begin=self.begin + by, steps=self.steps + by, values=values
        )

    def _text(self, origin: int, *, ramp: bool = False) -> str:
        """The spec of what follows step `origin`, with or without the warm-up."""
        parts = [f"peak={format_number(self.peak)}", f"steps={self.steps - origin}"]
        for key, stored in self.values.items():
            value = _shifted_value(key, stored, -origin)
            if isinstance(value, tuple):
                parts.append(f"{key}={'/'.join(map(format_number, value))}")
            else:
                parts.append(f"{key}={value if isinstance(value, str) else format_number(value)}")
        return f"{self.shape}:{','.join(parts)}" + (self.ramp_text if ramp else "")

    @property
    def cost(self) -> float:
        """Description length in digits; see `DecayCandidate.cost`."""
        cost = COST + self.ramp_cost + digits_of(self.peak)
        for value in self.values.values():
            numbers = value if isinstance(value, tuple) else (value,)
            cost += sum(digits_of(number) for number in numbers if not isinstance(number, str))
        return cost + (0.0 if self.spec is not None else NO_SPEC)

    @property
    def spec(self) -> str | None:
        """Its spec; None if the family has no such warm-up."""
        counted = self.begin == self.warmup or self.shape == "wsd_s"
        if self.ramp is not LINEAR or not counted:
            return None
        return self._text(0, ramp=True)

    @property
    def words(self) -> str:
        """The spec, or a description."""
        if self.spec is not None:
            return self.spec
        return f"{self._text(self.begin)} from step {self.begin} on, after {self.ramp_words}"


def _shifted_value(key: str, value: Any, by: int) -> Any:
    """A value, shifted if it is a step."""
    return value + by if key in FROM_START else value
