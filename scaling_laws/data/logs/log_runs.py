"""From a log to a run: its loss, its facts, and a schedule checked against the logged rates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from scaling_laws.common import DataError, UsageError
from scaling_laws.data.logs.configs import facts_of, spec_of
from scaling_laws.data.logs.keys import loss_key, rate_key
from scaling_laws.data.logs.reader import TrainingLog
from scaling_laws.data.runs import Run
from scaling_laws.data.runs.logged_schedule import LR_TOLERANCE
from scaling_laws.models import Schedule, check_facts, is_fact, schedule

__all__ = ["ImportedRun", "run_of"]


@dataclass(frozen=True)
class ImportedRun:
    """A run read from a log.

    Attributes:
        run: the run.
        notes: choices, omissions and anomalies, as sentences.
    """

    run: Run
    notes: tuple[str, ...]


def run_of(
    log: TrainingLog,
    *,
    spec: str | None = None,
    key: str | None = None,
    facts: Mapping[str, float] | None = None,
    window: int | None = None,
) -> ImportedRun:
    """The run of a log.

    Args:
        log: the log.
        spec: its schedule; default that of its settings, if they are of a known trainer and the
            logged rates confirm it.
        key: of the loss; default the first known one, validation losses before training losses.
        facts: numbers that override those of its settings.
        window: number of steps averaged by each logged loss; default 1.

    Raises:
        UsageError: if the log has no such key, or there is no spec and none can be confirmed.
        DataError: if the logged rates contradict the schedule, or a loss cannot be used.
        ScheduleError: if the spec is malformed.
    """
    check_facts(facts or {})
    chosen, words = loss_key(log, key)
    notes = [*(note for note in log.diagnostics if _about(note, chosen, rate_key(log))), words]
    planned, checked = _schedule(log, spec)
    notes += checked
    stated = {name: value for name, value in facts_of(log.config).items() if is_fact(name, value)}
    known = {**stated, **(facts or {})}
    used = [f"{name} {value:g}" for name, value in stated.items() if name not in (facts or {})]
    if used:
        notes.append(f"from the log's settings: {', '.join(used)}")
    steps, loss = log.series(chosen)
    steps = steps - log.first_step - (chosen in log.before_update)
    steps, loss = steps[steps >= 0], loss[steps >= 0]  # before the first update
    late = steps >= planned.steps
    if late.any():
        notes.append(
            f"{int(late.sum())} points at or after step {planned.steps}, past the schedule's last "
            "update, omitted"
        )
    if late.all():  # or none before it
        raise DataError(
            f"{log.source}: no {chosen} is logged within the schedule, {planned.spec}",
            path=log.source,
        )
    bad = ~late & ~(loss > 0)
    if bad.any():
        index = int(np.argmax(bad))
        raise DataError(
            f"{log.source}, {chosen}, step {steps[index]}: {loss[index]:g} is not > 0; a loss must "
            "be",
            path=log.source,
            column=chosen,
        )
    if int(steps[0]) > 0.1 * planned.steps:
        notes.append(
            f"the log begins at step {steps[0]}; earlier steps are taken from the schedule"
        )
    run = Run(log.name, planned, steps[~late], loss[~late], known, log.source, window=window or 1)
    return ImportedRun(run, tuple(notes))


def _about(note: str, *keys: str | None) -> bool:
    """Whether a diagnostic concerns one of these keys, or the whole file."""
    key, colon, _ = note.partition(":")
    return not colon or key in keys


def _schedule(log: TrainingLog, spec: str | None) -> tuple[Schedule, list[str]]:
    """The schedule, checked against the logged rates, and notes on it."""
    text = spec if spec is not None else spec_of(log.config)
    rate = rate_key(log)
    if text is None:
        raise UsageError(
            f"{log.source}: its settings do not specify its schedule; pass --schedule "
            "SPEC, e.g. cosine:peak=1e-3,steps=50000,warmup=300",
            path=log.source,
        )
    if spec is None and rate is None:
        raise UsageError(
            f"{log.source}: its settings specify {text}, but no learning rate is logged that would "
            "confirm it; pass --schedule SPEC",
            path=log.source,
        )
    planned = schedule(text)
    if rate is None:
        return planned, [
            f"schedule: {text}, as given; no learning rate is logged to check it against"
        ]
    steps, logged = log.series(rate)
    steps = steps - log.first_step + log.lr_offset
    inside = (steps >= 0) & (steps < planned.steps)
    steps, logged = steps[inside], logged[inside]
    apart = np.abs(logged - planned.lr[steps]) / planned.peak_lr
    after = steps >= planned.warmup
    wrong = after & (apart > LR_TOLERANCE)
    whose = "as given" if spec is not None else "from the log's settings"
    if wrong.any():
        index = int(np.argmax(wrong))
        remedy = "correct --schedule" if spec is not None else "pass --schedule SPEC"
        raise DataError(
            f"{log.source}, {rate}, step {steps[index]}: {logged[index]:g} is logged where the "
            f"schedule, {whose}, gives {planned.lr[steps[index]]:g} ({text}); {int(wrong.sum())} "
            "of "
            f"{len(steps)} points differ; {remedy}",
            path=log.source,
            column=rate,
        )
    if spec is None and not after.any():
        raise UsageError(
            f"{log.source}: its settings specify {text}, but no learning rate is logged after the "
            "warm-up that would confirm it; pass --schedule SPEC",
            path=log.source,
        )
    notes = [
        f"schedule: {text}, {whose}; the {int(after.sum())} logged rates after the warm-up agree "
        f"to {float(apart[after].max(initial=0.0)):.1g} of the peak"
    ]
    early = float(apart[~after].max(initial=0.0))
    if early > LR_TOLERANCE:
        notes.append(
            f"during the warm-up the logged rates leave the schedule by up to {early:.2g} of the "
            "peak: the trainer's warm-up has a different shape"
        )
    return planned, notes
