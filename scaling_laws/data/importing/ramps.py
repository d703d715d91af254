"""Rows of a warm-up, and the ramps that agree with them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from scaling_laws.data.importing.samples import Samples, rounded
from scaling_laws.data.importing.warmups import LINEAR, SHAPED, Warmup

__all__ = ["Ramp", "first_top", "ramps"]

MAX_LENGTHS = 2000  # lengths that are tried for a non-linear warm-up
LOOSE = 1.5  # times the slack: lengths are from least squares, and every row is checked later


@dataclass(frozen=True)
class Ramp:
    """The first rows, interpreted as a warm-up.

    Attributes:
        rows: number of rising rows; the row after them is at or after the peak.
        last_rising: step of the last of them, or the step before which the warm-up ends.
        first_after: step of the row after them.
        start: rate at step 0 on a straight line through them.
        slope: rise per step on that line; None if there are fewer than two rows.
        stated_length: warm-up steps given by the user, if any.
        row: step and rate of the last rising row, if any.
        shape: of the warm-up.
        allowed_forms: (length, rate of step 0) pairs that agree with the rows; not for linear ones.
    """

    rows: int
    last_rising: int
    first_after: int
    start: float = 0.0
    slope: float | None = None
    stated_length: int | None = None
    row: tuple[int, float] | None = None
    shape: Warmup = LINEAR
    allowed_forms: tuple[tuple[int, float], ...] = ()

    def lengths(self, peak: float, begins: int | None = None) -> set[int]:
        """Numbers of warm-up steps that agree with the rows for a peak.

        If the slope is unknown, only the shortest and the longest length are returned; the longest
        warm-up ends at the row after the rising ones, or at step `begins`, where the next part
        starts, if that is earlier.
        """
        if self.shape is not LINEAR:
            return {length for length, _ in self.allowed_forms}
        if self.stated_length is not None:
            return {self.stated_length}
        if self.rows == 0:
            return {0}
        tops: set[float] = set()  # steps at which the ramp reaches the peak
        if self.slope is not None and self.slope > 0:
            tops.add((peak - self.start) / self.slope)
        if self.row is not None and self.row[0] > 0 and self.row[1] > 0:
            step, rate = self.row
            tops |= {peak * step / rate, peak * (step + 1) / rate - 1}
        if not tops:  # the only rising row is step 0: the ramp may end anywhere up to the next row
            latest = self.first_after if begins is None else min(begins, self.first_after)
            tops = {1.0, float(latest)}
        near = {round(top) + shift for top in tops if top < 1e9 for shift in (-1, 0, 1)}
        return {top + 1 for top in near if self.last_rising < top <= self.first_after}

    def forms(self, peak: float, begins: int | None = None) -> list[tuple[int, float]]:
        """(warm-up steps, rate of step 0): from zero, from the rise of one step, or as logged."""
        if self.shape is not LINEAR:
            return [form for form in self.allowed_forms if form[1] <= peak]
        forms: list[tuple[int, float]] = []
        for warmup in sorted(self.lengths(peak, begins)):
            if warmup == 0:
                forms.append((0, 0.0))
                continue
            if self.rows == 0:  # stated by the user, not logged: it rises from 0
                forms.append((warmup, 0.0))
                continue
            starts = {0.0, rounded(peak / warmup, 12)}
            if self.slope is not None or (self.row is not None and self.row[0] == 0):
                starts |= {rounded(self.start, digits) for digits in (1, 2, 3, 5, 8, 12)}
                starts |= {rounded(self.start / peak, digits) * peak for digits in (1, 2, 3)}
            forms += [
                (warmup, start)
                for start in sorted(starts)
                if start == 0 or 1e-9 * peak < start <= peak
            ]
        return forms


def first_top(samples: Samples) -> tuple[int, int]:
    """The first row at the first peak, and the first row that has fallen from it, else the last."""
    highest = np.maximum.accumulate(samples.lr)
    fallen = np.append(samples.lr < highest - 2 * samples.slack, True)
    fall = int(np.argmax(fallen))
    top = int(np.argmax(samples.lr >= highest[fall - 1] - samples.slack))
    return top, min(fall, samples.lr.size - 1)


def ramps(samples: Samples, top: int | None = None) -> Iterator[Ramp]:
    """The ways to split rows into a warm-up and the rows after it.

    Args:
        samples: the rows.
        top: the row at the peak, or the last before it; default the first of the highest rates.
    """
    if top is None:
        top = int(np.argmax(samples.lr >= samples.lr.max() - samples.slack))
    splits = [top]
    if 0 < top < samples.lr.size - 1 and samples.lr[top + 1] < samples.lr[top] - samples.slack[top]:
        splits.append(top + 1)  # the highest row may still be on the ramp
    for rows in splits:
        steps, lr = samples.steps[:rows], samples.lr[:rows]
        after = int(samples.steps[rows])
        if rows == 0:
            # the rows begin after the warm-up
            yield Ramp(0, -1, after, stated_length=samples.warmup or 0)
            continue
        start, slope, straight = float(lr[0]) if steps[0] == 0 else 0.0, None, True
        if rows >= 2:
            slope, start = (float(coefficient) for coefficient in np.polyfit(steps, lr, 1))
            residual = np.abs(start + slope * steps - lr)
            straight = bool((residual <= LOOSE * samples.slack[:rows]).all())
            start = max(start, 0.0)
        row = (int(steps[-1]), float(lr[-1]))
        plain = Ramp(rows, int(steps[-1]), after, start, slope, samples.warmup, row)
        yield plain
        if not straight:
            for shape in SHAPED:
                allowed_forms = tuple(_forms(samples, plain, shape))
                if allowed_forms:
                    yield replace(plain, shape=shape, allowed_forms=allowed_forms)


def _forms(samples: Samples, ramp: Ramp, shape: Warmup) -> Iterator[tuple[int, float]]:
    """Lengths and first rates of a non-linear warm-up that agree with its rows."""
    lengths = np.arange(ramp.last_rising + 2, ramp.first_after + 2)
    if ramp.stated_length is not None:
        lengths = np.array([ramp.stated_length])
    elif lengths.size > MAX_LENGTHS:
        lengths = lengths[np.linspace(0, lengths.size - 1, MAX_LENGTHS).astype(int)]
    at = samples.steps[: ramp.rows].astype(np.float64)
    lr, slack = samples.lr[: ramp.rows], samples.slack[: ramp.rows]
    for length in lengths.tolist():
        share = shape.share(at, length)
        pair = np.stack([share, 1.0 - share], axis=1)
        for count in (1, 2):  # from zero, or from a fitted rate
            ends = np.linalg.lstsq(pair[:, :count] / slack[:, None], lr / slack, rcond=None)[0]
            if (np.abs(pair[:, :count] @ ends - lr) <= LOOSE * slack).all():
                start = float(ends[1]) if count == 2 else 0.0
                for value in dict.fromkeys(
                    rounded(start, digits) for digits in (1, 2, 3, 5, 8, 12)
                ):
                    if value >= 0:
                        yield length, value
                break
