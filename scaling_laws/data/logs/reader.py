"""The types of the readers: the table of a run as logged, and its log over increasing steps."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import DataError, unknown_name
from scaling_laws.data.logs.text_columns import TextCollector, TextColumn

__all__ = [
    "FURTHEST",
    "Column",
    "Head",
    "LogTable",
    "Match",
    "ParseError",
    "Reader",
    "TrainingLog",
    "table_of",
]

Array = NDArray[np.float64]
Whole = NDArray[np.int64]
FURTHEST = 2**53  # whole numbers beyond are not exact in float64


@dataclass(frozen=True)
class ParseError:
    """The first cell of a column that is not a number, for an error if the column is used.

    Attributes:
        unit: what `row` counts: ``row``, ``line``, ``record``, ...
        row: of the file, from 1.
        column: the key.
        value: of the cell.
    """

    unit: str
    row: int
    column: str
    value: Any

    def as_error(self, path: str) -> DataError:
        """The error to raise for a file."""
        return DataError(
            f"{path} {self.unit} {self.row}, column {self.column!r}: {repr(self.value)[:60]} is "
            "not a "
            "number; "
            "correct the cell or delete the row",
            path=path,
            row=self.row,
            column=self.column,
            value=self.value,
        )


@dataclass(frozen=True, eq=False)
class Column:
    """The values logged under a key, in the order of the file.

    Attributes:
        rows: the row of the table that contains each value, increasing, int64: (values,). A key
            that is not logged in every row has fewer values than the table has rows.
        values: as logged, float64, NaN and infinity included: (values,).
        parse_error: set if a cell of the column is not a number; raised only if the column is used.
    """

    rows: Whole
    values: Array
    parse_error: ParseError | None = None

    def __post_init__(self) -> None:
        rows = np.asarray(self.rows, dtype=np.int64)
        values = np.asarray(self.values, dtype=np.float64)
        if rows.shape != values.shape or rows.ndim != 1:
            raise DataError(f"a column of {values.shape} values at {rows.shape} rows")
        object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "values", values)


@dataclass(frozen=True, eq=False)
class LogTable:
    """What one run logged, row by row in the order of the file, repeated steps included.

    Attributes:
        name: of the run.
        source: the file it was read from.
        columns: by key, as named by the trainer or tracker.
        lines: the line (or row, or record) of the file that each row was read from: (rows,).
        unit: what `lines` counts, for messages.
        step: the key of the step, if fixed by the format.
        first_step: the step number of the first update: 1 if a trainer counts completed updates.
        lr_offset: a row's learning rate belongs to the update this many after the row's own.
        averaged: keys whose values are means since the previous row.
        before_update: keys whose value in a row is measured before the update of that row, so that
            it includes the updates up to the previous one.
        total_steps: number of planned updates, if the file states it.
        notes: anomalies of the file and how they were handled, as sentences.
        config: settings of the run, as logged.
        texts: columns of texts, by key; their `parse_error` is in `columns`.
    """

    name: str
    source: str
    columns: Mapping[str, Column] = field(repr=False)
    lines: Whole = field(repr=False)
    unit: str = "row"
    step: str | None = None
    first_step: int = 0
    lr_offset: int = 0
    averaged: frozenset[str] = frozenset()
    before_update: frozenset[str] = frozenset()
    total_steps: int | None = None
    notes: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    texts: Mapping[str, TextColumn] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "texts", MappingProxyType(dict(self.texts)))
        object.__setattr__(self, "columns", MappingProxyType(dict(self.columns)))
        object.__setattr__(self, "lines", np.asarray(self.lines, dtype=np.int64))
        object.__setattr__(self, "config", MappingProxyType(dict(self.config)))

    def column(self, key: str) -> Column:
        """A column all of whose cells are numbers.

        Raises:
            DataError: if there is no such key, or a cell is not a number.
        """
        if key not in self.columns:
            raise DataError(
                f"{self.source}: {unknown_name('key', key, self.columns)}",
                path=self.source,
                value=key,
            )
        column = self.columns[key]
        if column.parse_error is not None:
            raise column.parse_error.as_error(self.source)
        return column

    def dense(self, key: str) -> Array:
        """A key's value in every row, NaN where it was not logged: (rows,)."""
        column = self.column(key)
        full = np.full(self.lines.size, math.nan)
        full[column.rows] = column.values
        return full

    def where(self, row: int) -> str:
        """File and line of a row, for messages."""
        return f"{self.source} {self.unit} {self.lines[row]}"


def table_of(
    name: str,
    source: str,
    records: Iterable[Mapping[str, Any]],
    *,
    lines: Sequence[int] | Whole | None = None,
    unit: str = "row",
    **hints: Any,
) -> LogTable:
    """A table from records, one per row; nested keys are joined by ``/``.

    Numbers are kept (NaN and infinity too), null means not logged, and a text or a Boolean sets the
    `parse_error` of its column.

    Args:
        name: of the run.
        source: the file.
        records: one mapping from key to value per row.
        lines: the line of each row in the file; default 1, 2, ...
        unit: what `lines` counts.
        hints: further fields of `LogTable`.
    """
    # plain lists would need four times the memory
    rows: dict[str, array[int]] = {}
    values: dict[str, array[float]] = {}
    faults: dict[str, tuple[int, Any]] = {}
    texts = TextCollector()
    count = 0
    for count, record in enumerate(records, start=1):
        for key, value in _flat(record):
            if type(value) is float or type(value) is int:
                if key not in rows:
                    rows[key], values[key] = array("q"), array("d")
                rows[key].append(count - 1)
                values[key].append(_double(value))
            elif value is not None:
                faults.setdefault(key, (count - 1, value))
                if type(value) is str:
                    texts.add(key, count - 1, value)
    numbered = np.arange(1, count + 1) if lines is None else np.asarray(lines, dtype=np.int64)
    columns = {
        key: Column(
            np.array(rows.get(key, []), dtype=np.int64),
            np.array(values.get(key, []), dtype=np.float64),
            ParseError(unit, int(numbered[faults[key][0]]), key, faults[key][1])
            if key in faults
            else None,
        )
        for key in {**rows, **faults}
    }
    hints = {"texts": texts.columns(count), **hints}
    return LogTable(name, source, columns, numbered, unit, **hints)


def _double(value: float) -> float:
    """A number as float64; integers beyond its range become infinite."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _flat(record: Mapping[str, Any], start: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in record.items():
        if type(value) is dict:
            yield from _flat(value, f"{start}{key}/")
        else:
            yield f"{start}{key}" if start else key, value


class Match(IntEnum):
    """How specifically a reader recognises a file; the most specific one reads it."""

    NO = 0
    GENERIC = 1  # the file type fits: any CSV, any JSON
    SPECIFIC = 2  # the file has features of this format only


@dataclass(frozen=True)
class Head:
    """The part of a file by which a reader recognises it.

    Attributes:
        path: the file, or a folder.
        text: the first 256 KiB and the last 64 KiB of a file, undecodable bytes replaced; empty
            for a folder.
        data: the first 256 KiB as bytes.
        names: names of the files in a folder; empty for a file.
    """

    path: Path
    text: str = field(default="", repr=False)
    data: bytes = field(default=b"", repr=False)
    names: tuple[str, ...] = ()

    @property
    def ending(self) -> str:
        """Suffix of the file name, in lower case, with its dot."""
        return self.path.suffix.lower()


@dataclass(frozen=True)
class Reader:
    """A format of logs.

    Attributes:
        name: of the format, for `--format`.
        meaning: origin of such files, for messages.
        detect: the head of a file -> how specifically it is recognised. It must not raise.
        read: the file -> one table per run in it. It raises a `DataError` with the file and line of
            what cannot be used, and never omits a row without a note.
    """

    name: str
    meaning: str
    detect: Callable[[Head], Match]
    read: Callable[[Path], Sequence[LogTable]]


@dataclass(frozen=True, eq=False)
class TrainingLog:
    """What a run logged, one row per step.

    Attributes:
        name: of the run.
        source: the file it was read from.
        steps: every step at which anything was logged, increasing, int64: (rows,).
        columns: values by key, NaN where a step has none, (rows,) each.
        diagnostics: anomalies of the file and how they were handled, as sentences.
        config: settings of the run, as logged.
        first_step, lr_offset, before_update: as in `LogTable`; `steps` are as logged.
    """

    name: str
    source: str
    steps: Whole = field(repr=False)
    columns: Mapping[str, Array] = field(repr=False)
    diagnostics: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    first_step: int = 0
    lr_offset: int = 0
    before_update: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        steps = np.array(self.steps, dtype=np.int64)
        if steps.ndim != 1 or steps.size == 0 or (np.diff(steps) <= 0).any():
            raise DataError(
                f"{self.source}: steps must be non-empty and increasing", path=self.source
            )
        columns = {name: np.array(row, dtype=np.float64) for name, row in self.columns.items()}
        for name, row in columns.items():
            if row.shape != steps.shape:
                raise DataError(
                    f"{self.source}, column {name!r}: {row.shape} is not {steps.shape}",
                    path=self.source,
                    column=name,
                    value=row,
                )
            row.flags.writeable = False
        steps.flags.writeable = False
        object.__setattr__(self, "steps", steps)
        object.__setattr__(self, "columns", MappingProxyType(columns))
        object.__setattr__(self, "config", MappingProxyType(dict(self.config)))

    def series(self, key: str) -> tuple[Whole, Array]:
        """The steps at which a key was logged, and its values: (points,) each.

        Raises:
            DataError: if the log has no such key.
        """
        if key not in self.columns:
            raise DataError(
                f"{self.source}: {unknown_name('key', key, self.columns)}",
                path=self.source,
                value=key,
            )
        row = self.columns[key]
        logged = ~np.isnan(row)
        return self.steps[logged], row[logged]
