"""The learning rate of every step where no family fits: interpolated between logged rates."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import UsageError
from scaling_laws.data.importing.options import Finding, Options
from scaling_laws.data.importing.samples import Samples
from scaling_laws.models import densify

__all__ = ["ResolvedSchedule", "interpolated"]

Array = NDArray[np.float64]
COARSEST = 0.02  # largest rounding of rates, as a share of the peak, that is interpolated


@dataclass(frozen=True, eq=False)
class ResolvedSchedule:
    """A run's schedule.

    Attributes:
        spec: its spec; None if no registered family describes it, so that its rates are written.
        lr: of every step: (steps,).
        origin: where it comes from, in words.
        findings: for the report.
    """

    spec: str | None
    lr: Array = field(repr=False)
    origin: str
    findings: tuple[Finding, ...] = ()


def interpolated(source: str, samples: Samples, options: Options, last: int) -> ResolvedSchedule:
    """Logged rates, interpolated as requested.

    Args:
        source: the file, for messages.
        samples: the logged rates.
        options: of the import, with `between`.
        last: last step of a loss.

    Raises:
        UsageError: if the rates are rounded too coarsely, or the warm-up covers all of them.
    """
    assert options.between is not None
    coarse = float(samples.slack.max()) / float(samples.lr.max())
    if coarse > COARSEST:
        raise UsageError(
            f"{source}: the learning rate is rounded so coarsely that it may be off by "
            f"{coarse:.2g} of the peak, which --between {options.between} cannot correct; pass "
            "--schedule SPEC",
            path=source,
        )
    total = max(last + 1, int(samples.steps[-1]) + 1)
    warmup = options.warmup or 0
    after = samples.steps >= warmup
    if not after.any():
        raise UsageError(
            f"{source}: --warmup {warmup} covers every logged rate; shorten it", path=source
        )
    steps = samples.steps[after].astype(np.float64)
    lr = samples.lr[after]
    if steps[0] > warmup:
        steps, lr = np.append(float(warmup), steps), np.append(lr[0], lr)
    findings = _held(samples, int(samples.steps[after][0]), warmup, total)
    filled = densify(np.append(-1.0, steps), np.append(lr[0], lr), total, options.between)
    ramp = samples.steps < warmup
    if warmup and ramp.any():  # the logged part of the warm-up, interpolated linearly
        ramp_steps = np.append(samples.steps[ramp], warmup).astype(np.float64)
        filled[:warmup] = np.interp(
            np.arange(warmup),
            np.append(-1.0, ramp_steps),
            np.append(0.0, np.append(samples.lr[ramp], lr[0])),
        )
    elif warmup:
        filled[:warmup] = np.linspace(0.0, float(lr[0]), warmup)
    word = "constant" if options.between == "hold" else "linear"
    findings.append(
        Finding("schedule", f"rates between logged ones are {word}, as requested", True)
    )
    return ResolvedSchedule(None, filled, f"logged rates, {word} between them", tuple(findings))


def _held(samples: Samples, first: int, warmup: int, total: int) -> list[Finding]:
    """Updates before the first and after the last logged rate, whose rates are held."""
    findings = []
    if first > warmup:
        held = float(samples.lr[samples.steps == first][0])
        words = (
            f"the rate of the {first - warmup} updates before step {first}, the first with a "
            f"logged rate after the warm-up, is held at {held:g}"
        )
        findings.append(Finding("schedule", words, True))
    last = int(samples.steps[-1])
    if total - 1 > last:
        words = (
            f"the rate of the {total - 1 - last} updates after step {last}, the last with a logged "
            f"rate, is held at {samples.lr[-1]:g}"
        )
        findings.append(Finding("schedule", words, True))
    if samples.total is not None and samples.total > total:
        words = (
            f"the file states {samples.total} updates; the rates that are written end after {total}"
        )
        findings.append(Finding("schedule", words))
    return findings
