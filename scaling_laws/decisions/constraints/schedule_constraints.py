"""Constraints on a schedule that is searched for, validated in one place."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling_laws.common import UsageError
from scaling_laws.models import Schedule, SearchFrame, format_number, schedule

__all__ = ["MIN_SHAPED_STEPS", "ScheduleConstraints", "constraints_from"]

Array = NDArray[np.float64]
SLACK = 1e-9  # share of the peak: rates carry rounding
MIN_SHAPED_STEPS = 10  # steps that a search needs after the warm-up or the prefix
STEP_SLACK = 1e-6  # relative tolerance on the largest change per step


@dataclass(frozen=True, eq=False)
class ScheduleConstraints:
    """What a schedule must satisfy.

    Validated on construction, so the functions that take it do not check it again.

    Attributes:
        steps: total steps, warm-up included.
        peak: peak learning rate; or the lowest and highest to search, for a law that was fitted to
            runs with several peaks.
        warmup: warm-up steps, linear from 0; a prefix contains the whole warm-up.
        end_min: lowest learning rate allowed after the warm-up.
        prefix: learning rates of the updates already done, (steps done,), or a schedule of them.
            The result starts with exactly these and continues from the last of them.
        cooldown_from: keep the peak up to this step; only later steps are searched.
        max_change: largest change of the learning rate per step after the warm-up, as a share of
            the peak; None for no bound.
        fixed: learning rates that the schedule must have after the warm-up, by step.
        allow_rewarm: whether the learning rate may rise after the warm-up, up to the peak.

    Raises:
        UsageError: if the constraints contradict each other.

    >>> constraints = ScheduleConstraints(steps=1000, peak=1e-3, warmup=50, end_min=1e-5)
    >>> constraints.first_free_step, constraints.initial_lr
    (50, 0.001)
    """

    steps: int
    peak: float | tuple[float, float]
    warmup: int = 0
    end_min: float = 0.0
    prefix: Schedule | ArrayLike | None = None
    cooldown_from: int | None = None
    max_change: float | None = None
    fixed: Mapping[int, float] | None = None
    allow_rewarm: bool = False

    def __post_init__(self) -> None:
        def set_field(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        set_field("peak", _checked_peak(self.peak))
        low = self.peak_range[0]
        if not (np.isfinite(self.end_min) and 0 <= self.end_min < low):
            raise UsageError(f"end_min={self.end_min!r} must be >= 0 and below peak={low:g}")
        if self.prefix is not None:
            if self.cooldown_from is not None:
                raise UsageError("give either a prefix or cooldown_from, not both")
            if not isinstance(self.prefix, Schedule):
                rates = np.array(self.prefix, dtype=np.float64)
                rates.flags.writeable = False
                set_field("prefix", rates)
            _check_prefix(self.prefix_lr, low, self.end_min)
            if len(self.prefix_lr) < self.warmup:
                raise UsageError(
                    f"the prefix ends after {len(self.prefix_lr)} steps, inside "
                    f"warmup={self.warmup}; omit the prefix, or give one with the whole warm-up"
                )
        if self.cooldown_from is not None and self.cooldown_from <= self.warmup:
            raise UsageError(
                f"cooldown_from={self.cooldown_from} must be after warmup={self.warmup}"
            )
        if self.warmup < 0 or self.steps < self.first_free_step + MIN_SHAPED_STEPS:
            fixed = self.prefix is not None or self.cooldown_from is not None
            start = f"the first {self.first_free_step} steps" if fixed else f"warmup={self.warmup}"
            raise UsageError(
                f"steps={self.steps} must leave at least {MIN_SHAPED_STEPS} steps after {start}"
            )
        if self.max_change is not None and not 0 < self.max_change <= 1:
            raise UsageError(
                f"max_change={self.max_change!r} must lie in (0, 1], a share of the peak per step"
            )
        set_field("fixed", MappingProxyType(self._checked_fixed()))

    def _checked_fixed(self) -> dict[int, float]:
        rates, peak = {}, self.peak_range[1]
        for step, rate in sorted((self.fixed or {}).items()):
            if not self.first_free_step <= step < self.steps:
                raise UsageError(
                    f"fixed step {step} must lie in {self.first_free_step}..{self.steps - 1}"
                )
            if not self.end_min <= rate <= peak:
                raise UsageError(
                    f"fixed rate {rate!r} at step {step} must lie in {self.end_min:g}..{peak:g}"
                )
            rates[int(step)] = float(rate)
        rises = any(later > before for before, later in itertools.pairwise(rates.values()))
        if rises and not self.allow_rewarm:
            raise UsageError("the fixed rates rise; pass allow_rewarm, or let them fall")
        return rates

    @property
    def peak_range(self) -> tuple[float, float]:
        """Lowest and highest peak; equal if one peak is set."""
        return self.peak if isinstance(self.peak, tuple) else (self.peak, self.peak)

    @property
    def peak_lr(self) -> float:
        """The peak; the highest if a range is set."""
        return self.peak_range[1]

    def at_peak(self, peak: float) -> ScheduleConstraints:
        """The same constraints with one peak."""
        return replace(self, peak=peak)

    @property
    def fixed_rates(self) -> Mapping[int, float]:
        """`fixed`, or an empty mapping."""
        return self.fixed or {}

    @cached_property
    def _prefix(self) -> Schedule | None:
        """The steps before the searched part, except for a plain warm-up."""
        if self.cooldown_from is not None:
            ramp = f",warmup={self.warmup}" if self.warmup else ""
            peak = format_number(self.peak_lr)
            return schedule(f"constant:peak={peak},steps={self.cooldown_from}{ramp}")
        return self.prefix if isinstance(self.prefix, Schedule) else None

    @property
    def prefix_lr(self) -> Array:
        """Learning rates before the search: prefix, or constant up to `cooldown_from`."""
        if self._prefix is not None:
            return self._prefix.lr
        return np.zeros(0) if self.prefix is None else np.asarray(self.prefix)

    @property
    def first_free_step(self) -> int:
        """First step that a search shapes."""
        return max(len(self.prefix_lr), self.warmup)

    @property
    def initial_lr(self) -> float:
        """Learning rate at which the shaped part begins."""
        return float(self.prefix_lr[-1]) if len(self.prefix_lr) else self.peak_lr

    @property
    def fixed_start(self) -> Array:
        """Learning rates before the shaped part, prefix or warm-up: (first_free_step,)."""
        if len(self.prefix_lr):
            return self.prefix_lr
        return np.linspace(0.0, self.peak_lr, self.warmup)

    @property
    def search_frame(self) -> SearchFrame:
        """The part of the run that the families shape: all of it, or the steps after the prefix."""
        done = len(self.prefix_lr)
        warmup = 0 if done else self.warmup
        return SearchFrame(self.initial_lr, self.steps - done, warmup, float(self.end_min))

    def complete(self, tail: Schedule) -> Schedule:
        """The whole run: the prefix followed by a member of a family."""
        done = len(self.prefix_lr)
        if not done:
            return tail
        spec = f"the first {done} steps" if self._prefix is None else self._prefix.spec
        return Schedule(f"{spec} + {tail.spec}", np.concatenate([self.prefix_lr, tail.lr]))

    def violation(self, lr: Array) -> str | None:
        """Which constraint a schedule of shape (steps,) violates, in words, or None."""
        slack = SLACK * self.peak_lr
        after = lr[max(self.first_free_step - 1, 0) :]
        change = np.diff(after)
        if after[1:].min(initial=np.inf) < self.end_min - slack:
            return f"it falls below end_min={self.end_min:g}"
        if self.max_change is not None and change.size:
            steepest = float(np.abs(change).max())
            if steepest > self.max_change * self.peak_lr * (1.0 + STEP_SLACK):
                return f"it changes by {steepest / self.peak_lr:.2g} of the peak in one step"
        if not self.allow_rewarm and change.max(initial=0.0) > slack:
            return "its rate rises after the warm-up"
        for step, rate in self.fixed_rates.items():
            if abs(lr[step] - rate) > slack:
                return f"its rate at step {step} is {lr[step]:g}, not {rate:g}"
        return None

    def require_only(self, function: str, supported: Collection[str], instead: str = "") -> None:
        """Refuse, by name, constraints that a function does not support.

        Raises:
            UsageError: if a constraint outside `supported` is set.
        """
        others = [
            field.name
            for field in fields(self)
            if field.name not in supported and _is_set(getattr(self, field.name))
        ]
        if others:
            raise UsageError(f"{function} does not support {', '.join(others)}{instead}")


def constraints_from(
    constraints: ScheduleConstraints | None, **keywords: Any
) -> ScheduleConstraints:
    """The constraints, from one object or from keywords.

    Args:
        constraints: all of them; or None.
        **keywords: fields of `ScheduleConstraints`; None or the default if not set.

    Raises:
        UsageError: if both are given, steps or peak is missing, or the constraints are invalid.
    """
    defaults = {field.name: field.default for field in fields(ScheduleConstraints)}
    explicit = {
        name: value
        for name, value in keywords.items()
        if _is_set(value) and not (np.isscalar(value) and value == defaults[name])
    }
    if constraints is not None:
        if explicit:
            raise UsageError(f"give either constraints or {', '.join(explicit)}, not both")
        return constraints
    for name in ("steps", "peak"):
        if name not in explicit:
            raise UsageError(f"{name} is missing; give steps and peak, or constraints")
    return ScheduleConstraints(**explicit)


def _is_set(value: Any) -> bool:
    return (
        value is not None and value is not False and not (isinstance(value, Mapping) and not value)
    )


def _checked_peak(peak: Any) -> float | tuple[float, float]:
    if not isinstance(peak, tuple):
        if not (np.isfinite(peak) and peak > 0):
            raise UsageError(f"peak={peak!r} must be a learning rate > 0")
        return float(peak)
    low, high = (float(end) for end in peak)
    if not 0 < low < high < np.inf:
        raise UsageError(f"peak={low:g}:{high:g} must be two learning rates, the lower one first")
    return low, high


def _check_prefix(rates: Array, peak: float, end_min: float) -> None:
    if rates.ndim != 1 or rates.size == 0:
        raise UsageError(f"prefix has shape {rates.shape}; it needs (steps done,), one at least")
    valid = np.isfinite(rates) & (rates >= 0)
    if not valid.all():
        bad = int(np.argmin(valid))
        raise UsageError(f"prefix: rate {rates[bad]} at step {bad} is not a number >= 0")
    if rates[-1] <= end_min or rates[-1] > peak * (1 + SLACK):
        raise UsageError(
            f"prefix ends at LR {rates[-1]:g}; it must be above end_min={end_min:g} and at most "
            f"peak={peak:g} for a search to continue from it"
        )
