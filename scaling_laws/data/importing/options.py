"""Options of an import, its findings, and its report per run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Finding", "Options", "RunReport"]


@dataclass(frozen=True)
class Options:
    """Facts that the files do not contain, or overrides of them. None: taken from the log.

    Attributes:
        format: name of the reader.
        step_key, lr_key, loss_key, tokens_key, samples_key: keys by role.
        lr_group: the parameter group of the learning rate, if several are logged.
        first_step: step number of the first update, 0 or 1.
        lr_offset: a row's learning rate belongs to the update this many after the row's own.
        steps_per_update: logged steps (micro-batches) that make one update.
        step_offset: added to every logged update, for a log that counts from a branch.
        tokens_per_step: tokens of one update.
        samples_per_step: samples of one update.
        sequence_length: tokens of one sample.
        repeats: ``last``, ``first`` or ``mean`` of the rows of a repeated step; None is ``last``,
            but refuses a file that begins anew with other losses.
        run_key: key, or several separated by commas, whose values are those of different runs.
        split_restarts: whether each part that begins anew is a run.
        window: number of steps averaged by each logged loss.
        average_window: number of rows averaged to one point; the window grows accordingly.
        drop_spikes: whether points far above their neighbours are omitted.
        drop_skipped: whether points whose window has skipped updates are omitted.
        from_step: omit the points before this step, or ``warmup``.
        schedule: spec of the run's schedule.
        steps: number of planned updates.
        warmup: warm-up steps, if the log does not show them.
        between: ``hold`` or ``linear``, for a schedule that no family fits.
        parent: ``RUN@STEP``: the run from which this one branched, and its first step.
        facts: numbers that laws use, by name.
    """

    format: str | None = None
    step_key: str | None = None
    lr_key: str | None = None
    loss_key: str | None = None
    tokens_key: str | None = None
    samples_key: str | None = None
    lr_group: int | None = None
    first_step: int | None = None
    lr_offset: int | None = None
    steps_per_update: int = 1
    step_offset: int = 0
    tokens_per_step: int | None = None
    samples_per_step: int | None = None
    sequence_length: int | None = None
    repeats: str | None = None
    run_key: str | None = None
    split_restarts: bool = False
    window: int | None = None
    average_window: int | None = None
    drop_spikes: bool = False
    drop_skipped: bool = False
    from_step: int | str = 0
    schedule: str | None = None
    steps: int | None = None
    warmup: int | None = None
    between: str | None = None
    parent: str | None = None
    facts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Finding:
    """An anomaly of a log, or a change made by the import.

    Attributes:
        kind: category: repeats, gaps, spikes, schedule, ...
        words: a sentence.
        changed: whether data were changed or omitted because of it.
    """

    kind: str
    words: str
    changed: bool = False


@dataclass(frozen=True)
class RunReport:
    """The report on one imported run.

    Attributes:
        name: of the run.
        reader: the format's name.
        sources: names of the files.
        keys: the log's key by role.
        rows: number of rows read.
        points: number of losses kept.
        first_step: of the first kept loss.
        last_step: of the last one.
        schedule: spec of the schedule that was written.
        schedule_from: its origin, as a phrase.
        window: number of steps averaged by each loss.
        facts: numbers that laws use.
        findings: anomalies and changes.
    """

    name: str
    reader: str
    sources: tuple[str, ...]
    keys: Mapping[str, str]
    rows: int
    points: int
    first_step: int
    last_step: int
    schedule: str
    schedule_from: str
    window: int
    facts: Mapping[str, float]
    findings: tuple[Finding, ...]

    def as_json(self) -> dict[str, Any]:
        """Values that can be written as JSON."""
        return {
            "name": self.name,
            "reader": self.reader,
            "sources": list(self.sources),
            "keys": dict(self.keys),
            "rows": self.rows,
            "points": self.points,
            "first_step": self.first_step,
            "last_step": self.last_step,
            "schedule": self.schedule,
            "schedule_from": self.schedule_from,
            "window": self.window,
            "facts": dict(self.facts),
            "findings": [
                {"kind": finding.kind, "words": finding.words, "changed": finding.changed}
                for finding in self.findings
            ],
        }
