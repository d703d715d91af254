"""The common ways in which a trainer runs another schedule than the one it was given.

Each fault is tried as a hypothesis: the log it would have written, with as few free numbers as it
has, must agree with every logged rate. The first that does, from the simplest on, is named.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scaling_laws.models import Schedule

__all__ = ["Fault", "LrLog", "find_fault", "shifted_log"]

Array = NDArray[np.float64]
Steps = NDArray[np.int64]
SHIFTS = (1, -1)
CANDIDATES = 400  # trials of one free number before it is refined
MANY_ROWS = 4000  # a longer log is thinned out before hypotheses are tried


@dataclass(frozen=True, eq=False)
class LrLog:
    """Logged rates.

    Attributes:
        step: increasing steps: (rows,).
        lr: logged rates: (rows,).
        slack: what may differ, in LR.
    """

    step: Steps
    lr: Array = field(repr=False)
    slack: float

    def agrees(self, expected: Array) -> bool:
        """Whether every row is what a hypothesis says."""
        return bool((np.abs(self.lr - expected) <= self.slack).all())

    def distance(self, expected: Array) -> float:
        """Sum of squares between the log and a hypothesis."""
        return float(np.square(self.lr - expected).sum())

    def thinned(self, keep: int) -> LrLog:
        """At most about `MANY_ROWS` of the rows, those around row `keep` among them."""
        if self.step.size <= MANY_ROWS:
            return self
        places = np.linspace(0, self.step.size - 1, MANY_ROWS).round().astype(int)
        near = np.arange(max(keep - 50, 0), min(keep + 50, self.step.size))
        chosen = np.union1d(places, near)
        return LrLog(self.step[chosen], self.lr[chosen], self.slack)


@dataclass(frozen=True)
class Fault:
    """A fault that explains a log: its name and a sentence."""

    name: str
    sentence: str


def shifted_log(log: LrLog, lr: Array, expected: Array) -> Fault | None:
    """Off by one, seen even where the tolerance hides it: the shift must fit far better."""
    here = log.distance(expected)
    if here <= 1e-12 * float(np.square(log.lr).sum()):
        return None
    best = min(SHIFTS, key=lambda shift: log.distance(_at(lr, log.step + shift)))
    if log.distance(_at(lr, log.step + best)) > 1e-2 * here:
        return None
    return _off_by(best)


def find_fault(log: LrLog, plan: Schedule, first: int) -> Fault | None:
    """The simplest fault that explains every logged rate.

    Args:
        log: the logged rates.
        plan: the schedule they should follow.
        first: the first row that does not.
    """
    step = int(log.step[first])
    rows = log.thinned(first)
    for hypothesis in HYPOTHESES:
        fault = hypothesis(rows, plan, step)
        if fault is not None:
            return fault
    return None


def _at(lr: Array, steps: NDArray[np.int64] | Array) -> Array:
    """Rates at steps, also fractional ones; level before the start and after the end."""
    last = lr.size - 1
    places = np.clip(steps, 0, last)
    if np.issubdtype(places.dtype, np.integer):
        return np.asarray(lr[places.astype(np.int64)])
    below = np.floor(places).astype(np.int64)
    share = places - below
    return np.asarray(lr[below] * (1 - share) + lr[np.minimum(below + 1, last)] * share)


def _off_by(shift: int) -> Fault:
    if shift > 0:
        return Fault(
            "off_by_one",
            "each row holds the rate of the step after it: the rate was read after the scheduler "
            "had stepped (the log is off, not the run), or the run is one step ahead",
        )
    return Fault(
        "off_by_one",
        "each row holds the rate of the step before it: steps are logged counting from 1, or the "
        "scheduler runs one step late",
    )


def _shift(log: LrLog, plan: Schedule, first: int) -> Fault | None:
    for shift in SHIFTS:
        if log.agrees(_at(plan.lr, log.step + shift)):
            return _off_by(shift)
    return None


def _length(log: LrLog, plan: Schedule, first: int) -> Fault | None:
    """Everything agrees up to the schedule's end, and the run goes on."""
    if log.step[-1] < plan.steps or not log.agrees(_at(plan.lr, log.step)):
        return None
    return Fault(
        "longer_run",
        f"the run goes on to step {log.step[-1]} at the last rate; the schedule has {plan.steps} "
        "steps",
    )


def _past_end(log: LrLog, plan: Schedule, first: int) -> Fault | None:
    """Everything agrees up to the schedule's end; what is logged after it does not."""
    inside = log.step < plan.steps
    if inside.all() or not inside.any():
        return None
    if not LrLog(log.step[inside], log.lr[inside], log.slack).agrees(
        _at(plan.lr, log.step[inside])
    ):
        return None
    return Fault(
        "past_end",
        f"every row up to the schedule's end agrees; the log goes on to step {log.step[-1]} at "
        f"other rates, and the schedule has {plan.steps} steps",
    )


def _factor(log: LrLog, plan: Schedule, first: int) -> Fault | None:
    expected = _at(plan.lr, log.step)
    norm = float(expected @ expected)
    if norm == 0:
        return None
    factor = float(log.lr @ expected) / norm
    # a factor far above 1 makes rounding larger, too
    scaled = LrLog(log.step, log.lr / factor if factor > 1 else log.lr, log.slack)
    if factor > 0 and scaled.agrees(expected * min(factor, 1.0)):
        peak = factor * plan.peak_lr
        if abs(peak - 1.0) < 0.01:
            return Fault("multiplier_logged", "the log holds multipliers of the peak, not rates")
        if abs(factor - plan.peak_lr) < 0.01 * plan.peak_lr:
            return Fault(
                "applied_twice",
                f"every rate is {factor:.4g} times the schedule's, which is its peak: absolute "
                "rates were used as multipliers of the optimizer's LR; export with "
                "--form multiplier, or give the optimizer an LR of 1",
            )
        return Fault(
            "factor",
            f"every rate is {factor:.4g} times the schedule's: the peak was set to {peak:.4g} in "
            f"place of {plan.peak_lr:.4g}",
        )
    if log.agrees(expected**2 / plan.peak_lr):
        return Fault(
            "applied_twice",
            "every multiplier is squared: two schedulers act on the same optimizer, or one is "
            "multiplied in twice",
        )
    return None


def _warmup(log: LrLog, plan: Schedule, first: int) -> Fault | None:
    """Another length of the warm-up, and the schedule after both of them."""
    late = np.flatnonzero(np.abs(log.lr - _at(plan.lr, log.step)) > log.slack)
    bound = max(plan.warmup, int(log.step[late[-1]])) + 1
    top = float(plan.lr[min(plan.warmup, plan.steps - 1)])
    if plan.warmup == 0 and bound > plan.steps // 2:
        return None

    def with_warmup(steps: float) -> Array:
        ramp = top * np.minimum(log.step / max(steps, 1e-9), 1.0)
        after = np.maximum(log.step, plan.warmup)
        return np.asarray(np.where(log.step < steps, ramp, _at(plan.lr, after)))

    reach = max(2 * bound, 2 * plan.warmup, 4)
    found = _best(log, with_warmup, np.linspace(0, min(reach, plan.steps), CANDIDATES))
    if found is None:
        return None
    return Fault(
        "warmup",
        f"the warm-up reaches the peak at about step {found:.0f} in place of "
        f"step {max(plan.warmup - 1, 0)}",
    )


def _total(log: LrLog, plan: Schedule, first: int) -> Fault | None:
    """The decay after the warm-up is stretched or squeezed: another number of total steps."""
    below = np.flatnonzero(plan.lr[plan.warmup :] < plan.lr[plan.warmup :].max() * (1 - 1e-9))
    starts = {plan.warmup, 0}
    if below.size:
        starts.add(plan.warmup + int(below[0]))
    for start in sorted(starts, reverse=True):

        def stretched(total: float, start: int = start) -> Array:
            scale = (plan.steps - start) / max(total - start, 1.0)
            late = start + np.maximum(log.step - start, 0) * scale
            return _at(plan.lr, np.where(log.step < start, log.step, late))

        lengths = start + (plan.steps - start) * np.geomspace(0.1, 10.0, CANDIDATES)
        found = _best(log, stretched, lengths)
        if found is not None:
            return Fault(
                "total_steps",
                f"the decay is spread over about {found:.0f} total steps in place of {plan.steps}",
            )
    return None


def _restart(log: LrLog, plan: Schedule, first: int) -> Fault | None:
    """From some step on the schedule runs from its step 0 again."""

    def restarted(at: float) -> Array:
        again = np.where(log.step >= at, log.step - round(at), log.step)
        return _at(plan.lr, again)

    place = int(np.searchsorted(log.step, first))
    earliest = int(log.step[place - 1]) + 1 if place else 1
    trials = np.unique(np.linspace(max(earliest, 1), first, CANDIDATES).round())
    found = _best(log, restarted, trials)
    if found is None:
        return None
    return Fault(
        "restarted",
        f"the schedule starts again from its step 0 at about step {found:.0f}: the scheduler's "
        "state was not restored when the run was resumed",
    )


def _end(log: LrLog, plan: Schedule, first: int) -> Fault | None:
    """The fall from the peak has its shape, but goes to another rate."""
    fallen = plan.peak_lr - _at(plan.lr, log.step)
    after = log.step >= plan.warmup
    size = float(fallen[after] @ fallen[after])
    if size == 0:
        return None
    ratio = float((plan.peak_lr - log.lr)[after] @ fallen[after]) / size
    lower = np.where(after, (ratio - 1.0) * fallen, 0.0)
    if not 0 < ratio < 2 or not log.agrees(_at(plan.lr, log.step) - lower):
        return None
    ends = [plan.peak_lr - scale * (plan.peak_lr - plan.lr[-1]) for scale in (ratio, 1.0)]
    if ends[0] < -log.slack:
        return None  # no run falls below zero
    return Fault(
        "end",
        f"the rate falls to {max(ends[0], 0.0):.4g} in place of {ends[1]:.4g}: another end, or "
        "lowest rate, was set",
    )


def _cooldown(log: LrLog, plan: Schedule, first: int) -> Fault | None:
    """The last fall begins at another step, with the same slope or with the same end."""
    level = np.flatnonzero(plan.lr >= plan.peak_lr * (1 - 1e-9))
    start = int(level[-1])
    if start >= plan.steps - 1:
        return None
    fall = plan.steps - 1 - start

    def same_slope(begin: float) -> Array:
        return _at(plan.lr, np.where(log.step < start, log.step, _late(log.step, start, begin)))

    def same_end(begin: float) -> Array:
        run = max(plan.steps - 1 - begin, 1.0)
        into = np.maximum(log.step - begin, 0.0) * (fall / run)
        return _at(plan.lr, np.where(log.step < min(start, begin), log.step, start + into))

    begins = np.linspace(max(plan.warmup, 1), plan.steps - 1, 4 * CANDIDATES)
    for hypothesis in (same_slope, same_end):
        found = _best(log, hypothesis, begins)
        if found is not None and found >= min(plan.steps - 2, float(log.step[-1])):
            return Fault("no_cooldown", f"the cooldown, due from step {start} on, never began")
        if found is not None:
            word = "late" if found > start else "early"
            return Fault(
                f"cooldown_{word}",
                f"the cooldown began at about step {found:.0f} in place of {start}, "
                f"{abs(found - start):.0f} steps {word}",
            )
    return None


def _late(step: Steps, start: int, begin: float) -> Array:
    """Steps of the schedule that are run when its last fall begins at `begin`."""
    moved = step - (begin - start)
    return np.asarray(np.where(step < begin, np.minimum(step, start), np.maximum(moved, start)))


def _best(log: LrLog, hypothesis: Callable[[float], Array], trials: Array) -> float | None:
    """The free number with which a hypothesis agrees with the whole log, or None."""
    if trials.size == 0:
        return None
    place = int(np.argmin([log.distance(hypothesis(float(value))) for value in trials]))
    best = float(trials[place])
    low, high = float(trials[max(place - 1, 0)]), float(trials[min(place + 1, trials.size - 1)])
    for _ in range(4):  # each time twenty times as fine
        finer = np.linspace(low, high, 41)
        best = float(finer[np.argmin([log.distance(hypothesis(float(value))) for value in finer])])
        reach = (high - low) / 40
        low, high = best - reach, best + reach
    for value in (float(round(best)), best):  # whole numbers are what people set
        if log.agrees(hypothesis(value)):
            return value
    return None


HYPOTHESES: tuple[Callable[[LrLog, Schedule, int], Fault | None], ...] = (
    _length,
    _past_end,
    _shift,
    _factor,
    _restart,
    _warmup,
    _end,
    _cooldown,
    _total,
)
