"""Whether logged rates are those of the update before or after: what a log shows of it.

A schedule that is moved by a step is mostly a schedule again, with other numbers. So three things
count, in falling order: an offset at which every rate agrees with a family, where none does without
it; the one at which a decay ends at the planned last step; and rounder numbers. They are said, and
nothing is done about them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import UsageError
from scaling_laws.data.importing.curve import Curve
from scaling_laws.data.importing.options import Finding
from scaling_laws.data.importing.precision import precision_of
from scaling_laws.data.importing.recognise import Explanation, recognise
from scaling_laws.data.importing.samples import Samples, digits_of, rounded
from scaling_laws.data.importing.schedule_candidates import Candidate
from scaling_laws.data.runs.logged_schedule import LR_TOLERANCE

__all__ = ["MovedRatesError", "elsewhere", "exact_offsets", "moved_evidence"]

SHIFTS = (1, -1)
CLEARER = 2  # digits fewer that make numbers rounder, and not by chance
WHY = {
    1: "if the trainer logs the rate after its scheduler's step",
    -1: "if the trainer logs the rate one update late",
}


class MovedRatesError(UsageError):
    """No family explains the rates, but some does with another offset.

    Attributes:
        offsets: values of `--lr-offset` with which one does.
    """

    def __init__(
        self, message: str = "", *, path: Path | str | None = None, offsets: tuple[int, ...] = ()
    ) -> None:
        super().__init__(message, path=path)
        self.offsets = offsets


def exact_offsets(lr: NDArray[np.float64], curve: Curve) -> tuple[int, ...]:
    """Of -1, 0 and 1, those by which logged rates agree with a schedule to their printed digits.

    Args:
        lr: rates of the schedule: (steps,).
        curve: its `lr_steps` are those of the offset that is used now, which counts as 0.
    """
    slack = precision_of(curve.lr).half_width(curve.lr)
    found = []
    for shift in (0, *SHIFTS):
        at = curve.lr_steps + shift
        inside = (at >= 0) & (at < lr.size)
        away = np.abs(lr[np.clip(at, 0, lr.size - 1)] - curve.lr)
        if inside.any() and (away <= slack)[inside].all():
            found.append(shift)
    return tuple(found)


def elsewhere(samples: Samples) -> list[tuple[int, Explanation]]:
    """Shifts by which a family explains every rate, and the family, where none does without."""
    found = []
    for shift in SHIFTS:
        at = samples.steps + shift
        inside = at >= 0
        moved = replace(
            samples,
            steps=at[inside],
            lr=samples.lr[inside],
            slack=samples.slack[inside],
        )
        if not inside.any() or not (moved.lr > 0).any():
            continue
        explained = recognise(moved)
        if explained.best is not None and explained.disagreement <= LR_TOLERANCE:
            found.append((shift, explained.best))
    return found


def moved_evidence(best: Explanation, samples: Samples, offset: int) -> Finding | None:
    """What speaks for another offset, where a family explains the rates with this one.

    Args:
        best: the family.
        samples: the logged rates.
        offset: the one that is used now.
    """
    total = samples.total
    for shift in SHIFTS:
        moved = best.shifted(shift)
        if moved is None or (best.spec is not None and moved.spec is None):
            continue
        at = samples.steps + shift
        away = np.abs(moved.rates(at[at >= 0]) - samples.lr[at >= 0])
        if not (away <= samples.slack[at >= 0]).all():
            continue
        if total is not None and best.length and moved.length == total:
            reason = f"only the latter ends at the {total} steps that were planned"
        elif _digits(moved) <= _digits(best) - CLEARER and best.length != total:
            reason = "the latter has rounder numbers"
        else:
            continue
        words = (
            f"the rates agree exactly both with --lr-offset {offset}, as {best.words}, and with "
            f"--lr-offset {offset + shift}, as {moved.words}; {reason}: pass --lr-offset "
            f"{offset + shift} {WHY[shift]}"
        )
        return Finding("lr_offset", words)
    return None


def _digits(found: Explanation) -> int:
    """Digits of the numbers that a person sets: steps, and a first rate other than the usual ones.

    Some trainers reach the peak at step `warmup` and some a step before, so both count.
    """
    steps = [found.length]
    if isinstance(found, Candidate):
        steps += found.at
        if found.decay is not None and found.decay_start > found.warmup:
            steps.append(found.decay_start)
    if not found.warmup:
        return sum(map(digits_of, steps))
    usual = (0.0, *(rounded(found.peak / found.warmup, digits) for digits in (6, 12)))
    rise = (found.peak - found.start) / max(found.warmup - 1, 1)
    plain = found.start in usual or abs(found.start - rise) <= 1e-6 * found.peak
    start = 0 if plain else digits_of(found.start)
    return (
        start
        + sum(map(digits_of, steps))
        + min(digits_of(found.warmup), digits_of(found.warmup - 1))
    )
