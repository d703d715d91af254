"""Parquet files with one column per key, as data frames and trackers write them."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np

from scaling_laws.common import DataError
from scaling_laws.data.logs.reader import (
    Column,
    Head,
    LogTable,
    Match,
    Reader,
)
from scaling_laws.data.logs.splits import is_split_name, split_columns, split_runs
from scaling_laws.data.logs.text import open_error
from scaling_laws.data.logs.text_columns import TextCollector
from scaling_laws.data.runs.columns import pyarrow_parquet

__all__ = ["PARQUET"]


def read(path: Path) -> tuple[LogTable, ...]:
    """Read one run, or one per value of a column called run.

    Every column of numbers is read; null is not logged, NaN is.

    Raises:
        DataError: if the file is not Parquet, or has no numeric column.
    """
    library = pyarrow_parquet()
    arrow = importlib.import_module("pyarrow")
    try:
        file = library.ParquetFile(path)
        numeric = [
            field.name
            for field in file.schema_arrow
            if arrow.types.is_integer(field.type) or arrow.types.is_floating(field.type)
        ]
        text_fields = [
            field.name
            for field in file.schema_arrow
            if arrow.types.is_string(field.type) or arrow.types.is_large_string(field.type)
        ]
        content = file.read(columns=numeric + text_fields)
    except arrow.ArrowException as error:
        raise DataError(f"{path}: not a valid Parquet file: {error}", path=path) from None
    except OSError as error:
        raise open_error(path, error) from None
    if not numeric or not content.num_rows:
        raise DataError(f"{path}: no numeric column or no rows; nothing was logged", path=path)
    full = np.arange(content.num_rows)
    columns = {}
    for name in numeric:
        values = content.column(name)
        rows = full
        if values.null_count:
            rows = np.flatnonzero(values.is_valid().to_numpy())
            values = values.drop_null()
        columns[name] = Column(rows, values.to_numpy().astype(np.float64))
    notes: list[str] = []
    texts = TextCollector()
    for name in text_fields:
        words = content.column(name).to_pylist()
        if is_split_name(name) and not notes:
            columns, notes = split_columns(columns, words)
        for row, word in enumerate(words):
            texts.add(name, row, word or "")
    table = LogTable(
        path.stem,
        str(path),
        columns,
        full + 1,
        "row",
        notes=tuple(notes),
        texts=texts.columns(content.num_rows),
    )
    return split_runs(table)


def detect(head: Head) -> Match:
    """By its magic bytes."""
    return Match.GENERIC if head.data.startswith(b"PAR1") else Match.NO


PARQUET = Reader(
    name="parquet",
    meaning="a Parquet file with one column per key",
    detect=detect,
    read=read,
)
