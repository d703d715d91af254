"""The rows of a warm-up, and the linear ramps that may explain them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from scaling_laws.importing.samples import Samples, rounded

__all__ = ["Ramp", "ramps"]


@dataclass(frozen=True)
class Ramp:
    """The first rows, taken as a linear warm-up.

    Attributes:
        rows: how many rows rise; the row after them is at or after the peak.
        last_rising: step of the last of them, or the step before which the warm-up ends.
        first_after: step of the row after them.
        start: rate at step 0 on a straight line through them.
        slope: rise a step on that line; None if fewer than two rows show it.
        told: length that was told, if it was.
        row: step and rate of the last rising row, where there is one.
    """

    rows: int
    last_rising: int
    first_after: int
    start: float = 0.0
    slope: float | None = None
    told: int | None = None
    row: tuple[int, float] | None = None

    def lengths(self, peak: float) -> set[int]:
        """Numbers of warm-up steps that the rows allow with that peak."""
        if self.told is not None:
            return {self.told}
        if self.rows == 0:
            return {0}
        tops: set[float] = set()  # steps at which the ramp reaches the peak
        if self.slope is not None and self.slope > 0:
            tops.add((peak - self.start) / self.slope)
        if self.row is not None and self.row[0] > 0 and self.row[1] > 0:
            step, rate = self.row
            tops |= {peak * step / rate, peak * (step + 1) / rate - 1}
        if not tops:  # the only rising row is step 0: the ramp may end anywhere up to the next row
            tops = {1.0, float(self.first_after)}
        near = {round(top) + shift for top in tops if top < 1e9 for shift in (-1, 0, 1)}
        return {top + 1 for top in near if self.last_rising < top <= self.first_after}

    def forms(self, peak: float) -> list[tuple[int, float]]:
        """(warm-up steps, rate of step 0): from zero, from one step's rise, or as the rows say."""
        found: list[tuple[int, float]] = []
        for warmup in sorted(self.lengths(peak)):
            if warmup == 0:
                found.append((0, 0.0))
                continue
            if self.rows == 0:  # told, and not logged: it is said to rise from 0
                found.append((warmup, 0.0))
                continue
            starts = {0.0, rounded(peak / warmup, 12)}
            if self.slope is not None or (self.row is not None and self.row[0] == 0):
                starts |= {rounded(self.start, digits) for digits in (1, 2, 3, 5, 8, 12)}
                starts |= {rounded(self.start / peak, digits) * peak for digits in (1, 2, 3)}
            found += [
                (warmup, start)
                for start in sorted(starts)
                if start == 0 or 1e-9 * peak < start <= peak
            ]
        return found


def ramps(samples: Samples) -> Iterator[Ramp]:
    """The ways to split rows into a warm-up and what follows."""
    top = int(np.argmax(samples.lr >= samples.lr.max() - samples.slack))
    splits = [top]
    if 0 < top < samples.lr.size - 1 and samples.lr[top + 1] < samples.lr[top] - samples.slack[top]:
        splits.append(top + 1)  # the highest row may still be on the ramp
    for rows in splits:
        steps, lr = samples.steps[:rows], samples.lr[:rows]
        after = int(samples.steps[rows])
        if rows == 0:
            # rows that begin after the warm-up say nothing of it
            yield Ramp(0, -1, after, told=samples.warmup or 0)
            continue
        start, slope = float(lr[0]) if steps[0] == 0 else 0.0, None
        if rows >= 2:
            slope, start = (float(each) for each in np.polyfit(steps, lr, 1))
            start = max(start, 0.0)
        row = (int(steps[-1]), float(lr[-1]))
        yield Ramp(rows, int(steps[-1]), after, start, slope, samples.warmup, row)
