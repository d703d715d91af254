"""The format and anomalies of a log, and the command that imports it. Nothing is written."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from scaling_laws.common import ScalingLawsError
from scaling_laws.data.importing.curve import curve_of
from scaling_laws.data.importing.hidden_warmups import HiddenWarmupError
from scaling_laws.data.importing.log_import import import_run
from scaling_laws.data.importing.offsets import ShiftedRatesError
from scaling_laws.data.importing.options import Finding, Options
from scaling_laws.data.importing.roles import candidates, find_roles
from scaling_laws.data.importing.several_runs import SeveralRunsError, split_table
from scaling_laws.data.importing.write_set import run_name
from scaling_laws.data.logs import LogTable, read_tables
from scaling_laws.data.logs.keys import by_preference, loss_like, rate_like

__all__ = ["InspectedKey", "InspectedRun", "inspect_log"]

ROLES = ("step", "loss", "lr", "tokens", "samples")
PLACEHOLDER, STEPS = "SPEC", "STEPS"


@dataclass(frozen=True)
class InspectedKey:
    """A key of a log.

    Attributes:
        name: as logged.
        role: ``step``, ``loss``, ``lr``, ``tokens``, ``samples``; ``loss?`` etc. if it may have the
            role but another key is proposed; empty otherwise.
        rows: number of rows with a number.
        first: its first number.
        last: its last number.
    """

    name: str
    role: str
    rows: int
    first: float | None
    last: float | None


@dataclass(frozen=True)
class InspectedRun:
    """A run of a log.

    Attributes:
        name: of the run.
        source: the file.
        reader: the format's name.
        meaning: where such files come from.
        rows: of the table.
        keys: what was logged: those with a role first, then those that may have one.
        findings: anomalies, and how an import would handle them.
        schedule: the schedule that an import would write; empty if unknown.
        schedule_from: its origin, or why there is none.
        points: number of losses after the import.
        command: the command that imports it.
        ready: whether the command is complete; else it has a placeholder.
        problem: what prevents an import without further options.
    """

    name: str
    source: str
    reader: str
    meaning: str
    rows: int
    keys: tuple[InspectedKey, ...] = field(repr=False)
    findings: tuple[Finding, ...] = ()
    schedule: str = ""
    schedule_from: str = ""
    points: int = 0
    command: str = ""
    ready: bool = False
    problem: str = ""

    def as_json(self) -> dict[str, Any]:
        """Values that can be written as JSON."""
        values = {key: value for key, value in self.__dict__.items() if key != "keys"}
        values["keys"] = [dict(key.__dict__) for key in self.keys]
        values["findings"] = [dict(finding.__dict__) for finding in self.findings]
        return values


def inspect_log(
    path: Path | str, *, out: str = "runs", options: Options | None = None
) -> tuple[InspectedRun, ...]:
    """Report the format, keys and anomalies of a log.

    Args:
        path: a file, or a folder that a reader recognises.
        out: output folder of the command.
        options: of the import, where known.

    Returns:
        One report per run.

    Raises:
        UnreadableFileError: if the file cannot be read.
        DataError: if no reader recognises it, or several do.
    """
    stated = options or Options()
    reader, whole = read_tables(path, format=stated.format)
    tables = [table for one in whole for table in split_table(one, stated)]
    alone = len(tables) == 1
    inspected = []
    for table in tables:
        proposed, roles = _proposed(table, stated)
        run = InspectedRun(
            table.name,
            table.source,
            reader.name,
            reader.meaning,
            int(table.lines.size),
            _keys(table, roles, proposed),
        )
        inspected.append(_tried(run, reader.name, table, stated, proposed, str(path), out, alone))
    return tuple(inspected)


def _proposed(table: LogTable, stated: Options) -> tuple[Options, dict[str, list[str]]]:
    """Options with the preferred key where several may have a role, and all that may."""
    roles: dict[str, list[str]] = {}
    for role in ROLES:
        try:
            roles[role] = candidates(role, (table,), stated)
        except ScalingLawsError:
            roles[role] = []
    roles["loss"] = by_preference({key: int(table.columns[key].rows.size) for key in roles["loss"]})
    changes = {f"{role}_key": roles[role][0] for role in ROLES[:3] if len(roles[role]) > 1}
    return replace(stated, **changes), roles  # type: ignore[arg-type]


def _keys(
    table: LogTable, roles: Mapping[str, list[str]], proposed: Options
) -> tuple[InspectedKey, ...]:
    named = {}
    for role in reversed(ROLES):
        for index, key in enumerate(roles[role]):
            named[key] = role if index == 0 else f"{role}?"
    likely = {*loss_like(table.columns), *rate_like(table.columns)}
    keys = [
        InspectedKey(
            name,
            named.get(name, "" if not column.parse_error else "words"),
            int(column.rows.size),
            float(column.values[0]) if column.values.size else None,
            float(column.values[-1]) if column.values.size else None,
        )
        for name, column in table.columns.items()
    ]

    def rank(key: InspectedKey) -> int:
        if key.role not in ("", "words"):
            return int(key.role.endswith("?"))
        return 2 if key.name in likely and not key.role else 3

    return tuple(sorted(keys, key=rank))


def _tried(
    run: InspectedRun,
    reader: str,
    table: LogTable,
    stated: Options,
    proposed: Options,
    path: str,
    out: str,
    alone: bool,
) -> InspectedRun:
    """Import without writing; where the schedule is missing, with rates filled in."""
    problem = ""
    ways = _ways(proposed)
    while ways:
        extra = ways.pop(0)
        try:
            entry = import_run(run.name, reader, (table,), extra)
        except SeveralRunsError as error:
            split = ",".join(error.keys) or None
            extra = replace(proposed, run_key=split, split_restarts=split is None)
            command = _command(path, out, run.name, extra, alone)
            return replace(run, findings=_notes(table), command=command, problem=str(error))
        except HiddenWarmupError as error:
            problem = problem or str(error)
            unsure = _unsure(error, proposed)
            if error.hidden is not None and error.hidden.certain and extra is proposed:
                ways = [replace(unsure, warmup=0)]
                continue
            command = _command(path, out, run.name, unsure, alone)
            if error.hidden is None or error.hidden.warmup is None:
                command += f" --warmup {STEPS}"
            found = _found(table, proposed)
            return replace(run, findings=found, command=command, problem=problem)
        except ScalingLawsError as error:
            if not problem and isinstance(error, ShiftedRatesError) and len(error.offsets) == 1:
                ways.insert(0, replace(proposed, lr_offset=error.offsets[0]))
            problem = problem or str(error)
            continue
        report = entry.report
        return replace(
            run,
            findings=report.findings,
            schedule=report.schedule,
            schedule_from=report.schedule_from,
            points=report.points,
            command=_command(path, out, run.name, extra, alone),
            ready=True,
            problem=problem,
        )
    trial = replace(proposed, schedule=PLACEHOLDER) if "--schedule" in problem else proposed
    command = _command(path, out, run.name, trial, alone)
    for flag in ("--loss-key", "--step-key"):
        if f"choose one with {flag}" in problem:
            command += f" {flag} KEY"
    return replace(run, findings=_found(table, proposed), command=command, problem=problem)


def _found(table: LogTable, options: Options) -> tuple[Finding, ...]:
    """Anomalies of the losses, whatever is missing for the schedule."""
    try:
        keys = find_roles((table,), replace(options, schedule=PLACEHOLDER))
        return curve_of((table,), keys, options).findings
    except ScalingLawsError:
        return _notes(table)


def _notes(table: LogTable) -> tuple[Finding, ...]:
    return tuple(Finding("file", note) for note in table.notes)


def _ways(proposed: Options) -> list[Options]:
    """The options to try, in decreasing order of certainty."""
    if proposed.schedule is not None or proposed.between is not None:
        return [proposed]
    return [proposed, replace(proposed, between="linear")]


def _unsure(error: HiddenWarmupError, proposed: Options) -> Options:
    """The options for a log that begins after its warm-up, as far as its rates determine them."""
    if error.hidden is None:
        return replace(proposed, between=proposed.between or "linear")
    options = replace(proposed, warmup=error.hidden.warmup)
    return replace(options, lr_offset=error.lr_offset) if error.hidden.shift else options


FLAGS = {
    "format": "--format",
    "step_key": "--step-key",
    "lr_key": "--lr-key",
    "loss_key": "--loss-key",
    "tokens_key": "--tokens-key",
    "samples_key": "--samples-key",
    "lr_group": "--lr-group",
    "first_step": "--first-step",
    "lr_offset": "--lr-offset",
    "steps_per_update": "--steps-per-update",
    "step_offset": "--step-offset",
    "tokens_per_step": "--tokens-per-step",
    "samples_per_step": "--samples-per-step",
    "sequence_length": "--sequence-length",
    "repeats": "--repeats",
    "run_key": "--run-key",
    "split_restarts": "--split-restarts",
    "window": "--window",
    "average_window": "--average-window",
    "drop_spikes": "--drop-spikes",
    "drop_skipped": "--drop-skipped",
    "from_step": "--from-step",
    "schedule": "--schedule",
    "steps": "--steps",
    "warmup": "--warmup",
    "between": "--between",
    "parent": "--parent",
}


def _command(path: str, out: str, name: str, options: Options, alone: bool) -> str:
    words = ["scaling-laws", "import", path, "--out", out]
    if not alone:
        words += ["--run", name]
    elif run_name(name) != name:
        words += ["--name", run_name(name)]
    plain = Options()
    for attribute, flag in FLAGS.items():
        value = getattr(options, attribute)
        if value == getattr(plain, attribute):
            continue
        words += [flag] if value is True else [flag, str(value)]
    for fact, value in options.facts.items():
        words += [f"--{fact.replace('_', '-')}", f"{value:.15g}"]
    return shlex.join(words)
