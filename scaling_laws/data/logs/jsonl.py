"""Lines of JSON, one object per line with any keys; nested keys are joined by ``/``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from scaling_laws.common import DataError
from scaling_laws.data.logs.reader import Head, LogTable, Match, Reader, table_of
from scaling_laws.data.logs.splits import is_split_name, split_key, split_label, split_runs
from scaling_laws.data.logs.text import encoding_of, open_error

__all__ = ["JSONL", "labelled", "records_of"]

OBJECT = re.compile(r"\{(?!\s*').*\}")  # a dictionary as Python prints it has other quotes


def records_of(path: Path, lines: list[int], notes: list[str]) -> Iterator[dict[str, Any]]:
    """Objects of a file, one per line; blank lines are skipped.

    A truncated last line, as left by a crash, is omitted and reported.

    Args:
        path: the file.
        lines: receives the line of each object.
        notes: receives notes for the report.

    Raises:
        DataError: at the first line that is not a JSON object.
    """
    decode = json.JSONDecoder().decode
    number = 0
    try:
        with path.open("rb") as stream:
            encoding = encoding_of(stream.read(4))
        with path.open(encoding=encoding) as stream:
            for number, line in enumerate(stream, start=1):
                if line.isspace():
                    continue
                try:
                    record = decode(line)
                except (ValueError, RecursionError) as error:
                    if line.endswith("\n"):
                        raise _no_json(path, number, line, error) from None
                    notes.append(f"line {number}, the last, is truncated; omitted")
                    return
                if type(record) is not dict:
                    raise DataError(
                        f"{path} line {number}: {line.strip()[:60]!r} is not a JSON object",
                        path=path,
                        row=number,
                        value=line.strip(),
                    )
                lines.append(number)
                yield labelled(record)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} after line {number}: {error.reason}: not UTF-8 text; save the file as UTF-8",
            path=path,
        ) from None
    except (OSError, ValueError) as error:
        raise open_error(path, error) from None


def labelled(record: dict[str, Any]) -> dict[str, Any]:
    """A record with its label of training or evaluation, if any, moved into its keys."""
    for name, word in record.items():
        if type(word) is str and is_split_name(name):
            label = split_label(word)
            if label is not None:
                return {
                    key if key == name else split_key(label, key): value
                    for key, value in record.items()
                }
    return record


def _no_json(path: Path, number: int, line: str, error: Exception) -> DataError:
    what = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
    return DataError(
        f"{path} line {number}: not JSON ({what}): {line.strip()[:60]!r}; correct or delete it",
        path=path,
        row=number,
    )


def detect(head: Head) -> Match:
    """By its suffix, or by objects on its first two lines."""
    if head.ending in (".jsonl", ".ndjson"):
        return Match.GENERIC
    first = head.text.lstrip().split("\n", 2)[:2]
    if head.ending == ".json" and len(first) < 2:
        return Match.NO
    whole = all(OBJECT.fullmatch(line.strip()) for line in first)
    return Match.GENERIC if head.text.strip() and whole else Match.NO


def read(path: Path) -> tuple[LogTable, ...]:
    """Read one run, or one per value of a key called run.

    Raises:
        DataError: at the first line that is not a JSON object.
    """
    lines: list[int] = []
    notes: list[str] = []
    records = records_of(path, lines, notes)
    table = table_of(path.stem, str(path), records, lines=lines, unit="line")
    if not table.columns:
        raise DataError(f"{path}: no line contains a key; nothing was logged", path=path)
    return split_runs(replace(table, notes=tuple(notes)))


JSONL = Reader(
    name="jsonl",
    meaning="lines of JSON, one object {key: value} per line",
    detect=detect,
    read=read,
)
