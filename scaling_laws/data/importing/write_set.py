"""A set of loss curves on disk: one file per run, rates without a spec, and `dataset.toml`."""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scaling_laws.common import FolderChange, OutputError, changed_folder, check_folder, printable
from scaling_laws.data.importing.curve import LossCurve
from scaling_laws.data.importing.options import RunReport
from scaling_laws.data.importing.schedule_resolution import ResolvedSchedule
from scaling_laws.data.runs.columns import PARQUET, pyarrow_parquet
from scaling_laws.data.runs.manifest import SCHEDULES_FOLDER, read_manifest

__all__ = ["ABOUT", "SetEntry", "run_name", "write_set"]

ABOUT = ("title", "source", "license", "optimizer")  # metadata of a set
MAX_NAME_LENGTH = 150


@dataclass(frozen=True, eq=False)
class SetEntry:
    """A run to be written.

    Attributes:
        report: of its import.
        curve: its losses.
        planned: its schedule.
    """

    report: RunReport
    curve: LossCurve = field(repr=False)
    planned: ResolvedSchedule = field(repr=False)


def run_name(name: str) -> str:
    """A valid file name: letters, digits, ``_``, ``.``, ``-``; others become ``_``."""
    return re.sub(r"[^\w.\-]|^[.\-]", "_", name, flags=re.ASCII)[:MAX_NAME_LENGTH] or "run"


def write_set(
    folder: Path,
    entries: Sequence[SetEntry],
    about: Mapping[str, str],
    *,
    parquet: bool = False,
    overwrite: bool = False,
) -> tuple[Path, ...]:
    """Write runs into a set as one transaction: all files or none, even if the process is killed.

    Args:
        folder: the set; created if necessary.
        entries: the runs.
        about: metadata of the set, by the keys in `ABOUT`.
        parquet: whether to write Parquet files instead of CSV; entries name the file.
        overwrite: whether runs of the same name, and metadata, may be replaced.

    Returns:
        The files written.

    Raises:
        OutputError: if a run exists and may not be replaced, or a file cannot be written.
        DataError: if the set's `dataset.toml` cannot be read.
    """
    if parquet:
        pyarrow_parquet()  # before anything is written
    check_folder(folder)
    if folder.is_dir():
        _merged(folder, entries, about, parquet, overwrite)  # an error before anything is written
    with changed_folder(folder) as change:
        # another process may have changed the set meanwhile
        tables, obsolete = _merged(folder, entries, about, parquet, overwrite)
        for entry in entries:
            _write_run(change, entry, parquet)
        change.write_text(folder / "dataset.toml", _toml(tables))
        for path in obsolete:
            change.remove(path)
    files = [path for entry in entries for path in _paths(folder, entry, parquet)]
    return (*files, folder / "dataset.toml")


def _merged(
    folder: Path,
    entries: Sequence[SetEntry],
    about: Mapping[str, str],
    parquet: bool,
    overwrite: bool,
) -> tuple[dict[str, Any], list[Path]]:
    """The tables of the manifest with the runs added, and the files that these make obsolete."""
    manifest = folder / "dataset.toml"
    tables = read_manifest(manifest)
    runs = dict(tables.pop("runs", {}))
    files = [path for entry in entries for path in _paths(folder, entry, parquet)]
    obsolete = []  # files of the same runs in the other format
    for entry in entries:
        name = entry.report.name
        curves = [folder / f"{name}{ending}" for ending in (".csv", PARQUET)]
        written = any(path.exists() for path in curves[: 1 + parquet])
        if not overwrite and (name in runs or written):
            raise OutputError(
                f"{folder} has a run {name!r} already; choose another with --name or pass "
                "--overwrite",
                path=folder,
            )
        if name in runs:  # otherwise a file of that name may be the log itself
            previous_file = runs[name].get("file", f"{name}.csv")
            obsolete += [
                path for path in curves if path.name == previous_file and path not in files
            ]
        runs[name] = _manifest_entry(entry, parquet)
    for key, value in about.items():
        if key in tables and tables[key] != value and not overwrite:
            raise OutputError(
                f"{manifest}: {key} is {tables[key]!r}, not {value!r}; omit it or pass --overwrite",
                path=manifest,
                value=value,
            )
        tables[key] = value
    ordered = {
        key: tables[key] for key in (*ABOUT, *sorted(set(tables) - set(ABOUT))) if key in tables
    }
    ordered["runs"] = dict(sorted(runs.items()))
    return ordered, obsolete


def _paths(folder: Path, entry: SetEntry, parquet: bool) -> list[Path]:
    name = entry.report.name
    files = [folder / f"{name}{PARQUET if parquet else '.csv'}"]
    return (
        files
        if entry.planned.spec is not None
        else [*files, folder / SCHEDULES_FOLDER / f"{name}.csv"]
    )


def _columns(entry: SetEntry) -> dict[str, Any]:
    curve = entry.curve
    columns: dict[str, Any] = {
        "step": curve.steps,
        "lr": entry.planned.lr[curve.steps],
        "loss": curve.loss,
    }
    if curve.tokens is not None:
        columns["tokens"] = curve.tokens
    return columns


def _write_run(change: FolderChange, entry: SetEntry, parquet: bool) -> None:
    columns = _columns(entry)
    (file, *schedule_files) = _paths(change.folder, entry, parquet)
    if parquet:
        table = importlib.import_module("pyarrow").table(columns)
        library = pyarrow_parquet()
        change.write_with(file, lambda path: library.write_table(table, path))
    else:
        rows = zip(*(map(repr, column.tolist()) for column in columns.values()), strict=True)
        text = ",".join(columns) + "\n" + "\n".join(map(",".join, rows)) + "\n"
        change.write_text(file, text)
    for schedule_file in schedule_files:
        lines = (f"{step},{lr!r}\n" for step, lr in enumerate(entry.planned.lr.tolist()))
        change.write_text(schedule_file, "step,lr\n" + "".join(lines))


def _manifest_entry(entry: SetEntry, parquet: bool) -> dict[str, Any]:
    report = entry.report
    fields: dict[str, Any] = {"file": f"{report.name}{PARQUET}"} if parquet else {}
    fields["schedule"] = report.schedule
    if report.window > 1:
        fields["window"] = report.window
    fields |= {key: _plain(value) for key, value in report.facts.items()}
    fields["import"] = {
        "reader": report.reader,
        "sources": [printable(source) for source in report.sources],
        "keys": dict(report.keys),
        "rows": report.rows,
        "points": report.points,
        "schedule_from": report.schedule_from,
        "changed": [
            f"{finding.kind}: {finding.words}" for finding in report.findings if finding.changed
        ],
        "found": [
            f"{finding.kind}: {finding.words}" for finding in report.findings if not finding.changed
        ],
    }
    return fields


def _plain(value: float) -> float | int:
    is_integer = math.isfinite(value) and value == int(value) and abs(value) >= 1
    return int(value) if is_integer else value


def _toml(tables: Mapping[str, Any]) -> str:
    import tomli_w

    return tomli_w.dumps(tables)
