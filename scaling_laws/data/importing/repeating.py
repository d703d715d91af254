"""Families that return to their peak: restarts, cycles, WSD-S.

The turning points of the rates restrict the integer parameters of a family to few values; peak and
lowest rate follow from least squares, as for a decay. Every row is checked afterwards.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_laws.data.importing.curve_shapes import SHAPES, Decay
from scaling_laws.data.importing.decayfit import FitRows, solve_share
from scaling_laws.data.importing.ramps import Ramp, first_top, ramps
from scaling_laws.data.importing.recognised import FamilyCandidate
from scaling_laws.data.importing.samples import Samples, rounded, simplest_between

__all__ = ["repeating"]

Array = NDArray[np.float64]
# first step; highest rate, lowest rate and worst residual over slack; values of the family's keys
Trial = tuple[int, tuple[float, float, float], Mapping[str, Any]]
LINEAR, INVERSE = (
    next(s for s in SHAPES if s.name == name) for name in ("linear", "inverse_linear")
)
ROWS = 240  # rows used by a trial
MAX_VALUES = 60  # values of an integer that are tried exhaustively
MAX_FACTOR = 8  # growth of cycles


def repeating(samples: Samples) -> Iterator[FamilyCandidate]:
    """Candidates of families whose rates rise again after their first fall."""
    top, fall = first_top(samples)
    for ramp in ramps(samples, top):
        rises = np.diff(samples.lr[ramp.rows :]) > _rounding_of_differences(
            samples.slack[ramp.rows :]
        )
        if rises.any():
            # rows with equal printed rates may be on either side of the first peak
            begins = _begin_steps(ramp, int(samples.steps[fall]))
            yield from _cosine_restarts(samples, ramp, begins)
            yield from _cyclic(samples, ramp, begins)
            yield from _wsd_s(samples, ramp)


def _rounding_of_differences(slack: Array) -> Array:
    return np.asarray(slack[1:] + slack[:-1])


def _rows(samples: Samples, ramp: Ramp, shape: Decay) -> FitRows | None:
    """The rows used by a trial: evenly spaced ones, and those around the turning points."""
    steps = samples.steps[ramp.rows :].astype(np.float64)
    lr, slack = samples.lr[ramp.rows :], samples.slack[ramp.rows :]
    if shape.line != 1.0 and not (lr > 0).all():
        return None
    if steps.size > ROWS:
        turns = np.flatnonzero(np.diff(np.sign(np.diff(lr))))[: ROWS // 4] + 1
        near_turns = np.concatenate([turns + shift for shift in (-1, 0, 1)])
        even = np.linspace(0, steps.size - 1, ROWS).astype(int)
        indices = np.unique(np.concatenate([even, np.clip(near_turns, 0, steps.size - 1)]))
        steps, lr, slack = steps[indices], lr[indices], slack[indices]
    return FitRows(steps, shape.to_line(lr), 1.0 / (slack * shape.slope(lr)))


def _whole_numbers(low: float, high: float, about: float | None = None) -> list[int]:
    """Integers from low to high; if there are many, those near a guess and round ones."""
    lowest, highest = math.ceil(low - 1e-9), math.floor(high + 1e-9)
    if highest - lowest < MAX_VALUES:
        return list(range(lowest, highest + 1))
    middle = 0.5 * (lowest + highest) if about is None else about
    near = {round(middle) + shift for shift in range(-2, 3)}
    near |= {round(rounded(middle, digits)) for digits in (1, 2, 3)}
    even = np.linspace(lowest, highest, MAX_VALUES).astype(int).tolist()
    return sorted(number for number in {*near, *even} if lowest <= number <= highest)


def _begin_steps(ramp: Ramp, fallen: int) -> list[int]:
    """Possible first steps after the warm-up."""
    if ramp.rows == 0:
        return [ramp.stated_length or 0]
    if ramp.stated_length is not None:
        return [ramp.stated_length - 1, ramp.stated_length]
    return _whole_numbers(max(ramp.last_rising, 0), fallen)


def _members(
    samples: Samples,
    ramp: Ramp,
    shape: str,
    begin: int,
    ends: tuple[float, float, float],
    values: Mapping[str, Any],
    low: str,
) -> Iterator[FamilyCandidate]:
    """Candidates with every warm-up that agrees with the rows."""
    peak, lowest, ratio = ends
    if not 0 < peak < 1e6 or not 0 <= lowest <= peak or math.isinf(ratio):
        return
    total = max(samples.last + 1, samples.total or 0)
    if shape == "wsd_s":
        total = max(total, values["decay_ends"][-1])
    for warmup, start in ramp.forms(peak, begin or None):
        if shape == "wsd_s" or begin in (warmup, warmup - 1):
            named = {**({low: lowest} if lowest else {}), **values}
            member = FamilyCandidate(
                warmup,
                start,
                peak,
                samples.last,
                total,
                shape,
                begin,
                named,
                ramp=ramp.shape,
            )
            if member.exists:
                yield member


def _accepted_members(
    samples: Samples,
    ramp: Ramp,
    shape: str,
    low: str,
    trials: Iterator[Trial],
) -> Iterator[FamilyCandidate]:
    """Candidates of every trial that agrees with its rows, or else of the best one for reports."""
    best: tuple[float, Trial] | None = None
    for trial in trials:
        ratio = trial[1][2]
        if ratio <= 1.0:
            yield from _members(samples, ramp, shape, *trial, low)
        elif best is None or ratio < best[0]:
            best = (ratio, trial)
    if best is not None:
        yield from _members(samples, ramp, shape, *best[1], low)


def _turns(lr: Array, slack: Array) -> list[int]:
    """The first row, the rows at alternating minima and maxima, and the last row.

    An extremum counts if the rates return from it by more than their rounding.
    """
    edges, sign = [0], 1.0
    while len(edges) < MAX_VALUES:
        segment = sign * lr[edges[-1] :]
        turned = segment > np.minimum.accumulate(segment) + 2 * slack[edges[-1] :]
        if not turned.any():
            break
        edges.append(edges[-1] + int(np.argmin(segment[: int(np.argmax(turned))])))
        sign = -sign
    return [*edges, lr.size - 1]


def _cosine_restarts(
    samples: Samples, ramp: Ramp, begins: Sequence[int]
) -> Iterator[FamilyCandidate]:
    """Cycles of cosine decays: every rise happens in one step, between two rows."""
    lr, steps = samples.lr[ramp.rows :], samples.steps[ramp.rows :]
    jumps = np.flatnonzero(np.diff(lr) > _rounding_of_differences(samples.slack[ramp.rows :]))
    rows = _rows(samples, ramp, LINEAR)
    if (np.diff(jumps) == 1).any() or rows is None:
        return  # a rise over several rows is not a restart

    def trials() -> Iterator[Trial]:
        for begin, grow in itertools.product(begins, range(1, MAX_FACTOR + 1)):
            # the n-th restart is after this many lengths of the first cycle
            after = np.cumsum(float(grow) ** np.arange(jumps.size + 1))
            low = float(((steps[jumps] + 1 - begin) / after[:-1]).max())
            high = float(((steps[jumps + 1] - begin) / after[:-1]).min())
            low = max(low, (int(steps[-1]) + 1 - begin) / after[-1], 1.0)
            for cycle in _whole_numbers(low, high) if low <= high else []:
                starts = begin + cycle * np.concatenate([[0.0], after])
                index = np.searchsorted(starts, rows.steps, side="right") - 1
                x = np.clip((rows.steps - starts[index]) / (cycle * float(grow) ** index), 0.0, 1.0)
                ends = solve_share(LINEAR, rows, 0.5 * (1.0 + np.cos(np.pi * x)))
                values = {"cycle": cycle, **({"cycle_factor": grow} if grow > 1 else {})}
                yield begin, ends, values

    yield from _accepted_members(samples, ramp, "cosine_restarts", "end", trials())


def _cyclic(samples: Samples, ramp: Ramp, begins: Sequence[int]) -> Iterator[FamilyCandidate]:
    """Triangles: the lines through rows between two turns meet at the turns."""
    steps, lr = samples.steps[ramp.rows :].astype(np.float64), samples.lr[ramp.rows :]
    rows = _rows(samples, ramp, LINEAR)
    edges = _turns(lr, samples.slack[ramp.rows :])
    lines: list[Array | None] = []
    for begin, stop in itertools.pairwise(edges):
        if stop - begin < 4:  # the rows next to the turns may be on either side of them
            lines.append(None)
            continue
        lines.append(np.polyfit(steps[begin + 1 : stop], lr[begin + 1 : stop], 1))
    turns = {  # index 0 is the first minimum
        index: float((line[1] - next_line[1]) / (next_line[0] - line[0]))
        for index, (line, next_line) in enumerate(itertools.pairwise(lines))
        if line is not None and next_line is not None and line[0] * next_line[0] < 0
    }
    if 0 not in turns or rows is None:
        return
    half = None
    if len(turns) > 1:
        half = float(np.polyfit(list(turns), list(turns.values()), 1)[0])

    def trials() -> Iterator[Trial]:
        for begin in begins:
            middle = 2.0 * (turns[0] - begin if half is None else half)
            if half is not None and abs(turns[0] - half - begin) > 2.0 + 0.02 * half:
                continue
            for period in {round(middle) + shift for shift in (-1, 0, 1)}:
                if period < 2:
                    continue
                x = np.mod(np.maximum(rows.steps - begin, 0.0), period) / period
                ends = solve_share(LINEAR, rows, np.abs(1.0 - 2.0 * x))
                yield begin, ends, {"period": period}

    yield from _accepted_members(samples, ramp, "cyclic", "low", trials())


def _wsd_s(samples: Samples, ramp: Ramp) -> Iterator[FamilyCandidate]:
    """Decays whose inverse is linear, with a return to the peak in one step."""
    rows = _rows(samples, ramp, INVERSE)
    lines = _decay_lines(samples, ramp)
    if rows is None or not lines:
        return
    top = 1.0 / float(samples.lr.max())

    def trials() -> Iterator[Trial]:
        intercept, slope, bracket = lines[0]
        for first_end in _whole_numbers(*bracket) if bracket is not None else []:
            floor = intercept + slope * first_end  # one over the lowest rate
            ends = [round((floor - number[0]) / number[1]) for number in lines]
            starts = [(top - number[0]) / number[1] for number in lines]
            if not floor > top or any(np.diff([0, *ends]) <= 0):
                continue
            for slack in (0.49, 1.0, 2.0):
                spans = [(end - start, end) for end, start in zip(ends, starts, strict=True)]
                low = max((span - slack) / end for span, end in spans)
                high = min((span + slack) / end for span, end in spans)
                if not 0 < low <= high < 1:
                    continue
                share = simplest_between(low, high)
                values = {"decay_ends": tuple(ends), "decay_fraction": share}
                yield 0, solve_share(INVERSE, rows, _wsd_s_share(rows, ends, share)), values

    yield from _accepted_members(samples, ramp, "wsd_s", "end", trials())


def _wsd_s_share(rows: FitRows, ends: Sequence[int], fraction: float) -> Array:
    """Position between peak and end on the scale of the inverse rate: 1 at the peak."""
    share = np.ones_like(rows.steps)
    for end in ends:
        length = max(1, round(end * fraction))
        x = (rows.steps - (end - length)) / length
        share = np.where((x >= 0) & (x < 1), 1.0 - x, share)
    return share


def _decay_lines(samples: Samples, ramp: Ramp) -> list[tuple[float, float, tuple[int, int] | None]]:
    """(intercept, slope, range of its last step) of the inverse rate in every decay.

    Empty if a decay has too few rows for a line.
    """
    steps, lr = samples.steps[ramp.rows :], samples.lr[ramp.rows :]
    slack = samples.slack[ramp.rows :]
    jumps = np.flatnonzero(np.diff(lr) > _rounding_of_differences(slack))
    if (np.diff(jumps) == 1).any() or not (lr > 0).all():
        return []
    lines: list[tuple[float, float, tuple[int, int] | None]] = []
    edges = [0, *(jumps + 1).tolist(), lr.size]
    for number, (begin, stop) in enumerate(itertools.pairwise(edges)):
        inside = np.arange(begin, stop)[lr[begin:stop] < samples.lr.max() - 2 * slack[begin:stop]]
        if inside.size == 0 and number == len(jumps):
            break  # after the last decay the rows are at the peak
        if inside.size < 2:
            return []
        slope, intercept = np.polyfit(
            steps[inside].astype(np.float64), 1.0 / lr[inside], 1, w=lr[inside] ** 2 / slack[inside]
        )
        if not slope > 0:
            return []
        bracket = None
        if number < len(jumps):
            bracket = (int(steps[stop - 1]) + 1, int(steps[stop]))
        lines.append((float(intercept), float(slope), bracket))
    return lines
