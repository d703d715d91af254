"""Evidence in a log that its rates belong to the previous or the next update.

A schedule shifted by one step is usually another valid schedule. Evidence, in decreasing order: an
offset with which every rate agrees with a family, if none does without it; one with which a decay
ends at the planned last step; and rounder numbers. It is reported and not acted on.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import UsageError
from scaling_laws.data.importing.curve import LossCurve
from scaling_laws.data.importing.options import Finding
from scaling_laws.data.importing.printed_precision import precision_of
from scaling_laws.data.importing.recognise import Explanation, recognise
from scaling_laws.data.importing.samples import Samples, digits_of, rounded
from scaling_laws.data.importing.schedule_candidates import DecayCandidate
from scaling_laws.data.runs.logged_schedule import LR_TOLERANCE

__all__ = ["ShiftedRatesError", "exact_offsets", "offset_evidence", "recognise_shifted"]

SHIFTS = (1, -1)
CLEARER = 2  # fewer digits that make numbers significantly rounder
WHY = {
    1: "if the trainer logs the rate after its scheduler's step",
    -1: "if the trainer logs the rate one update late",
}


class ShiftedRatesError(UsageError):
    """No family fits the rates, but one does with another offset.

    Attributes:
        offsets: values of `--lr-offset` with which one does.
    """

    def __init__(
        self, message: str = "", *, path: Path | str | None = None, offsets: tuple[int, ...] = ()
    ) -> None:
        super().__init__(message, path=path)
        self.offsets = offsets


def exact_offsets(lr: NDArray[np.float64], curve: LossCurve) -> tuple[int, ...]:
    """Of -1, 0 and 1, those by which logged rates agree with a schedule to their printed digits.

    Args:
        lr: rates of the schedule: (steps,).
        curve: its `lr_steps` are those of the offset that is used now, which is 0 here.
    """
    slack = precision_of(curve.lr).half_width(curve.lr)
    matches = []
    for shift in (0, *SHIFTS):
        at = curve.lr_steps + shift
        inside = (at >= 0) & (at < lr.size)
        residual = np.abs(lr[np.clip(at, 0, lr.size - 1)] - curve.lr)
        if inside.any() and (residual <= slack)[inside].all():
            matches.append(shift)
    return tuple(matches)


def recognise_shifted(samples: Samples) -> list[tuple[int, Explanation]]:
    """Shifts with which a family fits every rate, and the family."""
    matches = []
    for shift in SHIFTS:
        at = samples.steps + shift
        inside = at >= 0
        shifted = replace(
            samples,
            steps=at[inside],
            lr=samples.lr[inside],
            slack=samples.slack[inside],
        )
        if not inside.any() or not (shifted.lr > 0).any():
            continue
        explained = recognise(shifted)
        if explained.best is not None and explained.disagreement <= LR_TOLERANCE:
            matches.append((shift, explained.best))
    return matches


def offset_evidence(best: Explanation, samples: Samples, offset: int) -> Finding | None:
    """Evidence for another offset if a family fits the rates with this one.

    Args:
        best: the family.
        samples: the logged rates.
        offset: the current one.
    """
    total = samples.total
    for shift in SHIFTS:
        shifted = best.shifted(shift)
        if shifted is None or (best.spec is not None and shifted.spec is None):
            continue
        at = samples.steps + shift
        residual = np.abs(shifted.rates(at[at >= 0]) - samples.lr[at >= 0])
        if not (residual <= samples.slack[at >= 0]).all():
            continue
        if total is not None and best.length and shifted.length == total:
            reason = f"only the latter ends at the {total} steps that were planned"
        elif _digits(shifted) <= _digits(best) - CLEARER and best.length != total:
            reason = "the latter has rounder numbers"
        else:
            continue
        words = (
            f"the rates agree exactly both with --lr-offset {offset}, as {best.words}, and with "
            f"--lr-offset {offset + shift}, as {shifted.words}; {reason}: pass --lr-offset "
            f"{offset + shift} {WHY[shift]}"
        )
        return Finding("lr_offset", words)
    return None


def _digits(schedule: Explanation) -> int:
    """Digits of the numbers that a person sets: steps, and a first rate other than the usual ones.

    Some trainers reach the peak at step `warmup` and some a step before, so both count.
    """
    steps = [schedule.length]
    if isinstance(schedule, DecayCandidate):
        steps += schedule.at
        if schedule.decay is not None and schedule.decay_start > schedule.warmup:
            steps.append(schedule.decay_start)
    if not schedule.warmup:
        return sum(map(digits_of, steps))
    usual = (0.0, *(rounded(schedule.peak / schedule.warmup, digits) for digits in (6, 12)))
    rise = (schedule.peak - schedule.start) / max(schedule.warmup - 1, 1)
    plain = schedule.start in usual or abs(schedule.start - rise) <= 1e-6 * schedule.peak
    start = 0 if plain else digits_of(schedule.start)
    return (
        start
        + sum(map(digits_of, steps))
        + min(digits_of(schedule.warmup), digits_of(schedule.warmup - 1))
    )
