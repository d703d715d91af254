"""A JSON file that is a table: a list of objects (rows) or an object of lists (columns).

``[{"step": 0, "loss": 3.5}, ...]`` and ``{"step": [0, ...], "loss": [3.5, ...]}``, as
``json.dump`` writes what a training loop collected.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from scaling_laws.common import DataError
from scaling_laws.data.logs.jsonl import labelled
from scaling_laws.data.logs.reader import Head, LogTable, Match, Reader, table_of
from scaling_laws.data.logs.splits import split_runs
from scaling_laws.data.logs.text import json_of

__all__ = ["JSON_TABLE"]

ROWS = re.compile(r"\s*\[\s*\{")
COLUMNS = re.compile(r'\s*\{\s*"[^"]*"\s*:\s*\[\s*(-?[\d.]|NaN|null|\])')


def detect(head: Head) -> Match:
    """By its first characters."""
    is_table = ROWS.match(head.text) or COLUMNS.match(head.text)
    return Match.SPECIFIC if head.ending == ".json" and is_table else Match.NO


def read(path: Path) -> tuple[LogTable, ...]:
    """Read one run, or one per value of a key called run.

    Raises:
        DataError: if the file is not complete JSON, or no such table.
    """
    document = json_of(path, "a table")
    records = _records(path, document)
    table = table_of(path.stem, str(path), map(labelled, records))
    if not table.columns:
        raise DataError(f"{path}: no row contains a key; nothing was logged", path=path)
    return split_runs(table)


def _records(path: Path, document: Any) -> list[dict[str, Any]]:
    """Rows, of either layout."""
    if isinstance(document, list):
        for number, record in enumerate(document, start=1):
            if not isinstance(record, dict):
                raise DataError(
                    f"{path} row {number}: {json.dumps(record)[:60]} is not an object "
                    f"{{key: value}}",
                    path=path,
                    row=number,
                    value=record,
                )
        return document
    if not isinstance(document, dict):
        raise DataError(
            f"{path}: a list of objects or an object of lists is required, not a "
            f"{type(document).__name__}",
            path=path,
        )
    columns = {key: value for key, value in document.items() if isinstance(value, list)}
    lengths = {key: len(column) for key, column in columns.items()}
    if len(set(lengths.values())) > 1:
        sizes = ", ".join(f"{key} {length}" for key, length in lengths.items())
        raise DataError(
            f"{path}: columns of different lengths ({sizes[:120]}), so that rows cannot be "
            "matched; "
            "write one object per row, each with its step",
            path=path,
        )
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


JSON_TABLE = Reader(
    name="json",
    meaning="JSON: a list of objects {key: value}, or an object of lists",
    detect=detect,
    read=read,
)
