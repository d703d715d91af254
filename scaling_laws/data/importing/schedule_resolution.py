"""The learning rate of every step of an imported run: specified, recognised or interpolated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import DataError, ScheduleError, UsageError
from scaling_laws.data.importing.curve import LossCurve
from scaling_laws.data.importing.hidden_warmups import (
    HiddenWarmupError,
    hidden_warmup,
    warmup_is_hidden,
)
from scaling_laws.data.importing.interpolated_rates import ResolvedSchedule, interpolated
from scaling_laws.data.importing.offsets import (
    ShiftedRatesError,
    exact_offsets,
    offset_evidence,
    recognise_shifted,
)
from scaling_laws.data.importing.options import Finding, Options
from scaling_laws.data.importing.printed_precision import DOUBLE, precision_of
from scaling_laws.data.importing.recognise import Recognition, recognise
from scaling_laws.data.importing.samples import Samples
from scaling_laws.data.logs.configs import spec_of
from scaling_laws.data.runs.logged_schedule import LR_TOLERANCE
from scaling_laws.models import Schedule, reads_files, schedule

__all__ = ["ResolvedSchedule", "resolve_schedule", "samples_of"]

Array = NDArray[np.float64]
SHOWN = 4


@dataclass(frozen=True, eq=False)
class ParentPrefix:
    """The parent of a branch: its name, and its rate at every step before the branch, (steps,)."""

    name: str
    lr: Array = field(repr=False)


def samples_of(curve: LossCurve, options: Options, prefix: ParentPrefix | None = None) -> Samples:
    """Logged rates with their printed precision, after those of a parent."""
    precision = precision_of(curve.lr)
    slack = precision.half_width(curve.lr)
    steps, lr = curve.lr_steps, curve.lr
    if prefix is not None:
        after_branch = steps >= prefix.lr.size
        parent_steps = np.arange(prefix.lr.size)
        exact = np.full(prefix.lr.size, DOUBLE * float(prefix.lr.max()))
        steps = np.concatenate([parent_steps, steps[after_branch]])
        lr, slack = (
            np.concatenate([prefix.lr, lr[after_branch]]),
            np.concatenate([exact, slack[after_branch]]),
        )
    last = int(curve.steps[-1])
    return Samples(steps, lr, slack, last, curve.total, options.warmup)


def resolve_schedule(
    source: str,
    curve: LossCurve,
    options: Options,
    config: Mapping[str, Any],
    prefix: ParentPrefix | None = None,
    rate_keys: Sequence[str] = (),
) -> ResolvedSchedule:
    """The learning rate of every step.

    In this order: the given spec, the family that agrees with every logged rate to its printed
    digits, the trainer's settings if the rates confirm them, and the interpolated logged rates.

    Args:
        source: the file, for messages.
        curve: the run's losses and rates.
        options: of the import.
        config: the trainer's settings.
        prefix: rates of the run that this one branched off.
        rate_keys: keys that may be a learning rate, for the message if none is known as one.

    Raises:
        HiddenWarmupError: if the log begins after its warm-up, and nothing says how long that was.
        UsageError: if the rate of every step cannot be determined; lists what was tried.
        DataError: if the logged rates contradict the given spec.
        ScheduleError: if the given spec is malformed or too short.
    """
    last = int(curve.steps[-1])
    if options.schedule is not None:
        return _from_spec(source, curve, options.schedule, last)
    if not curve.lr.size:
        named = (
            f"choose one with --lr-key ({', '.join(rate_keys[:SHOWN])}), or pass the schedule"
            if rate_keys
            else "so a schedule is required"
        )
        raise UsageError(
            f"{source}: no key is known as a learning rate, {named}: --schedule "
            f"SPEC, e.g. cosine:peak=3e-4,end=3e-5,steps={last + 1},warmup=100",
            path=source,
        )
    if not (curve.lr > 0).any():
        raise DataError(
            f"{source}: every logged learning rate is 0; pass --schedule SPEC", path=source
        )
    samples = samples_of(curve, options, prefix)
    other_offsets: dict[int, str] = {}
    warmup_missing = prefix is None and options.warmup is None and warmup_is_hidden(samples)
    offset = curve.lr_offset if prefix is None else None
    if not warmup_missing:
        recognition = recognise(samples)
        planned = _accepted(recognition, samples, last, offset)
        if planned is None and prefix is None and options.warmup is not None:
            planned = _without_stated_warmup(samples, last, offset)
        if planned is not None:
            return planned
        reason = _rejection(recognition)
        if prefix is None and recognition.best is None:
            other_offsets = {
                curve.lr_offset + by: best.words for by, best in recognise_shifted(samples)
            }
    else:
        reason = (
            f"the first logged rate, at step {samples.steps[0]}, is the highest, so the log does "
            "not show the warm-up: give --warmup STEPS, 0 if there was none"
        )
    confirmed = _from_settings(curve, config, last)
    offset_findings = tuple(
        Finding("lr_offset", _with_offsets(other_offsets)) for _ in other_offsets
    )[:1]
    if confirmed is not None:
        return replace(confirmed, findings=(*offset_findings, *confirmed.findings))
    if options.between is not None and not warmup_missing:
        filled = interpolated(source, samples, options, last)
        return replace(filled, findings=(*offset_findings, *filled.findings))
    words = (
        f"{source}: the learning rate of every step is required, and the logged ones do not "
        "determine it: "
        f"{reason}. "
    )
    remedy = "--schedule SPEC, or --between hold|linear to fill in what was not logged"
    if other_offsets:
        raise ShiftedRatesError(
            f"{words}{_with_offsets(other_offsets)}; else {remedy}",
            path=source,
            offsets=tuple(other_offsets),
        )
    if warmup_missing:
        hidden = hidden_warmup(samples)
        said = "" if hidden is None or hidden.warmup is None else f"{hidden.sentence}. "
        shift = 0 if hidden is None else hidden.shift
        raise HiddenWarmupError(
            f"{words}{said}Else pass {remedy}",
            path=source,
            hidden=hidden,
            lr_offset=curve.lr_offset + shift,
        )
    raise UsageError(f"{words}Pass {remedy}", path=source)


def _without_stated_warmup(
    samples: Samples, last: int, offset: int | None
) -> ResolvedSchedule | None:
    """The schedule that a log with its warm-up shows, where the stated warm-up contradicts it."""
    top = int(np.argmax(samples.lr >= samples.lr.max() - samples.slack))
    if top == 0:
        return None
    recognition = recognise(replace(samples, warmup=None))
    planned = _accepted(recognition, samples, last, offset)
    if planned is None or recognition.best is None:
        return None
    words = (
        f"--warmup {samples.warmup} is ignored: it is for logs that begin after the warm-up, and "
        f"this one shows one that reaches the peak at step {max(recognition.best.warmup - 1, 0)} "
        f"(warmup={recognition.best.warmup} in a spec)"
    )
    return replace(planned, findings=(Finding("schedule", words), *planned.findings))


def _from_spec(source: str, curve: LossCurve, spec: str, last: int) -> ResolvedSchedule:
    planned_schedule = schedule(spec)
    # a set names no file outside it: the rates of a file are written out
    written = None if reads_files(planned_schedule.spec) else spec
    if last >= planned_schedule.steps:
        raise ScheduleError(
            f"{source}: a loss is logged at step {last}, beyond the schedule's "
            f"{planned_schedule.steps} steps "
            f"({spec}); correct steps=",
            path=source,
            value=last,
        )
    if not curve.lr.size:
        note = Finding("schedule", "no learning rate is logged to check the schedule against")
        return ResolvedSchedule(written, planned_schedule.lr, "as given", (note,))
    distance, index = _distance(planned_schedule, curve)
    exact = exact_offsets(planned_schedule.lr, curve)
    hint = ""
    if 0 not in exact:
        hint = " or ".join(f"--lr-offset {curve.lr_offset + shift}" for shift in exact)
    if distance <= LR_TOLERANCE:
        words = f"the logged rates agree with the schedule to {distance:.1g} of its peak"
        findings = [Finding("schedule", words)]
        if hint:
            words = f"the logged rates agree with the schedule to every digit with {hint}"
            findings.append(Finding("lr_offset", words))
        return ResolvedSchedule(written, planned_schedule.lr, "as given", tuple(findings))
    step = int(curve.lr_steps[index])
    remedy = f"they agree to every digit with {hint}: pass it" if hint else "correct --lr-offset"
    raise DataError(
        f"{source}, step {step}: {curve.lr[index]:g} is logged where the schedule gives "
        f"{planned_schedule.lr[step]:g} ({spec}); correct --schedule, or {remedy}",
        path=source,
        value=float(curve.lr[index]),
    )


def _distance(planned_schedule: Schedule, curve: LossCurve) -> tuple[float, int]:
    """Largest distance of the logged rates, as a share of the peak, and its index."""
    steps = curve.lr_steps
    inside = (steps >= 0) & (steps < planned_schedule.steps)
    if not inside.any() or not planned_schedule.peak_lr > 0:
        return 0.0, 0
    distance = np.where(
        inside,
        np.abs(planned_schedule.lr[np.clip(steps, 0, planned_schedule.steps - 1)] - curve.lr),
        0.0,
    )
    index = int(np.argmax(distance))
    return float(distance[index] / planned_schedule.peak_lr), index


def _accepted(
    recognition: Recognition, samples: Samples, last: int, offset: int | None
) -> ResolvedSchedule | None:
    """The recognised schedule, unless another one that explains the log differs too much."""
    best = recognition.best
    if best is None or recognition.disagreement > LR_TOLERANCE:
        return None
    findings = []
    printed = 2 * float((samples.slack / samples.peak).max())
    if recognition.disagreement > printed:
        words = (
            f"another schedule explains the logged rates too and differs by up to "
            f"{recognition.disagreement:.2g} of the peak, at step {recognition.at_step}: "
            f"{recognition.rival}"
        )
        findings.append(Finding("schedule", words))
    # a branch shares its parent's rates, whose steps are fixed
    evidence = None if offset is None else offset_evidence(best, samples, offset)
    if evidence is not None:
        findings.append(evidence)
    origin = f"recognised: all {samples.lr.size} rates agree to the digits logged"
    spec = best.spec
    if spec is not None:
        planned_schedule = schedule(spec)
        all_steps = np.arange(planned_schedule.steps)
        exact = np.allclose(
            planned_schedule.lr, best.rates(all_steps), rtol=0, atol=1e-9 * samples.peak
        )
        if exact and planned_schedule.steps > last:
            return ResolvedSchedule(spec, planned_schedule.lr, origin, tuple(findings))
    length = (
        best.length if best.length <= 2 * (samples.last + 1) else 0
    )  # a longer one is not determined by the log
    all_steps = np.arange(max(samples.last + 1, length, samples.total or 0))
    origin = f"{origin}: {best.words}; no family has this warm-up, so every rate is written out"
    return ResolvedSchedule(None, best.rates(all_steps), origin, tuple(findings))


def _with_offsets(offsets: Mapping[int, str]) -> str:
    """The offsets with which a schedule fits."""
    ways = " or ".join(f"--lr-offset {offset} ({words})" for offset, words in offsets.items())
    return f"Every rate agrees to its printed digits with {ways}: pass it if that is the schedule"


def _rejection(recognition: Recognition) -> str:
    if recognition.best is not None:
        return (
            f"{recognition.best.words} agrees with them, but so does {recognition.rival}, which "
            "differs by "
            f"{recognition.disagreement:.2g} of the peak at step {recognition.at_step}"
        )
    tried = "; ".join(
        f"{trial.shape} is off by {trial.worst:.1g} of the peak at step {trial.step}"
        for trial in recognition.tried[:SHOWN]
    )
    return f"no family agrees with them to the printed digits ({tried or 'too few rates'})"


def _from_settings(
    curve: LossCurve, config: Mapping[str, Any], last: int
) -> ResolvedSchedule | None:
    """The schedule of a known trainer's settings, if the rates after the warm-up agree."""
    spec = spec_of(config)
    if spec is None:
        return None
    planned_schedule = schedule(spec)
    after = (curve.lr_steps >= planned_schedule.warmup) & (curve.lr_steps < planned_schedule.steps)
    if not after.any():
        return None
    distance = (
        np.abs(planned_schedule.lr[curve.lr_steps[after]] - curve.lr[after])
        / planned_schedule.peak_lr
    )
    if distance.max() > LR_TOLERANCE:
        return None
    findings = [
        Finding(
            "schedule",
            f"the {int(after.sum())} logged rates after the warm-up agree with the settings to "
            f"{float(distance.max()):.1g} of the peak",
        )
    ]
    before = (curve.lr_steps < planned_schedule.warmup) & (curve.lr_steps >= 0)
    if before.any():
        early = (
            np.abs(planned_schedule.lr[curve.lr_steps[before]] - curve.lr[before]).max()
            / planned_schedule.peak_lr
        )
        if early > LR_TOLERANCE:
            words = f"during the warm-up the logged rates differ by up to {early:.2g} of the peak"
            findings.append(Finding("schedule", words))
    return ResolvedSchedule(spec, planned_schedule.lr, "from the log's settings", tuple(findings))
