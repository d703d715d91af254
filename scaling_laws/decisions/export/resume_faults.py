"""Faults of runs that were resumed, or whose schedule counts something else than updates.

Each takes a log, the schedule and the first step that differs, and returns the fault or None.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from scaling_laws.decisions.export.lr_log import Array, Fault, LrLog, best_number, rates_at
from scaling_laws.models import Schedule

__all__ = ["held_rate", "second_warmup", "shift_by_steps"]

FEW = 3  # rows that determine a line with one row to spare
MORE = 10  # rows after a shift that the rows before it need not explain
CLOSER = 1e-2  # a hypothesis leaves at most this share of the squared distance


def held_rate(log: LrLog, plan: Schedule, first: int) -> Fault | None:
    """From some row on, the rate no longer changes."""
    level = np.abs(log.lr - log.lr[-1]) <= 0.01 * log.slack
    row = int(np.flatnonzero(~level)[-1]) + 1 if not level.all() else 0
    before = np.arange(log.step.size) < row
    expected = rates_at(plan.lr, log.step)
    if log.step.size - row < FEW or not log.agrees(np.where(before, expected, log.lr[-1])):
        return None
    if row == 0:
        return Fault(
            "held", f"every rate is {log.lr[-1]:.4g}: the schedule's changes were not applied"
        )
    return Fault(
        "held",
        f"the rate is held from step {log.step[row]} on, at {log.lr[-1]:.4g}: the scheduler was "
        "not stepped, or not restored when the run was resumed",
    )


def second_warmup(log: LrLog, plan: Schedule, first: int) -> Fault | None:
    """After a resumption the rate rises from near 0 to the schedule and then follows it."""
    expected = rates_at(plan.lr, log.step)
    bad = np.flatnonzero(np.abs(log.lr - expected) > log.slack)
    rows = np.arange(bad[0], bad[-1] + 1)
    if rows.size < FEW or bad[0] == 0 or bad[-1] == log.step.size - 1:
        return None
    if (log.lr[rows] >= expected[rows]).any() or log.lr[rows[0]] > 0.5 * expected[rows[0]]:
        return None
    steps = log.step[rows].astype(np.float64)
    # a multiplier that rises on a line, or the rate itself
    for factor in (expected[rows], np.full(rows.size, float(expected[rows[-1]]))):
        slope, start = np.polyfit(steps - steps[0], log.lr[rows] / factor, 1, w=factor)
        ramp = (start + slope * (steps - steps[0])) * factor
        if slope <= 0 or (np.abs(ramp - log.lr[rows]) > log.slack).any():
            continue
        begin = steps[0] - start / slope
        end = steps[0] + (1.0 - start) / slope
        begin = float(np.clip(begin, log.step[bad[0] - 1], steps[0]))
        return Fault(
            "second_warmup",
            f"a new warm-up of {end - begin:.0f} steps at {begin:.0f}, which ends on the schedule: "
            "the resumed run has a warm-up of its own",
        )
    return None


def shift_by_steps(log: LrLog, plan: Schedule, first: int) -> Fault | None:
    """From some step on, the rates are the schedule's of another step, a fixed number away."""
    expected = rates_at(plan.lr, log.step)
    bad = np.flatnonzero(np.abs(log.lr - expected) > log.slack)
    late = bad[bad.size // 2 :]
    if late.size < FEW:
        return None
    tail = LrLog(log.step[late], log.lr[late], log.slack)
    reach = plan.steps - 1
    trials = np.unique(np.linspace(-reach, reach, 4 * plan.steps if plan.steps < 500 else 2000))
    shift = best_number(tail, lambda by: rates_at(plan.lr, tail.step - by), trials)
    if shift is None or round(shift) == 0:
        return None
    by = round(shift)
    moved = rates_at(plan.lr, log.step - by)
    after = LrLog(tail.step, tail.lr, tail.slack)
    if after.distance(moved[late]) > CLOSER * after.distance(expected[late]):
        return None
    agree = np.abs(log.lr - moved) <= log.slack
    row = int(np.flatnonzero(~agree)[-1]) + 1 if not agree.all() else 0
    words = f"{abs(by)} steps {'late' if by > 0 else 'ahead'}"
    if row == 0:
        return Fault(
            "shifted",
            f"every rate is the schedule's, {words}: the scheduler's counter did not start at 0",
        )
    return _from_row(log, plan, row, by, words, expected)


def _from_row(
    log: LrLog, plan: Schedule, row: int, by: int, words: str, expected: Array
) -> Fault | None:
    """A shift that begins within the run, and what came before it."""
    before = LrLog(log.step[:row], log.lr[:row], log.slack)
    if before.agrees(expected[:row]):
        return Fault(
            "shifted",
            f"{words} from step {log.step[row]} on: the run was resumed with a scheduler of "
            "another step, or updates were skipped",
        )

    def slower(rate: float) -> Array:
        begin = by / (1.0 - rate)
        return rates_at(plan.lr, np.where(log.step < begin, log.step * rate, log.step - by))

    # at another speed until the difference has grown to the shift
    speeds = np.linspace(0.01, 0.99, 197) if by > 0 else np.linspace(1.01, 8.0, 700)
    rate = best_number(log, slower, speeds)
    if rate is not None:
        simple = float(Fraction(rate).limit_denominator(16))  # batch sizes have small ratios
        rate = simple if simple != 1.0 and log.agrees(slower(simple)) else rate
        return Fault(
            "shifted",
            f"{words} from step {by / (1.0 - rate):.0f} on; before, the schedule ran at "
            f"{rate:.3g} times its speed: it counts samples or tokens, and the batch had another "
            "size",
        )
    if log.step.size - row < max(MORE, row):
        return None
    return Fault(
        "shifted",
        f"{words} from step {log.step[row]} on; the rates before follow neither the schedule nor "
        "one of another speed",
    )
