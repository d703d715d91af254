"""Rows of training and evaluation, or of several runs, distinguished by the labels in a column.

``step,split,loss`` with rows ``100,train,3.2`` and ``100,val,3.3`` contains two losses. Their keys
become ``train/loss`` and ``val/loss``; keys that count (step, tokens, samples) stay as they are.
``run,step,loss`` contains one run per distinct value of its first column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from scaling_laws.data.logs.keys import COUNTERS, SAMPLES, STEPS, TOKENS
from scaling_laws.data.logs.reader import FURTHEST, Column, LogTable

__all__ = [
    "is_run_name",
    "is_split_name",
    "rows_of",
    "split_by",
    "split_columns",
    "split_key",
    "split_label",
    "split_runs",
]

# names and labels of such a column; rows with another label are not distinguished
NAMES = frozenset({"split", "subset", "phase", "mode", "stage", "set", "partition"})
RUNS = frozenset(
    {"run", "run_id", "run_name", "run name", "run id", "experiment", "experiment_name"}
)
LABELS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "valid",
    "validation": "validation",
    "eval": "eval",
    "evaluation": "eval",
    "test": "test",
    "dev": "dev",
}
SHARED = frozenset(name.lower() for name in (*STEPS, *COUNTERS, *TOKENS, *SAMPLES, "epoch"))


def is_split_name(name: str) -> bool:
    """Whether a column of that name may distinguish training and evaluation."""
    return name.strip().lower() in NAMES


def is_run_name(name: str) -> bool:
    """Whether a column of that name may contain the run of a row."""
    return name.strip().lower() in RUNS


def split_label(word: object) -> str | None:
    """The label of a row by its cell in such a column; None if it is not a label."""
    return LABELS.get(word.strip().lower()) if isinstance(word, str) else None


def split_key(label: str, key: str) -> str:
    """The key of a value in a row with a label.

    >>> split_key("val", "loss"), split_key("val", "val_loss"), split_key("val", "step")
    ('val/loss', 'val_loss', 'step')
    """
    same = key.lower() in SHARED or key.lower().startswith(label)
    return key if same else f"{label}/{key}"


def split_columns(
    columns: Mapping[str, Column], words: Sequence[object]
) -> tuple[dict[str, Column], list[str]]:
    """Columns by key and label.

    Args:
        columns: by key.
        words: the word of each row: (rows,).

    Returns:
        Columns, and a note; unchanged columns and no note if no cell is a label. Rows without a
        label keep their keys.
    """
    labels = [split_label(word) for word in words]
    known = sorted({label for label in labels if label is not None})
    if not known:
        return dict(columns), []
    places = {label: index for index, label in enumerate([None, *known])}
    of_row = np.array([places[label] for label in labels])
    split: dict[str, Column] = {}
    for key, column in columns.items():
        if is_split_name(key):
            split[key] = column
            continue
        for label, index in places.items():
            new = key if label is None else split_key(label, key)
            keep = of_row[column.rows] == index
            if label is not None and new == key:
                split[key] = column
            elif keep.any():
                split[new] = Column(column.rows[keep], column.values[keep], column.parse_error)
    return split, [f"rows are split by a column of labels: {', '.join(known)}"]


def split_runs(table: LogTable) -> tuple[LogTable, ...]:
    """A table for each value of the column that contains the run of a row, if there is one."""
    key = next((key for key in (*table.texts, *table.columns) if is_run_name(key)), None)
    return (table,) if key is None else split_by(table, (key,))


def split_by(table: LogTable, keys: Sequence[str]) -> tuple[LogTable, ...]:
    """A table for each combination of values of some keys, in the order in which they come up.

    Args:
        table: rows of one or several runs.
        keys: of texts or numbers.

    Returns:
        The table itself if all values are the same.
    """
    words = list(zip(*(_words(table, key) for key in keys), strict=True))
    names = list(dict.fromkeys(words))
    if len(names) < 2:
        return (table,)
    places = {name: index for index, name in enumerate(names)}
    of_row = np.array([places[word] for word in words])
    return tuple(
        rows_of(table, "_".join(filter(None, name)), of_row == index)
        for name, index in places.items()
    )


def _words(table: LogTable, key: str) -> list[str]:
    """The value of each row as text: (rows,); a number that does not name a run follows its key."""
    start = "" if is_run_name(key) else f"{key}_"
    words = [""] * table.lines.size
    column = table.columns.get(key)
    if column is not None:
        for row, value in zip(column.rows.tolist(), column.values.tolist(), strict=True):
            whole = value.is_integer() and abs(value) < FURTHEST
            text = str(int(value)) if whole and not start else f"{value:.12g}"
            words[row] = "" if np.isnan(value) else start + text
    if key in table.texts:
        texts = table.texts[key]
        for row in np.flatnonzero(texts.codes >= 0).tolist():
            words[row] = texts.names[texts.codes[row]]
    return words


def rows_of(table: LogTable, name: str, selected: np.ndarray) -> LogTable:
    """The run of some of the rows of a table; `selected` is a Boolean per row: (rows,)."""
    row = np.cumsum(selected) - 1  # of the new table
    columns = {}
    for key, column in table.columns.items():
        keep = selected[column.rows]
        if keep.any() or column.parse_error:
            columns[key] = Column(row[column.rows[keep]], column.values[keep], column.parse_error)
    label = name or f"{table.name} (rows without a run)"
    texts = {key: replace(text, codes=text.codes[selected]) for key, text in table.texts.items()}
    return replace(table, name=label, columns=columns, lines=table.lines[selected], texts=texts)
