"""What a search may not change, and what it may not do."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling_laws.common import UsageError
from scaling_laws.models import Schedule, SearchFrame, format_number, schedule

__all__ = ["Limits", "read_limits"]

Array = NDArray[np.float64]
SLACK = 1e-9  # share of the peak: rates carry rounding
FEWEST = 10  # steps that a search needs


@dataclass(frozen=True, eq=False)
class Limits:
    """The frame of a search.

    Attributes:
        peak: highest learning rate.
        steps: all steps.
        warmup: of a run that has not begun; 0 where `head` holds it.
        end_min: lowest learning rate after the warm-up.
        head: rates of the first updates, which are given: (steps done,); empty for a new run.
        head_spec: a spec of them, or words.
        max_change: largest change of the rate from a step to the next, after the warm-up, as a
            share of the peak; None for any.
        fixed: rates that are given, by step.
        allow_rewarm: whether the rate may rise after the warm-up.
    """

    peak: float
    steps: int
    warmup: int
    end_min: float
    head: Array = field(repr=False)
    head_spec: str = ""
    max_change: float | None = None
    fixed: Mapping[int, float] = field(default_factory=dict)
    allow_rewarm: bool = False

    @property
    def begin(self) -> int:
        """First step that the search shapes."""
        return max(len(self.head), self.warmup)

    @property
    def first(self) -> float:
        """Rate at which the part that is shaped begins."""
        return float(self.head[-1]) if len(self.head) else self.peak

    @property
    def frame(self) -> SearchFrame:
        """What the families shape: all of a new run, or what follows the head."""
        return SearchFrame(self.first, self.steps - len(self.head), self.warmup, self.end_min)

    def whole(self, tail: Schedule) -> Schedule:
        """The run that a member of a family makes with the head before it."""
        if not len(self.head):
            return tail
        return Schedule(f"{self.head_spec} + {tail.spec}", np.concatenate([self.head, tail.lr]))

    def broken_by(self, lr: Array) -> str | None:
        """In words, what a schedule of shape (steps,) breaks, or None."""
        slack = SLACK * self.peak
        after = lr[max(self.begin - 1, 0) :]
        change = np.diff(after)
        if after[1:].min(initial=np.inf) < self.end_min - slack:
            return f"it goes below end_min={self.end_min:g}"
        if self.max_change is not None and change.size:
            steepest = float(np.abs(change).max())
            if steepest > self.max_change * self.peak * (1.0 + 1e-6):
                return f"it changes by {steepest / self.peak:.2g} of the peak in a step"
        if not self.allow_rewarm and change.max(initial=0.0) > slack:
            return "its rate rises after the warm-up"
        for step, rate in self.fixed.items():
            if abs(lr[step] - rate) > slack:
                return f"its rate at step {step} is {lr[step]:g}, not {rate:g}"
        return None


def read_limits(
    *,
    steps: int,
    peak: float,
    warmup: int = 0,
    end_min: float = 0.0,
    prefix: Schedule | ArrayLike | None = None,
    cooldown_from: int | None = None,
    max_change: float | None = None,
    fixed: Mapping[int, float] | None = None,
    allow_rewarm: bool = False,
) -> Limits:
    """Check what a caller asks for; see `search.optimize` for the arguments.

    Raises:
        UsageError: if the frame is empty or contradicts itself.
    """
    if not (np.isfinite(peak) and peak > 0):
        raise UsageError(f"peak={peak!r} must be a learning rate > 0")
    if not (np.isfinite(end_min) and 0 <= end_min < peak):
        raise UsageError(f"end_min={end_min!r} must be >= 0 and below peak={peak:g}")
    head, words = np.zeros(0), ""
    if prefix is not None:
        rates, words = prefix, ""
        if isinstance(prefix, Schedule):
            rates, words = prefix.lr, prefix.spec
        head = _checked_prefix(rates, peak, end_min)
        if len(head) < warmup:
            raise UsageError(
                f"the prefix ends after {len(head)} steps, inside warmup={warmup}; leave the "
                "prefix out, or give one with the whole warm-up"
            )
        words, warmup = words or f"the first {len(head)} steps", 0
    if cooldown_from is not None:
        if prefix is not None:
            raise UsageError("give either a prefix or cooldown_from, not both")
        if cooldown_from <= warmup:
            raise UsageError(f"cooldown_from={cooldown_from} must be after warmup={warmup}")
        ramp = f",warmup={warmup}" if warmup else ""
        words = f"constant:peak={format_number(peak)},steps={cooldown_from}{ramp}"
        head, warmup = schedule(words).lr, 0
    begin = max(len(head), warmup)
    if warmup < 0 or steps < begin + FEWEST:
        done = f"the first {begin} steps" if len(head) else f"warmup={warmup}"
        raise UsageError(f"steps={steps} must leave at least {FEWEST} steps after {done}")
    if max_change is not None and not 0 < max_change <= 1:
        raise UsageError(
            f"max_change={max_change!r} must lie in (0, 1], a share of the peak a step"
        )
    pins = {}
    for step, rate in sorted((fixed or {}).items()):
        if not begin <= step < steps:
            raise UsageError(f"fixed step {step} must lie in {begin}..{steps - 1}")
        if not end_min <= rate <= peak:
            raise UsageError(
                f"fixed rate {rate!r} at step {step} must lie in {end_min:g}..{peak:g}"
            )
        pins[int(step)] = float(rate)
    rises = any(later > before for before, later in itertools.pairwise(pins.values()))
    if rises and not allow_rewarm:
        raise UsageError("the fixed rates rise; pass allow_rewarm, or let them fall")
    return Limits(
        float(peak),
        int(steps),
        int(warmup),
        float(end_min),
        head,
        words,
        max_change,
        MappingProxyType(pins),
        allow_rewarm,
    )


def _checked_prefix(prefix: Any, peak: float, end_min: float) -> Array:
    head = np.array(prefix, dtype=np.float64)
    if head.ndim != 1 or head.size == 0:
        raise UsageError(f"prefix has shape {head.shape}; it needs (steps done,), one at least")
    if not (np.isfinite(head) & (head >= 0)).all():
        bad = int(np.argmin(np.isfinite(head) & (head >= 0)))
        raise UsageError(f"prefix: rate {head[bad]} at step {bad} is not a number >= 0")
    if head[-1] <= end_min or head[-1] > peak * (1 + SLACK):
        raise UsageError(
            f"prefix ends at LR {head[-1]:g}; it must be above end_min={end_min:g} and at most "
            f"peak={peak:g} for a search to go on from it"
        )
    head.flags.writeable = False
    return head
