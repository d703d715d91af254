"""Logs of the Hugging Face Trainer: ``trainer_state.json``, and LLaMA-Factory's JSON lines.

axolotl, TRL and others that build on the Trainer write the same file. ``log_history`` has one row
per log: ``step`` counts optimizer updates done, so the first is 1; ``loss`` is the mean since the
previous row; rows of evaluation have ``eval_loss``; a last row with ``train_runtime`` is a summary.
Which update a logged rate belongs to depends on the version, and the file does not name it: before
transformers#36973 (2025-03) it was that of the next update. Versions 4.46 and 4.47 multiply the
logged loss by the accumulation of gradients (transformers#35204); ``logging_nan_inf_filter``, on by
default, replaces NaN by the running mean. Source: trainer.py, trainer_callback.py of 5.23.

LLaMA-Factory's ``trainer_log.jsonl`` has the same numbers as ``current_steps``, ``total_steps``,
``lr``, ``loss``. Source: its log callback, 2026-11.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from scaling_laws.common import DataError
from scaling_laws.data.logs.jsonl import records_of
from scaling_laws.data.logs.naming import folder_name
from scaling_laws.data.logs.reader import Head, LogTable, Match, Reader, table_of
from scaling_laws.data.logs.text import json_of

__all__ = ["LLAMA_FACTORY", "OFFSET", "TRAINER_STATE"]

OFFSET = (
    "versions of transformers before March 2025 (#36973) logged the rate of the next update, and "
    "the file does not name its version; for such a file pass --lr-offset 1"
)
SUMMARY = "train_runtime"  # only the row that sums up the run has it
SETTINGS = ("train_batch_size", "num_train_epochs", "logging_steps", "eval_steps", "max_steps")


def detect(head: Head) -> Match:
    """JSON with the history under the Trainer's name."""
    is_state = head.ending == ".json" and '"log_history"' in head.text
    return Match.SPECIFIC if is_state else Match.NO


def read(path: Path) -> tuple[LogTable, ...]:
    """Read one run.

    Raises:
        DataError: if the file is not complete JSON, or its history is empty.
    """
    state = _document(path)
    history = state.get("log_history")
    if not isinstance(history, list) or not history:
        raise DataError(
            f"{path}: 'log_history' must be a list of rows that is not empty, not "
            f"{json.dumps(history)[:60]}",
            path=path,
        )
    kept: list[int] = []
    notes = []
    for number, record in enumerate(history, start=1):
        if not isinstance(record, dict):
            raise DataError(
                f"{path}, log_history row {number}: {json.dumps(record)[:60]} is not an object",
                path=path,
            )
        if SUMMARY in record:
            notes.append(f"row {number} summarises the whole run ({SUMMARY}) and is not a point")
        else:
            kept.append(number)
    if not kept:
        raise DataError(
            f"{path}: 'log_history' contains a summary of the run only; nothing was logged",
            path=path,
        )
    records = [history[number - 1] for number in kept]
    if any("learning_rate" in record for record in records):
        notes.append(OFFSET)
    planned = state.get("max_steps")
    return (
        table_of(
            folder_name(path),
            str(path),
            records,
            lines=kept,
            step="step",
            first_step=1,
            averaged=frozenset({"loss"}),
            total_steps=planned if type(planned) is int and planned > 0 else None,
            notes=tuple(notes),
            config={key: state[key] for key in SETTINGS if key in state},
        ),
    )


def _document(path: Path) -> Mapping[str, Any]:
    state = json_of(path, "a trainer's state")
    if not isinstance(state, dict):
        raise DataError(
            f"{path}: a JSON object with 'log_history' is required, not a {type(state).__name__}",
            path=path,
        )
    return state


def detect_lines(head: Head) -> Match:
    """By the two counters on the first line."""
    first = head.text.lstrip().split("\n", 1)[0]
    both = '"current_steps"' in first and '"total_steps"' in first
    return Match.SPECIFIC if both and first.startswith("{") else Match.NO


def read_lines(path: Path) -> tuple[LogTable, ...]:
    """Read one run of LLaMA-Factory.

    Raises:
        DataError: naming the first line that is not a JSON object, or if no line contains a step.
    """
    lines: list[int] = []
    notes: list[str] = []
    table = table_of(
        folder_name(path), str(path), records_of(path, lines, notes), lines=lines, unit="line"
    )
    if "current_steps" not in table.columns:
        raise DataError(f"{path}: no line contains 'current_steps'; nothing was logged", path=path)
    if "lr" in table.columns:
        notes.append(OFFSET)
    return (
        replace(
            table,
            step="current_steps",
            first_step=1,
            averaged=frozenset({"loss"}),
            total_steps=_planned(table, notes),
            notes=tuple(notes),
        ),
    )


def _planned(table: LogTable, notes: list[str]) -> int | None:
    """The last planned number of updates, if any; a change within the file is noted."""
    if "total_steps" not in table.columns:
        return None
    values: Sequence[float] = table.column("total_steps").values.tolist()
    whole = [int(value) for value in values if np.isfinite(value) and value > 0]
    if len(set(whole)) > 1:
        notes.append(f"planned updates change within the file: {sorted(set(whole))}")
    return whole[-1] if whole else None


TRAINER_STATE = Reader(
    name="trainer_state",
    meaning="trainer_state.json of the Hugging Face Trainer, with log_history",
    detect=detect,
    read=read,
)
LLAMA_FACTORY = Reader(
    name="llama_factory",
    meaning="trainer_log.jsonl of LLaMA-Factory: current_steps, total_steps, lr, loss",
    detect=detect_lines,
    read=read_lines,
)
