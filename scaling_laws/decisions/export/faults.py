"""Common scheduler bugs, by which a trainer applies another schedule than the intended one.

Every fault is a hypothesis: the rates that it would have logged, with at most one fitted number,
must agree with every logged rate. The first that does, in order of simplicity, is reported.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from scaling_laws.decisions.export.lr_log import (
    Array,
    Fault,
    LrLog,
    Steps,
    best_number,
    rates_at,
)
from scaling_laws.decisions.export.resume_faults import held_rate, second_warmup, shift_by_steps
from scaling_laws.models import Schedule

__all__ = ["find_fault", "shifted_log"]

SHIFTS = (1, -1)
CANDIDATES = 400  # values of the fitted number that are tried before it is refined


def shifted_log(log: LrLog, lr: Array, expected: Array) -> Fault | None:
    """An off-by-one error within the tolerance: a shift must fit the log far better."""
    unshifted = log.distance(expected)
    if unshifted <= 1e-12 * float(np.square(log.lr).sum()):
        return None
    best = min(SHIFTS, key=lambda shift: log.distance(rates_at(lr, log.step + shift)))
    if log.distance(rates_at(lr, log.step + best)) > 1e-2 * unshifted:
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


def _off_by(shift: int) -> Fault:
    if shift > 0:
        return Fault(
            "off_by_one",
            "each row contains the rate of the step after it: the rate was read after the "
            "scheduler had stepped (the log is wrong, not the run), or the run is one step ahead",
        )
    return Fault(
        "off_by_one",
        "each row contains the rate of the step before it: logged steps count from 1, or the "
        "scheduler is one step late",
    )


def _shift(log: LrLog, plan: Schedule, first: int) -> Fault | None:
    for shift in SHIFTS:
        if log.agrees(rates_at(plan.lr, log.step + shift)):
            return _off_by(shift)
    return None


def _length(log: LrLog, plan: Schedule, first: int) -> Fault | None:
    """Every row agrees, and the run continues beyond the schedule's end."""
    if log.step[-1] < plan.steps or not log.agrees(rates_at(plan.lr, log.step)):
        return None
    return Fault(
        "longer_run",
        f"the run continues to step {log.step[-1]} at the last rate; the schedule has "
        f"{plan.steps} steps",
    )


def _past_end(log: LrLog, plan: Schedule, first: int) -> Fault | None:
    """Every row up to the schedule's end agrees; later rows do not."""
    inside = log.step < plan.steps
    if inside.all() or not inside.any():
        return None
    if not LrLog(log.step[inside], log.lr[inside], log.slack).agrees(
        rates_at(plan.lr, log.step[inside])
    ):
        return None
    return Fault(
        "past_end",
        f"every row up to the schedule's end agrees; the log continues to step {log.step[-1]} at "
        f"other rates, but the schedule has {plan.steps} steps",
    )


def _factor(log: LrLog, plan: Schedule, first: int) -> Fault | None:
    expected = rates_at(plan.lr, log.step)
    norm = float(expected @ expected)
    if norm == 0:
        return None
    factor = float(log.lr @ expected) / norm
    # a factor far above 1 amplifies rounding, too
    scaled = LrLog(log.step, log.lr / factor if factor > 1 else log.lr, log.slack)
    if factor > 0 and scaled.agrees(expected * min(factor, 1.0)):
        peak = factor * plan.peak_lr
        if abs(peak - 1.0) < 0.01:
            return Fault("multiplier_logged", "the log contains multipliers of the peak, not rates")
        if abs(factor - plan.peak_lr) < 0.01 * plan.peak_lr:
            return Fault(
                "applied_twice",
                f"every rate is {factor:.4g} times the schedule's, which is its peak: absolute "
                "rates were used as multipliers of the optimizer's LR; export with "
                "--form multiplier, or give the optimizer an LR of 1",
            )
        return Fault(
            "factor",
            f"every rate is {factor:.4g} times the schedule's: the peak was set to {peak:.4g} "
            f"instead of {plan.peak_lr:.4g}",
        )
    if log.agrees(expected**2 / plan.peak_lr):
        return Fault(
            "applied_twice",
            "every multiplier is squared: two schedulers act on the same optimizer, or one is "
            "applied twice",
        )
    return None


def _warmup(log: LrLog, plan: Schedule, first: int) -> Fault | None:
    """A warm-up of another length; the schedule after the longer of both warm-ups."""
    deviating = np.flatnonzero(np.abs(log.lr - rates_at(plan.lr, log.step)) > log.slack)
    bound = max(plan.warmup, int(log.step[deviating[-1]])) + 1
    top = float(plan.lr[min(plan.warmup, plan.steps - 1)])
    if plan.warmup == 0 and bound > plan.steps // 2:
        return None

    def with_warmup(steps: float) -> Array:
        ramp = top * np.minimum(log.step / max(steps, 1e-9), 1.0)
        after = np.maximum(log.step, plan.warmup)
        return np.asarray(np.where(log.step < steps, ramp, rates_at(plan.lr, after)))

    reach = max(2 * bound, 2 * plan.warmup, 4)
    warmup = best_number(log, with_warmup, np.linspace(0, min(reach, plan.steps), CANDIDATES))
    if warmup is None:
        return None
    return Fault(
        "warmup",
        f"the warm-up reaches the peak at about step {warmup:.0f} instead of "
        f"step {max(plan.warmup - 1, 0)}",
    )


def _total(log: LrLog, plan: Schedule, first: int) -> Fault | None:
    """The decay after the warm-up is stretched or compressed: another number of total steps."""
    below = np.flatnonzero(plan.lr[plan.warmup :] < plan.lr[plan.warmup :].max() * (1 - 1e-9))
    starts = {plan.warmup, 0}
    if below.size:
        starts.add(plan.warmup + int(below[0]))
    for start in sorted(starts, reverse=True):

        def stretched(total: float, start: int = start) -> Array:
            scale = (plan.steps - start) / max(total - start, 1.0)
            scaled = start + np.maximum(log.step - start, 0) * scale
            return rates_at(plan.lr, np.where(log.step < start, log.step, scaled))

        lengths = start + (plan.steps - start) * np.geomspace(0.1, 10.0, CANDIDATES)
        total = best_number(log, stretched, lengths)
        if total is not None:
            return Fault(
                "total_steps",
                f"the decay is spread over about {total:.0f} total steps instead of {plan.steps}",
            )
    return None


def _restart(log: LrLog, plan: Schedule, first: int) -> Fault | None:
    """From some step on, the schedule restarts from its step 0."""

    def restarted(at: float) -> Array:
        return rates_at(plan.lr, np.where(log.step >= at, log.step - round(at), log.step))

    row = int(np.searchsorted(log.step, first))
    earliest = int(log.step[row - 1]) + 1 if row else 1
    trials = np.unique(np.linspace(max(earliest, 1), first, CANDIDATES).round())
    restart = best_number(log, restarted, trials)
    if restart is None:
        return None
    return Fault(
        "restarted",
        f"the schedule restarts from its step 0 at about step {restart:.0f}: the scheduler's state "
        "was not restored when the run was resumed",
    )


def _end(log: LrLog, plan: Schedule, first: int) -> Fault | None:
    """The fall from the peak has the right shape, but another final rate."""
    drop = plan.peak_lr - rates_at(plan.lr, log.step)
    after = log.step >= plan.warmup
    norm = float(drop[after] @ drop[after])
    if norm == 0:
        return None
    ratio = float((plan.peak_lr - log.lr)[after] @ drop[after]) / norm
    lower = np.where(after, (ratio - 1.0) * drop, 0.0)
    if not 0 < ratio < 2 or not log.agrees(rates_at(plan.lr, log.step) - lower):
        return None
    end, planned = (plan.peak_lr - scale * (plan.peak_lr - plan.lr[-1]) for scale in (ratio, 1.0))
    if end < -log.slack:
        return None  # learning rates are not negative
    return Fault(
        "end",
        f"the rate falls to {max(end, 0.0):.4g} instead of {planned:.4g}: another end, or lowest "
        "rate, was set",
    )


def _cooldown(log: LrLog, plan: Schedule, first: int) -> Fault | None:
    """The last fall starts at another step, with the same slope or the same end."""
    level = np.flatnonzero(plan.lr >= plan.peak_lr * (1 - 1e-9))
    start = int(level[-1])
    if start >= plan.steps - 1:
        return None
    fall = plan.steps - 1 - start

    def same_slope(begin: float) -> Array:
        delayed = _delayed(log.step, start, begin)
        return rates_at(plan.lr, np.where(log.step < start, log.step, delayed))

    def same_end(begin: float) -> Array:
        length = max(plan.steps - 1 - begin, 1.0)
        progress = np.maximum(log.step - begin, 0.0) * (fall / length)
        return rates_at(plan.lr, np.where(log.step < min(start, begin), log.step, start + progress))

    begins = np.linspace(max(plan.warmup, 1), plan.steps - 1, 4 * CANDIDATES)
    for hypothesis in (same_slope, same_end):
        begin = best_number(log, hypothesis, begins)
        if begin is not None and begin >= min(plan.steps - 2, float(log.step[-1])):
            return Fault("no_cooldown", f"the cooldown, due from step {start} on, never began")
        if begin is not None:
            word = "late" if begin > start else "early"
            return Fault(
                f"cooldown_{word}",
                f"the cooldown began at about step {begin:.0f} instead of {start}, "
                f"{abs(begin - start):.0f} steps {word}",
            )
    return None


def _delayed(step: Steps, start: int, begin: float) -> Array:
    """Steps of the schedule that are applied if its last fall starts at `begin`."""
    shifted = step - (begin - start)
    return np.asarray(np.where(step < begin, np.minimum(step, start), np.maximum(shifted, start)))


HYPOTHESES: tuple[Callable[[LrLog, Schedule, int], Fault | None], ...] = (
    _length,
    _past_end,
    _shift,
    _factor,
    _restart,
    _warmup,
    _end,
    _cooldown,
    held_rate,
    second_warmup,
    shift_by_steps,
    _total,
)
