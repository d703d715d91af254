"""Histories of Weights & Biases runs as JSON: an object with name, config, summary and history.

Two layouts of the history are read. Grouped, a table a group: ``{"val": {"iter": [...],
"val_loss": [...]}, ...}``; its columns are renamed to the keys that the run logged, ``val/loss``.
Flat, a column a key: ``{"iter": {"0": 50, ...}, "train/loss": {...}}``, each a mapping from the row
to the value; rows lack the keys that were logged at other calls.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scaling_laws.errors import DataError
from scaling_laws.logs.base import Log, Reader, assemble
from scaling_laws.logs.keys import STEPS, find_step

__all__ = ["WANDB_HISTORY"]

Table = tuple[Sequence[Any], Sequence[Any]]


def recognises(path: Path) -> bool:
    """Whether a file may be one: by its ending."""
    return path.suffix.lower() == ".json"


def read(path: Path, repeats: str) -> Log:
    """Read one run.

    Raises:
        DataError: naming the file and the place of what cannot be used.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{path} line {error.lineno}: not JSON ({error.msg})") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    history = document.get("history") if isinstance(document, dict) else None
    if not isinstance(history, dict) or not history:
        raise DataError(
            f"{path}: no run history: a JSON object with a key 'history' that holds columns"
        )
    if not all(isinstance(each, dict) for each in history.values()):
        key = next(key for key, each in history.items() if not isinstance(each, dict))
        raise DataError(
            f"{path}, history, {key!r}: {type(history[key]).__name__} is neither a table nor a "
            "column {row: value}"
        )
    grouped = all(isinstance(column, list) for each in history.values() for column in each.values())
    tables = _grouped(path, history) if grouped else _flat(path, history)
    config = document.get("config")
    summary = document.get("summary")
    settings = dict(config) if isinstance(config, dict) else {}
    if isinstance(summary, dict) and "parameters" in summary:
        settings.setdefault("parameters", summary["parameters"])
    name = document.get("name")
    return assemble(
        str(name) if name else path.stem, str(path), tables, repeats=repeats, config=settings
    )


def _grouped(path: Path, history: Mapping[str, Any]) -> dict[str, Table]:
    tables: dict[str, Table] = {}
    for group, table in history.items():
        step = find_step(table)
        if step is None:
            if any(table.values()):
                raise DataError(
                    f"{path}, history, {group!r}: none of its columns is known as the step "
                    f"({', '.join(STEPS)})"
                )
            continue
        start = group.replace("-", "_") + "_"
        for column, values in table.items():
            if column != step and values:
                tables[f"{group}/{column.removeprefix(start)}"] = (table[step], values)
    return tables


def _flat(path: Path, history: Mapping[str, Any]) -> dict[str, Table]:
    step = find_step(history)
    if step is None:
        raise DataError(
            f"{path}, history: no key is known as the step ({', '.join(STEPS)}); the keys are "
            f"{', '.join(history)}"
        )
    at = history[step]
    tables: dict[str, Table] = {}
    for key, column in history.items():
        if key == step or key.startswith("_"):  # the tracker's own: time, calls
            continue
        rows = [row for row, value in column.items() if value is not None and row in at]
        rows = [row for row in rows if at[row] is not None]
        if rows:
            tables[key] = ([at[row] for row in rows], [column[row] for row in rows])
    return tables


WANDB_HISTORY = Reader(
    name="wandb_history",
    meaning="history of a Weights & Biases run as JSON: name, config, summary, history",
    recognises=recognises,
    read=read,
)
