"""Histories of Weights & Biases runs as JSON: an object with name, config, summary and history.

Two layouts of the history are read. Grouped, one table per group: ``{"val": {"iter": [...],
"val_loss": [...]}, ...}``; its columns are renamed to the keys that the run logged, ``val/loss``.
Flat, one column per key: ``{"iter": {"0": 50, ...}, "train/loss": {...}}``, each a mapping from the
row to the value; rows lack the keys that were logged at other calls.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scaling_laws.common import DataError, parse_json, read_text
from scaling_laws.data.logs.keys import STEPS, find_step
from scaling_laws.data.logs.reader import Head, LogTable, Match, Reader, table_of
from scaling_laws.data.logs.text import open_error

__all__ = ["WANDB_HISTORY"]

Record = dict[str, Any]


def detect(head: Head) -> Match:
    """JSON, and surely where it has a history."""
    if head.ending != ".json":
        return Match.NO
    return Match.SPECIFIC if '"history"' in head.text else Match.GENERIC


def read(path: Path) -> tuple[LogTable, ...]:
    """Read one run.

    Raises:
        DataError: with the file and the key of what cannot be used.
    """
    try:
        document = parse_json(read_text(path, encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path} line {error.lineno}: not JSON ({error.msg})", path=path, row=error.lineno
        ) from error
    except OSError as error:
        raise open_error(path, error) from error
    except ValueError as error:
        raise DataError(f"{path}: not the JSON of a history: {error}", path=path) from error
    history = document.get("history") if isinstance(document, dict) else None
    if not isinstance(history, dict) or not history:
        raise DataError(
            f"{path}: no run history: a JSON object with a key 'history' that contains columns is "
            "required",
            path=path,
        )
    if not all(isinstance(group, dict) for group in history.values()):
        key = next(key for key, group in history.items() if not isinstance(group, dict))
        raise DataError(
            f"{path}, history, {key!r}: {type(history[key]).__name__} is neither a table nor a "
            "column {row: value}",
            path=path,
            column=key,
            value=history[key],
        )
    config = document.get("config")
    summary = document.get("summary")
    settings = dict(config) if isinstance(config, dict) else {}
    if isinstance(summary, dict) and "parameters" in summary:
        settings.setdefault("parameters", summary["parameters"])
    name = document.get("name")
    grouped = all(
        isinstance(column, list) for group in history.values() for column in group.values()
    )
    notes: list[str] = []
    if grouped:
        records, step, lines = _grouped(path, history, notes), "iter", None
    else:
        records, lines = _flat(path, history)
        step = str(find_step(history))
    table = table_of(
        str(name) if name else path.stem,
        str(path),
        records,
        lines=lines,
        step=step,
        config=settings,
        notes=tuple(notes),
    )
    if step not in table.columns:
        raise DataError(f"{path}: no number is logged at any step", path=path)
    return (table,)


def _grouped(path: Path, history: Mapping[str, Any], notes: list[str]) -> list[Record]:
    """One record per row of each group; the step is called ``iter`` in all of them."""
    records: list[Record] = []
    for group, table in history.items():
        step = find_step(table)
        if step is None:
            if any(table.values()):
                raise DataError(
                    f"{path}, history, {group!r}: none of its columns is known as the step "
                    f"({', '.join(STEPS)})",
                    path=path,
                    column=group,
                )
            continue
        start = group.replace("-", "_") + "_"
        whole: dict[str, list[Any]] = {"iter": table[step]}
        for column, values in table.items():
            if column == step or not values:
                continue
            key = f"{group}/{column.removeprefix(start)}"
            if len(values) == len(table[step]):
                whole[key] = values
            else:
                notes.append(f"{key}: {len(values)} values for {len(table[step])} steps; omitted")
        records += [dict(zip(whole, row, strict=True)) for row in zip(*whole.values(), strict=True)]
    return records


def _flat(path: Path, history: Mapping[str, Any]) -> tuple[list[Record], list[int]]:
    step = find_step(history)
    if step is None:
        raise DataError(
            f"{path}, history: no key is recognised as the step ({', '.join(STEPS)}); the keys are "
            f"{', '.join(history)}",
            path=path,
        )
    rows: dict[str, Record] = {}
    for key, column in history.items():
        if key != step and key.startswith("_"):  # the tracker's own: time, calls
            continue
        for row, value in column.items():
            rows.setdefault(row, {})[key] = value
    try:
        order = sorted(rows, key=int)
    except ValueError:
        bad = next(row for row in rows if not row.isdecimal())
        raise DataError(f"{path}, history: row {bad!r} is not a whole number", path=path) from None
    return [rows[row] for row in order], [int(row) for row in order]


WANDB_HISTORY = Reader(
    name="wandb_history",
    meaning="history of a Weights & Biases run as JSON: name, config, summary, history",
    detect=detect,
    read=read,
)
