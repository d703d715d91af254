"""Databases of Trackio, ``PROJECT.db``: table ``metrics``, one row per call of ``log``.

A row contains ``run_name``, ``step`` and the logged values as JSON; ``step`` is the caller's, or
counts calls. NaN and infinity are words in the JSON. Rows are read in the order they were written,
so a resumed run repeats its steps. Settings are in ``configs``. Source: Trackio's page "Storage
Schema and Direct Queries", 2026.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scaling_laws.common import DataError
from scaling_laws.data.logs.reader import Head, LogTable, Match, Reader, table_of
from scaling_laws.data.logs.sqlite import columns_in, columns_of, connected

__all__ = ["TRACKIO"]

COLUMNS = frozenset({"id", "run_name", "step", "metrics"})
WORDS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


def detect(head: Head) -> Match:
    """By the columns of its table."""
    return Match.SPECIFIC if columns_in(head, "metrics") >= COLUMNS else Match.NO


def read(path: Path) -> tuple[LogTable, ...]:
    """Read every run of a project.

    Raises:
        DataError: if it is not such a database, or a row is not a JSON object.
    """
    with connected(path) as database:
        if not columns_of(database, "metrics") >= COLUMNS:
            raise DataError(f"{path}: no table metrics(id, run_name, step, metrics)", path=path)
        names = database.execute("select run_name from metrics group by run_name order by min(id)")
        runs = [str(name) for (name,) in names.fetchall()]
        return tuple(_run(path, database, run) for run in runs)


def _run(path: Path, database: sqlite3.Connection, run: str) -> LogTable:
    lines: list[int] = []
    return table_of(
        run,
        str(path),
        _records(path, database, run, lines),
        lines=lines,
        unit="metrics row",
        step="step",
        config=_config(path, database, run),
    )


def _records(
    path: Path, database: sqlite3.Connection, run: str, lines: list[int]
) -> Iterator[dict[str, Any]]:
    rows = database.execute(
        "select id, step, metrics from metrics where run_name = ? order by id", (run,)
    )
    for number, step, text in rows:
        lines.append(number)
        values = {key: WORDS.get(str(value), value) for key, value in _object(path, number, text)}
        # the row's own step is the tracker's; a value of that name is another
        if "step" in values:
            values["step (logged)"] = values.pop("step")
        yield {"step": step, **values}


def _object(path: Path, number: int, text: str) -> list[tuple[str, Any]]:
    try:
        decoded = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        decoded = None
    if not isinstance(decoded, dict):
        raise DataError(
            f"{path} metrics row {number}: {str(text)[:60]!r} is not a JSON object",
            path=path,
            row=number,
            value=text,
        )
    return list(decoded.items())


def _config(path: Path, database: sqlite3.Connection, run: str) -> dict[str, Any]:
    if not columns_of(database, "configs") >= {"run_name", "config"}:
        return {}
    rows = database.execute("select config from configs where run_name = ?", (run,)).fetchall()
    return dict(_object(path, 0, rows[-1][0])) if rows else {}


TRACKIO = Reader(
    name="trackio",
    meaning="the SQLite database of a Trackio project",
    detect=detect,
    read=read,
)
