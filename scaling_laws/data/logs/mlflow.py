"""Stores of MLflow: a database ``mlflow.db``, or folders ``mlruns/EXPERIMENT/RUN``.

In a run's folder ``metrics/KEY`` holds lines ``timestamp value step``; a key with slashes is a
path. In the database, table ``metrics`` holds ``key``, ``value``, ``timestamp``, ``run_uuid``,
``step`` and ``is_nan``. ``step`` is the caller's, and 0 where none was given. The database clips
infinities to the largest double, which is undone here. Rows are read in the order of their
timestamps, so a resumed run repeats its steps. Source: MLflow's docs on backend stores, and stores
written by MLflow 3.17.
"""

from __future__ import annotations

import math
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scaling_laws.common import DataError, open_bytes
from scaling_laws.data.logs.reader import Head, LogTable, Match, Reader, table_of
from scaling_laws.data.logs.sqlite import columns_in, columns_of, connected
from scaling_laws.data.logs.text import lines_of, open_error

__all__ = ["MLFLOW", "MLFLOW_DATABASE"]

COLUMNS = frozenset({"key", "value", "timestamp", "run_uuid", "step", "is_nan"})
NO_STEP = "every step is 0: no step was given to log_metric, so the points have no order in steps"


def detect(head: Head) -> Match:
    """By a run's folder: metrics beside meta.yaml; also experiments of such, and mlruns."""
    try:
        return Match.SPECIFIC if head.names and _runs(head.path) else Match.NO
    except OSError:
        return Match.NO


def _runs(path: Path) -> list[Path]:
    """Folders of runs: the folder itself, those in it, or those in the experiments in it."""
    for pattern in (".", "*", "*/*"):
        folders = [path] if pattern == "." else sorted(path.glob(pattern))
        run_folders = [
            folder
            for folder in folders
            if (folder / "metrics").is_dir() and (folder / "meta.yaml").is_file()
        ]
        if run_folders:
            return run_folders
    return []


def read(path: Path) -> tuple[LogTable, ...]:
    """Read every run of a folder: of a run, of an experiment, or of all experiments.

    Raises:
        DataError: with the file and the line that is not a metric, or if there is no run.
    """
    try:
        runs = [(_one_line(run / "tags" / "mlflow.runName"), run.name, run) for run in _runs(path)]
        names = _distinct_names([(name, number) for name, number, _ in runs])
        return tuple(
            _table(name, run, _of_run(run)) for name, (*_, run) in zip(names, runs, strict=True)
        )
    except OSError as error:
        raise open_error(path, error) from None


Point = tuple[int, str, float, int]  # timestamp in ms, key, value, step


def _of_run(run: Path) -> tuple[list[Point], dict[str, Any], list[str]]:
    points: list[Point] = []
    notes: list[str] = []
    for file in sorted((run / "metrics").rglob("*")):
        if file.is_file():
            points += _points(file, file.relative_to(run / "metrics").as_posix(), notes)
    folder = run / "params"
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    params = {file.relative_to(folder).as_posix(): _one_line(file) for file in files}
    return points, params, notes


def _one_line(file: Path) -> str:
    return next((line for _, line in lines_of(file)), "") if file.is_file() else ""


def _points(file: Path, key: str, notes: list[str]) -> Iterator[Point]:
    """Points of a key; a last line without a line end may be truncated, and is omitted."""
    rows = list(lines_of(file))
    with open_bytes(file) as stream:
        stream.seek(max(file.stat().st_size - 1, 0))
        cut = stream.read() not in (b"\n", b"")
    if cut:
        number, _ = rows.pop()
        notes.append(f"metrics/{key} line {number} has no line end and may be truncated; omitted")
    for number, line in rows:
        try:
            stamp, value, step = line.split()
            yield int(stamp), key, float(value), int(step)
        except ValueError:
            raise DataError(
                f"{file} line {number}: {line[:60]!r} is not 'timestamp value step'; correct or "
                "delete it",
                path=file,
                row=number,
                value=line,
            ) from None


def detect_database(head: Head) -> Match:
    """By the columns of its table."""
    return Match.SPECIFIC if columns_in(head, "metrics") >= COLUMNS else Match.NO


def read_database(path: Path) -> tuple[LogTable, ...]:
    """Read every run of a database that logged a metric.

    Raises:
        DataError: if it is not such a database.
    """
    with connected(path) as database:
        if not columns_of(database, "metrics") >= COLUMNS:
            raise DataError(f"{path}: no table metrics({', '.join(sorted(COLUMNS))})", path=path)
        runs = database.execute(
            "select run_uuid, name from runs where run_uuid in (select run_uuid from metrics) "
            "order by start_time, run_uuid"
        ).fetchall()
        names = _distinct_names([(name or "", run) for run, name in runs])
        return tuple(
            _table(name, path, _of_database(path, database, run))
            for name, (run, _) in zip(names, runs, strict=True)
        )


def _of_database(
    path: Path, database: sqlite3.Connection, run: str
) -> tuple[list[Point], dict[str, Any], list[str]]:
    points: list[Point] = []
    rows = database.execute(
        "select timestamp, key, value, step, is_nan from metrics where run_uuid = ? order by rowid",
        (run,),
    )
    for stamp, key, value, step, is_nan in rows:
        if not isinstance(value, float | int) or not isinstance(step, int):
            raise DataError(
                f"{path}, run {run}, {key!r}: {value!r} at step {step!r} is not a number", path=path
            )
        if abs(value) == sys.float_info.max:
            value = math.copysign(math.inf, value)
        points.append((stamp, key, math.nan if is_nan else float(value), step))
    params = database.execute("select key, value from params where run_uuid = ?", (run,))
    return points, dict(params.fetchall()), []


def _distinct_names(runs: list[tuple[str, str]]) -> list[str]:
    """Names of runs, followed by the start of their ID if several share one; or the ID."""
    counts = Counter(name for name, _ in runs)
    return [
        f"{name}-{number[:8]}" if name and counts[name] > 1 else name or number
        for name, number in runs
    ]


def _table(
    name: str, source: Path, parts: tuple[list[Point], dict[str, Any], list[str]]
) -> LogTable:
    """One row per point, in the order of time."""
    points, params, notes = parts
    points.sort(key=lambda point: point[0])  # stable: ties stay as they were stored
    logged_step_key = "step (logged)"  # a metric with the name of the tracker's counter
    records = [
        {"step": step, (logged_step_key if key == "step" else key): value}
        for _, key, value, step in points
    ]
    if len(points) > 1 and not any(step for *_, step in points):
        notes.append(NO_STEP)
    return table_of(
        name,
        str(source),
        records,
        unit="point",
        step="step",
        config={key: _number(value) for key, value in params.items()},
        notes=tuple(notes),
    )


def _number(text: str) -> Any:
    """A setting as a number where it is one; MLflow stores all as text."""
    try:
        return float(text)
    except ValueError:
        return text


MLFLOW = Reader(
    name="mlflow",
    meaning="a folder of MLflow's file store: mlruns, an experiment or a run",
    detect=detect,
    read=read,
)
MLFLOW_DATABASE = Reader(
    name="mlflow_database",
    meaning="the SQLite database of MLflow, mlflow.db",
    detect=detect_database,
    read=read_database,
)
