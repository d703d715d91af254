"""Import of logs into a set of loss curves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from scaling_laws.common import DataError, UsageError, unknown_name
from scaling_laws.data.importing.curve import LossCurve, curve_of
from scaling_laws.data.importing.options import Finding, Options, RunReport
from scaling_laws.data.importing.per_log import OptionTables, check_patterns, options_of_log
from scaling_laws.data.importing.roles import find_roles, useful_keys
from scaling_laws.data.importing.schedule_resolution import (
    ParentPrefix,
    ResolvedSchedule,
    resolve_schedule,
)
from scaling_laws.data.importing.several_runs import split_table
from scaling_laws.data.importing.write_set import SetEntry, run_name, write_set
from scaling_laws.data.logs import LogTable, read_tables
from scaling_laws.data.logs.configs import facts_of
from scaling_laws.data.logs.keys import rate_like
from scaling_laws.data.runs import load_runs
from scaling_laws.data.runs.columns import PARQUET
from scaling_laws.models import check_facts, is_fact

FEW = 50  # steps before the branch that the log of a branch may repeat

__all__ = ["ImportedSet", "import_logs", "import_run"]


@dataclass(frozen=True)
class ImportedSet:
    """The result of an import.

    Attributes:
        folder: of the set.
        files: that were written.
        reports: of the new runs.
    """

    folder: Path
    files: tuple[Path, ...]
    reports: tuple[RunReport, ...] = field(repr=False)


@dataclass(frozen=True, eq=False)
class _ReadRun:
    """A run of a log: the format's name, its rows, and the options of its log."""

    reader: str
    table: LogTable
    options: Options


def import_logs(
    logs: Sequence[Path | str],
    out: Path | str,
    *,
    options: Options | None = None,
    options_by_log: OptionTables | None = None,
    runs: Iterable[str] = (),
    name: str | None = None,
    join: bool = False,
    about: dict[str, str] | None = None,
    parquet: bool = False,
    overwrite: bool = False,
) -> ImportedSet:
    """Read logs and write them as runs of a set: a CSV or Parquet file per run, and `dataset.toml`.

    Args:
        logs: files, or folders that a reader recognises.
        out: the set's folder; runs are added to one that exists.
        options: what the files do not contain.
        options_by_log: options of single logs, by path, name or pattern; see `read_log_options`.
        runs: names of the runs to import from files with several; default all.
        name: of the run, if there is one.
        join: whether all files are parts of one run, in the given order.
        about: ``title``, ``source``, ``license``, ``optimizer`` of the set.
        parquet: whether to write Parquet files instead of CSV.
        overwrite: whether runs of the same name may be replaced.

    Returns:
        The set, with one report per run.

    Raises:
        ScalingLawsError: with file and row of what cannot be used; nothing is written then.
    """
    import_options = options or Options()
    if not logs:
        raise UsageError("no log given")
    by_log = options_by_log or {}
    check_patterns(by_log, logs)
    options_of = {str(log): options_of_log(log, import_options, by_log) for log in logs}
    for one in options_of.values():
        check_facts(one.facts)
    entries = [
        import_run(run, reader, tables, run_options, Path(out))
        for run, reader, tables, run_options in _grouped(logs, options_of, tuple(runs), name, join)
    ]
    files = write_set(Path(out), entries, about or {}, parquet=parquet, overwrite=overwrite)
    return ImportedSet(Path(out), files, tuple(entry.report for entry in entries))


def _grouped(
    logs: Sequence[Path | str],
    options_of: Mapping[str, Options],
    runs: tuple[str, ...],
    name: str | None,
    join: bool,
) -> list[tuple[str, str, tuple[LogTable, ...], Options]]:
    """(name, reader, tables, options) of each run."""
    read = [
        _ReadRun(reader.name, table, options)
        for log in logs
        for options in (options_of[str(log)],)
        for reader, tables in (read_tables(log, format=options.format),)
        for whole in tables
        for table in split_table(whole, options)
    ]
    if runs:
        names_read = [one.table.name for one in read]
        for requested in runs:
            if requested not in names_read:
                raise UsageError(
                    f"--run: {unknown_name('run', requested, names_read)}", value=requested
                )
        read = [one for one in read if one.table.name in runs]
    if join:
        runs_per_source = Counter(str(one.table.source) for one in read)
        several = next((source for source, count in runs_per_source.items() if count > 1), None)
        if several is not None:
            names = ", ".join(one.table.name for one in read if str(one.table.source) == several)
            raise UsageError(
                f"--join: {several} contains {runs_per_source[several]} runs ({names}), which are "
                "not parts of "
                "one; choose one with --run"
            )
        readers = ", ".join(dict.fromkeys(one.reader for one in read))
        first = read[0]
        parts = tuple(one.table for one in read)
        return [(name or first.table.name, readers, parts, first.options)]
    if name is not None and len(read) > 1:
        names = ", ".join(one.table.name for one in read)
        raise UsageError(
            f"--name {name}: there are {len(read)} runs ({names}); "
            "choose one with --run, or pass --join if they are parts of one run"
        )
    grouped: list[tuple[str, str, tuple[LogTable, ...], Options]] = []
    for one in read:
        label = name or one.table.name
        if any(run_name(label) == run_name(other_label) for other_label, *_ in grouped):
            raise UsageError(
                f"{one.table.source}: a second run is named {label!r}; pass --join if both are "
                "parts of one run, else import them one by one with --name",
                path=one.table.source,
            )
        grouped.append((label, one.reader, (one.table,), one.options))
    return grouped


def import_run(
    name: str, reader: str, tables: tuple[LogTable, ...], options: Options, out: Path | None = None
) -> SetEntry:
    """Import one run without writing it.

    Args:
        name: of the run, as logged or requested.
        reader: the format's name.
        tables: its parts in their order.
        options: of the import.
        out: the set that contains a parent without a folder.

    Raises:
        ScalingLawsError: with file and row of what cannot be used.
    """
    if len({(table.first_step, table.lr_offset) for table in tables}) > 1:
        raise UsageError(
            f"{name}: parts of formats that count steps differently; import them separately"
        )
    keys = find_roles(tables, options)
    curve = curve_of(tables, keys, options)
    findings = list(curve.findings)
    prefix = _parent_prefix(options.parent, out)
    if prefix is not None:
        curve = _branched(curve, prefix, options.step_offset, findings)
    config = {key: value for table in tables for key, value in table.config.items()}
    planned = resolve_schedule(
        tables[0].source, curve, options, config, prefix, rate_like(useful_keys(tables))
    )
    findings += planned.findings
    curve = _cut(tables[0].source, curve, planned, options.from_step, findings)
    facts = {fact: value for fact, value in facts_of(config).items() if is_fact(fact, value)}
    if facts and set(facts) - set(options.facts):
        stated = ", ".join(f"{k} {v:g}" for k, v in facts.items() if k not in options.facts)
        findings.append(Finding("facts", f"from the log's settings: {stated}"))
    if curve.tokens_per_step is not None and curve.tokens_per_step >= 1:
        facts["tokens_per_step"] = float(curve.tokens_per_step)
    facts.update(options.facts)
    written = run_name(name)
    if written != name:
        findings.append(Finding("name", f"the run {name!r} is written as {written}", True))
    report = RunReport(
        written,
        reader,
        tuple(Path(table.source).name for table in tables),
        keys,
        sum(int(table.lines.size) for table in tables),
        int(curve.steps.size),
        int(curve.steps[0]),
        int(curve.steps[-1]),
        planned.spec or f"csv:schedules/{written}.csv",
        planned.origin,
        curve.window,
        facts,
        tuple(findings),
    )
    return SetEntry(report, curve, planned)


def _parent_prefix(parent: str | None, out: Path | None) -> ParentPrefix | None:
    """Name and learning rates of the parent up to the branch."""
    if parent is None:
        return None
    reference, at, step = parent.rpartition("@")
    if not at or not step.isdecimal() or int(step) < 1:
        raise UsageError(f"--parent {parent}: write RUN@STEP, e.g. runs:main@40000")
    inside = out is not None and any(
        (out / f"{reference}{ending}").exists() for ending in (".csv", PARQUET)
    )
    runs = load_runs(f"{out}:{reference}" if inside else reference)
    if len(runs) != 1:
        raise UsageError(
            f"--parent {parent}: {reference} contains {len(runs)} runs; name one, FOLDER:NAME"
        )
    (run,) = runs.values()
    if int(step) > run.schedule.steps:
        raise UsageError(f"--parent {parent}: {run.name} has only {run.schedule.steps} steps")
    return ParentPrefix(run.name, run.schedule.lr[: int(step)])


def _branched(
    curve: LossCurve, prefix: ParentPrefix, offset: int, findings: list[Finding]
) -> LossCurve:
    """The points of a branch, from its first step on."""
    branch = prefix.lr.size
    logged = int(curve.steps[0]) - offset
    if offset and logged >= branch:
        raise UsageError(
            f"--step-offset {offset}: the log begins at step {logged}, after the branch at {branch}"
            " already, so it does not count from there; omit --step-offset"
        )
    on_branch = curve.steps >= branch
    if int(curve.steps[0]) < branch - FEW or not on_branch.any():
        raise UsageError(
            f"--parent {prefix.name}@{branch}: the log begins at step {curve.steps[0]}; if it "
            "counts "
            f"from the branch, pass --step-offset {branch}"
        )
    if not on_branch.all():
        words = f"{int((~on_branch).sum())} points before the branch at step {branch} omitted"
        findings.append(Finding("parent", words, True))
    words = f"the rates before step {branch} are those of {prefix.name}"
    findings.append(Finding("parent", words, True))
    if offset and curve.tokens is not None:
        words = "the column tokens counts from the start of the log, without the parent's tokens"
        findings.append(Finding("tokens", words))
    return _select(curve, on_branch)


def _select(curve: LossCurve, keep: np.ndarray) -> LossCurve:
    tokens = None if curve.tokens is None else curve.tokens[keep]
    return replace(curve, steps=curve.steps[keep], loss=curve.loss[keep], tokens=tokens)


def _cut(
    source: str,
    curve: LossCurve,
    planned: ResolvedSchedule,
    first_step: int | str,
    findings: list[Finding],
) -> LossCurve:
    """Omit the points before a step."""
    if first_step == "warmup":
        rising = np.diff(planned.lr) > 0
        first_step = 0 if not rising[:1].any() else int(np.argmin(np.append(rising, False))) + 1
    keep = curve.steps >= int(first_step)
    if not keep.any():
        raise DataError(
            f"{source}: no loss is logged at or after step {first_step} (--from-step)", path=source
        )
    if not keep.all():
        words = f"{int((~keep).sum())} points before step {first_step} omitted (--from-step)"
        findings.append(Finding("from_step", words, True))
    return _select(curve, keep)
