"""Candidate schedules for sampled rates: their fits and specs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from scaling_laws.data.importing.curve_shapes import Decay
from scaling_laws.data.importing.decayfit import DecayFit, FitRows, fit_decay, rows_of, solve_ends
from scaling_laws.data.importing.ramps import Ramp
from scaling_laws.data.importing.samples import (
    Samples,
    digits_of,
    rounded,
    roundest,
    simplest_share,
)
from scaling_laws.data.importing.warmups import COSINE, LINEAR, ScheduleCandidate
from scaling_laws.models import format_number

__all__ = ["DecayCandidate", "Samples", "decays", "level", "stages"]

Array = NDArray[np.float64]
Whole = NDArray[np.int64]
MAX_STAGES = 8
POWER_DIGITS = 4
# description length of a shape in addition to its numbers, in digits
COSTS = {"constant": 0.0, "linear": 1.0, "cosine": 1.0, "stages": 2.0, "1-sqrt": 2.0}
OTHER, POWERED, NO_SPEC = 3.0, 6.0, 1.5


@dataclass(frozen=True, eq=False)
class DecayCandidate(ScheduleCandidate):
    """A schedule: a warm-up, a constant phase, then stages or one decay.

    Attributes:
        decay: shape of the decay, if any.
        decay_start: step 0 of the decay.
        decay_end: step at which it reaches `end`.
        end: its lowest rate.
        power: exponent of a power decay.
        at: first step of each stage, for stages.
        to: rates of the stages.
    """

    decay: Decay | None = None
    decay_start: int = 0
    decay_end: int = 0
    end: float = 0.0
    power: float = 1.0
    at: tuple[int, ...] = ()
    to: tuple[float, ...] = field(default=(), repr=False)

    @property
    def shape(self) -> str:
        """Its name in the list of tried shapes."""
        if self.decay is not None:
            return self.decay.name
        return "stages" if self.at else "constant"

    @property
    def smooth(self) -> bool:
        """Whether all rates differ, so that full agreement is not a coincidence."""
        return self.decay is not None

    @property
    def length(self) -> int:
        """Required number of steps; 0 if any."""
        return self.decay_end

    def shifted(self, by: int) -> DecayCandidate | None:
        """The same rates shifted by some steps; None if it would not cover step 0."""
        ramp_changes = self.moved_ramp(by)
        if ramp_changes is None or (self.decay is not None and self.decay_start + by < 0):
            return None
        return replace(
            self,
            **ramp_changes,
            decay_start=self.decay_start + by if self.decay is not None else 0,
            decay_end=self.decay_end + by if self.decay is not None else 0,
            at=tuple(step + by for step in self.at),
        )

    def rates(self, steps: Whole) -> Array:
        """Learning rates at some steps, like `steps`."""
        step = steps.astype(np.float64)
        lr = np.full(step.shape, self.peak)
        if self.at:
            stage_rates = np.array([self.peak, *self.to])
            lr = stage_rates[np.searchsorted(np.array(self.at), steps, side="right")]
        if self.decay is not None:
            x = (step - self.decay_start) / (self.decay_end - self.decay_start)
            lr = np.where(x > 0, self.decay.rates(x, self.peak, self.end, self.power), lr)
        return self.ramped(steps, lr)

    @property
    def cost(self) -> float:
        """Description length in digits; the shortest candidate that agrees with a log is used."""
        numbers: list[float] = [self.peak, *self.at, *self.to]
        cost = COSTS.get(self.shape, OTHER) + self.ramp_cost
        if self.decay is not None:
            numbers += [self.decay_end, self.end]
            if self.decay_start not in (self.warmup, self.warmup - 1):
                numbers.append(self.decay_start)
                cost += 1.0
            if self.decay.powered:
                numbers.append(self.power)
                cost += POWERED
        return cost + sum(map(digits_of, numbers)) + (NO_SPEC if self.spec is None else 0.0)

    @property
    def spec(self) -> str | None:
        """Its spec; None if no registered family describes it."""
        number = format_number
        common = f"peak={number(self.peak)}"
        if self.ramp is not LINEAR:
            return self._one_cycle_spec()
        ramp = self.ramp_text
        if self.at:
            stages = f"at={'/'.join(map(str, self.at))},to={'/'.join(map(number, self.to))}"
            return f"multistage:{common},{stages},steps={self.steps}{ramp}"
        if self.decay is None:
            return f"constant:{common},steps={self.steps}{ramp}"
        return self._decay_spec(common, ramp)

    def _decay_spec(self, common: str, ramp: str) -> str | None:
        assert self.decay is not None
        steps_after = self.last + 1 - self.decay_end  # steps after the decay, at its end
        if self.decay_start < self.warmup or (steps_after > 0 and self.end == 0):
            return None
        tail = (
            f" + constant:peak={format_number(self.end)},steps={steps_after}"
            if steps_after > 0
            else ""
        )
        end = f",end={format_number(self.end)}" if self.end else ""
        power = f",power={format_number(self.power)}" if self.decay.powered else ""
        length = f",steps={self.decay_end}{ramp}"
        if self.decay_start == self.warmup and self.decay.whole is not None:
            if self.decay.name != "inverse_sqrt":
                return f"{self.decay.whole}:{common}{end}{length}{power}{tail}"
            span = self.decay_end - self.decay_start
            scale = span / ((self.peak / self.end) ** 2 - 1.0)
            timescale_value = rounded(scale, 6)
            timescale = (
                ""
                if timescale_value == self.warmup
                else f",timescale={format_number(timescale_value)}"
            )
            return f"inverse_sqrt:{common}{length}{timescale}{tail}"
        if self.decay.name == "inverse_linear":  # a single decay of that family
            if self.decay_end > 2 * (self.last + 1):
                return None  # the logged rows cover too little of it to determine it
            share = simplest_share(self.decay_end, self.decay_end - self.decay_start)
            at = f",decay_ends={self.decay_end},decay_fraction={format_number(share)}"
            return f"wsd_s:{common}{end}{length}{at}{tail}"
        if self.decay.cooldown is None:
            return None
        start = f",decay={self.decay.cooldown},decay_start={self.decay_start}"
        return f"wsd:{common}{end}{length}{start}{power}{tail}"

    def _one_cycle_spec(self) -> str | None:
        """Spec of the family whose warm-up is half a cosine and which ends at its last step."""
        cosine = self.decay is not None and self.decay.name == "cosine"
        steps = self.decay_end + 1
        if not (self.ramp is COSINE and cosine and self.start > 0 and self.end > 0):
            return None
        if self.decay_start != self.warmup - 1 or self.last + 1 > steps:
            return None
        number = format_number
        return (
            f"one_cycle:peak={number(self.peak)},steps={steps},rise_fraction="
            f"{number(self.warmup / steps)},start={number(self.start)},end={number(self.end)}"
        )

    @property
    def words(self) -> str:
        """The spec, or a description."""
        if self.spec is not None:
            return self.spec
        if self.decay is None:
            return f"{self.shape} at {self.peak:g} after {self.ramp_words}"
        power = f", power {self.power:g}" if self.decay.powered else ""
        return (
            f"{self.decay.name} from {self.peak:g} at step {self.decay_start} to {self.end:g} at "
            f"step {self.decay_end}{power}, after {self.ramp_words}"
        )


def level(samples: Samples, ramp: Ramp) -> Iterator[DecayCandidate]:
    """A constant rate after the warm-up, if the rows after it are level."""
    after = samples.lr[ramp.rows :]
    slack = samples.slack[ramp.rows :]
    peak = float(np.median(after))
    if np.ptp(after) > 2 * slack.max():
        return
    for value in dict.fromkeys(rounded(peak, digits) for digits in range(1, 17)):
        if (np.abs(after - value) <= slack).all():
            yield from _with_ramp(samples, ramp, value, {})
            return


def stages(samples: Samples, ramp: Ramp) -> Iterator[DecayCandidate]:
    """Stages, if the rows after the warm-up have few levels.

    A change between two logged rows may be at any step from the one after the first to the second;
    the earliest, the latest and the roundest are candidates.
    """
    steps, lr = samples.steps[ramp.rows :], samples.lr[ramp.rows :]
    slack = samples.slack[ramp.rows :]
    cuts = np.flatnonzero(np.abs(np.diff(lr)) > slack[1:] + slack[:-1]) + 1
    if not 1 <= len(cuts) <= MAX_STAGES or len(lr) < 2 * (len(cuts) + 1):
        return
    edges = [0, *cuts.tolist(), len(lr)]
    values = []
    for low, high in itertools.pairwise(edges):
        median = float(np.median(lr[low:high]))
        roundings = (rounded(median, digits) for digits in range(1, 17))
        values.append(
            next((v for v in roundings if abs(v - median) <= slack[low:high].min()), median)
        )
    if max(values) > values[0]:
        return
    choices = [(int(steps[cut - 1]) + 1, int(steps[cut])) for cut in cuts]
    for at in (
        tuple(roundest(low, high) for low, high in choices),
        tuple(low for low, _ in choices),
        tuple(high for _, high in choices),
    ):
        yield from _with_ramp(samples, ramp, values[0], {"at": at, "to": tuple(values[1:])})


def decays(samples: Samples, ramp: Ramp, shape: Decay) -> Iterator[DecayCandidate]:
    """A decay of one shape, from the end of the warm-up or after a constant phase."""
    rows = rows_of(samples, ramp, shape)
    if rows is None:
        return
    for fit in fit_decay(samples, ramp, shape, rows):
        yield from _whole_numbers(samples, ramp, shape, rows, fit)


def _whole_numbers(
    samples: Samples, ramp: Ramp, shape: Decay, rows: FitRows, fit: DecayFit
) -> Iterator[DecayCandidate]:
    """Candidates with integer steps and short decimals near a real-valued fit."""
    warmups = ramp.lengths(fit.peak)
    starts = {round(fit.start) + shift for shift in (-1, 0, 1)}
    starts |= {warmup - shift for warmup in warmups for shift in (0, 1)}
    starts |= _corners(ramp, shape, fit)
    low, high = fit.start_range
    ends = {round(fit.end_step) + shift for shift in (-1, 0, 1)}
    ends |= {round(rounded(fit.end_step, digits)) for digits in (1, 2, 3)}
    ends |= {samples.last + 1, *([samples.total] if samples.total else [])}
    powers = [1.0]
    if shape.powered:
        powers = list(dict.fromkeys(rounded(fit.power, d) for d in range(1, POWER_DIGITS + 1)))
    closest: tuple[float, DecayCandidate] | None = None
    for start, end_step, power in itertools.product(sorted(starts), sorted(ends), powers):
        if start < max(low, 0) or start > high or end_step <= start:
            continue
        peak, end, ratio = solve_ends(shape, rows, start, end_step, power)
        if not 0 < peak < 1e6 or not 0 <= end <= peak or math.isinf(ratio):
            continue
        keys = {
            "decay": shape,
            "decay_start": start,
            "decay_end": end_step,
            "end": end,
            "power": power,
        }
        for candidate in _with_ramp(samples, ramp, peak, keys):
            if ratio <= 1.0:
                yield candidate
            elif closest is None or ratio < closest[0]:
                closest = (ratio, candidate)
    if closest is not None:
        yield closest[1]  # listed among the rejected shapes


def _corners(ramp: Ramp, shape: Decay, fit: DecayFit) -> set[int]:
    """Starts at which a scale-free shape meets the ramp.

    Such a decay is the same for any first step, so its rows do not determine the step; if no row is
    at the peak, the decay starts where it meets the warm-up.
    """
    if not shape.scaleless or ramp.row is None or ramp.stated_length is not None:
        return set()
    steps = np.arange(max(ramp.last_rising, 0), ramp.first_after + 2)
    x = (steps - fit.start) / (fit.end_step - fit.start)
    line = shape.to_line(np.array([fit.peak, fit.end]))
    share = np.maximum(1.0 - x, 0.0) ** (fit.power if shape.powered else 1.0)
    level = line[0] * share + line[1] * (1.0 - share)
    step, rate = ramp.row
    rises = {(0.0, rate / step)} if step else set()
    rises |= {(rate / (step + 1), rate / (step + 1))}
    if ramp.slope is not None:
        rises.add((ramp.start, ramp.slope))
    meeting_steps = set()
    for start, slope in rises:
        # the ramp reaches the peak a step before the decay counts, or as it begins to
        for shift in (0, 1):
            distance = np.abs(
                shape.to_line(np.maximum(start + slope * (steps - shift), 1e-300)) - level
            )
            meeting_steps.add(int(steps[int(np.argmin(distance))]))
    return {step + shift for step in meeting_steps for shift in (-1, 0, 1)}


def _with_ramp(
    samples: Samples, ramp: Ramp, peak: float, keys: dict[str, object]
) -> Iterator[DecayCandidate]:
    after = keys.get("decay_start")
    for warmup, start in ramp.forms(peak, after if isinstance(after, int) else None):
        begins = keys.get("decay_start", warmup)
        stage = keys.get("at", (warmup,))
        assert isinstance(begins, int) and isinstance(stage, tuple)
        if begins < warmup - 1 or stage[0] < warmup:
            continue
        # a log may end during its warm-up
        steps = max(samples.last + 1, samples.total or 0, warmup + 1)
        candidate = DecayCandidate(warmup, start, peak, samples.last, steps, ramp=ramp.shape)
        yield replace(candidate, **keys)  # type: ignore[arg-type]
