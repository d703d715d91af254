"""Numeric columns from a CSV file, with errors that name file, row and column.

A file is read once, a bounded number of rows at a time, so memory use is set by the numbers rather
than by the text. Rows are numbered as in a spreadsheet: blank lines and the header count.
"""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common.errors import DataError
from scaling_laws.common.inputs import check_columns, open_bytes, open_error, open_text
from scaling_laws.common.numbers import are_plain, to_float
from scaling_laws.common.text import shortened, shown

__all__ = [
    "CHUNK_ROWS",
    "MAX_STEPS",
    "cell_error",
    "check_steps",
    "read_columns",
    "read_header",
    "undecodable_line",
]

CHUNK_ROWS = 50_000  # rows kept as text at a time: about 15 MB, whatever the size of the file
MAX_STEPS = 10_000_000  # per schedule: a prediction of each takes 1 GB; no training run has more

Record = tuple[int, list[str]]  # a row's number in the file, and its cells


def read_header(path: Path | str) -> list[str]:
    """The column names of a CSV file.

    Raises:
        UnreadableFileError: if the file is missing, a folder, or cannot be read.
        DataError: if it is empty, is not UTF-8, or names a column twice.
    """
    file = Path(path)
    return _header(file, _records(file))[1]


def read_columns(
    path: Path | str, required: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, NDArray[np.float64]]:
    """Read numeric columns of a CSV file; other columns are ignored.

    Args:
        path: a UTF-8 file with a header row.
        required: columns that must be present.
        optional: columns to read if present; their empty cells become NaN.

    Returns:
        Columns by name, each float64, (rows,). Required columns contain finite numbers only.

    Raises:
        UnreadableFileError: if the file is missing, a folder, or cannot be read.
        DataError: with the file, row and column of the first bad cell.
    """
    file = Path(path)
    records = _records(file)
    number, header = _header(file, records)
    for name in required:
        if name not in header:
            raise _missing_column(file, number, name, header)
    wanted = [name for name in (*required, *optional) if name in header]
    chunks: list[NDArray[np.float64]] = []
    while chunk := list(itertools.islice(records, CHUNK_ROWS)):
        chunks.append(_parse(file, chunk, header, wanted, required))
    if not chunks:
        raise DataError(f"{file}: the file has a header but no rows", path=file)
    table = np.concatenate(chunks, axis=1)
    return {name: table[index] for index, name in enumerate(wanted)}


def cell_error(
    path: Path | str, index: int, column: str, message: str, *, value: Any = None
) -> DataError:
    """The error to raise for a cell.

    Args:
        path: the CSV file.
        index: data row, counted from 0 without the header and blank lines.
        column: name of the column.
        message: what is wrong with the cell, and how to correct it.
        value: of the cell.

    Returns:
        An error whose `row` is the row that a spreadsheet shows.
    """
    row, _ = next(itertools.islice(_records(Path(path)), index + 1, None), (index + 2, []))
    return _row_error(Path(path), row, message, column, value)


def first_bad_step(step: NDArray[np.float64]) -> int | None:
    """Index of the first step that is not whole, not in [0, `MAX_STEPS`), or does not increase."""
    falls = np.append(False, np.diff(step) <= 0)
    bad = (step != np.floor(step)) | (step < 0) | (step >= MAX_STEPS) | falls
    return int(np.argmax(bad)) if bad.any() else None


def check_steps(path: Path | str, step: NDArray[np.float64]) -> None:
    """Check that steps are whole numbers >= 0 and increase.

    Raises:
        DataError: at the first step that is not, or does not.
    """
    index = first_bad_step(step)
    if index is None:
        return
    value = float(step[index])
    if value != math.floor(value):
        message = f"{value!r} is not a whole number"
    elif value < 0:
        message = f"{value:.0f} is negative; steps count from 0"
    elif value >= MAX_STEPS:
        message = f"{value:g} is not below {MAX_STEPS:,} steps; is it a number of tokens?"
    else:
        message = (
            f"{value:.0f} does not increase (the previous row has {step[index - 1]:.0f}); "
            "sort the rows and keep one row per step"
        )
    raise cell_error(path, index, "step", message, value=value)


def _row_error(
    file: Path, row: int, message: str, column: str | None = None, value: Any = None
) -> DataError:
    where = f"{file} row {row}" + ("" if column is None else f", column {column!r}")
    return DataError(f"{where}: {message}", path=file, row=row, column=column, value=value)


def _records(file: Path) -> Iterator[Record]:
    """Every row that is not blank, with its number."""
    number = 0
    try:
        with open_text(file, encoding="utf-8-sig", newline="") as stream:
            for number, cells in enumerate(csv.reader(stream), start=1):
                if len(cells) > 1 or (cells and cells[0].strip()):
                    yield number, cells
    except UnicodeDecodeError as error:
        line, byte = undecodable_line(file), error.object[error.start]
        raise DataError(
            f"{file} line {line}: byte 0x{byte:02x} is not UTF-8 text; save the file as UTF-8 CSV",
            path=file,
            row=line,
            value=byte,
        ) from None
    except csv.Error as error:
        message = f"broken CSV ({error}); look for a quote that is not closed"
        raise _row_error(file, number + 1, message) from error
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise open_error(file, error) from error


def undecodable_line(file: Path) -> int:
    """Number of the first line that is not UTF-8; a decoder reads ahead, so it cannot report it."""
    with open_bytes(file) as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return 1


def _header(file: Path, records: Iterator[Record]) -> tuple[int, list[str]]:
    number, cells = next(records, (1, []))
    names = [name.strip() for name in cells]
    if not any(names):
        raise DataError(
            f"{file}: the file is empty; it needs a header row, then rows of numbers", path=file
        )
    check_columns(file, names, number)
    for name in names:
        if name and names.count(name) > 1:
            message = f"column {name!r} appears twice; rename or delete one"
            raise DataError(f"{file} row {number}: {message}", path=file, row=number, column=name)
    return number, names


def _missing_column(file: Path, number: int, name: str, header: Sequence[str]) -> DataError:
    remedy = "rename the one that contains it"
    if len(header) == 1 and any(mark in header[0] for mark in ";\t"):
        remedy = "separate the cells with commas"
    return DataError(
        f"{file} row {number}: no column {name!r}; the columns are "
        f"{shortened(', '.join(map(repr, header)), 400)}; {remedy}",
        path=file,
        row=number,
        column=name,
    )


def _parse(
    file: Path,
    chunk: Sequence[Record],
    header: Sequence[str],
    wanted: Sequence[str],
    required: Sequence[str],
) -> NDArray[np.float64]:
    """The wanted columns of some rows: (wanted, rows)."""
    table = np.empty((len(wanted), len(chunk)))
    try:
        for index, name in enumerate(wanted):
            position = header.index(name)
            texts = [cells[position].strip() for _, cells in chunk]
            table[index] = [float(text) if text else math.nan for text in texts]
            if not are_plain(texts):
                raise ValueError
    except (ValueError, IndexError):
        _raise_for_first_fault(file, chunk, header, wanted, required)
        raise
    lengths_differ = any(len(cells) != len(header) for _, cells in chunk)
    not_finite = ~np.isfinite(table[: len(required)])  # the required columns come first
    if lengths_differ or not_finite.any() or np.isinf(table).any():
        _raise_for_first_fault(file, chunk, header, wanted, required)
    return table


def _raise_for_first_fault(
    file: Path,
    chunk: Sequence[Record],
    header: Sequence[str],
    wanted: Sequence[str],
    required: Sequence[str],
) -> None:
    """Raise for the first row or cell that cannot be used."""
    for number, cells in chunk:
        if len(cells) > len(header):
            message = (
                f"{len(cells)} cells under a header of {len(header)} "
                f"({','.join(cells)[:60]}); remove the extra ones, or quote text that contains "
                "commas"
            )
            raise _row_error(file, number, message, value=cells)
        if len(cells) < len(header):
            message = (
                f"the row ends before it, with {len(cells)} cells under a header of {len(header)}; "
                "complete or delete the row"
            )
            raise _row_error(file, number, message, header[len(cells)], cells)
        for name in wanted:
            text = cells[header.index(name)].strip()
            fault = _fault_of_cell(text, name in required)
            if fault:
                raise _row_error(file, number, fault, name, text)


def _fault_of_cell(text: str, required: bool) -> str:
    """What is wrong with a cell; empty if it can be used."""
    if not text:
        return "the cell is empty; fill it in or delete the row" if required else ""
    try:
        value = to_float(text)
    except ValueError:
        return f"{shown(text)} is not a number; correct the cell or delete the row"
    if not math.isfinite(value) and (required or math.isinf(value)):
        return f"{shown(text)} is not finite; correct the cell or delete the row"
    return ""
