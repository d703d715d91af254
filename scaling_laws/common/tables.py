"""Numeric columns from a CSV file, with errors that name file, row and column.

A file is read once, a bounded number of rows at a time, so memory goes to the numbers and not to
the text. Rows are numbered as a spreadsheet shows them: blank lines count, the header is a row.
"""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common.errors import DataError

__all__ = [
    "CHUNK_ROWS",
    "MAX_STEPS",
    "cell_error",
    "check_steps",
    "read_columns",
    "read_header",
    "undecodable_line",
]

CHUNK_ROWS = 50_000  # rows held as text at a time: about 15 MB, whatever the file's size
MAX_STEPS = 100_000_000  # of a schedule: 0.8 GB of learning rates, far beyond any training run

Record = tuple[int, list[str]]  # a row's number in the file, and its cells


def read_header(path: Path | str) -> list[str]:
    """The column names of a CSV file.

    Raises:
        DataError: if the file is missing, a folder, empty, not UTF-8, or names a column twice.
    """
    file = Path(path)
    return _header(file, _records(file))[1]


def read_columns(
    path: Path | str, required: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, NDArray[np.float64]]:
    """Read numeric columns of a CSV file; other columns are left alone.

    Args:
        path: a UTF-8 file with a header row.
        required: columns that must be there.
        optional: columns to read when they are there; empty cells in them become NaN.

    Returns:
        A mapping from column name to a float64 array of shape (rows,). Required columns hold
        finite numbers only.

    Raises:
        DataError: naming file, row and column of the first bad cell.
    """
    file = Path(path)
    records = _records(file)
    number, header = _header(file, records)
    for name in required:
        if name not in header:
            raise DataError(_missing_column(file, number, name, header))
    wanted = [name for name in (*required, *optional) if name in header]
    pieces: list[NDArray[np.float64]] = []
    while chunk := list(itertools.islice(records, CHUNK_ROWS)):
        pieces.append(_parse(file, chunk, header, wanted, required))
    if not pieces:
        raise DataError(f"{file}: the file has a header but no rows")
    table = np.concatenate(pieces, axis=1)
    return {name: table[place] for place, name in enumerate(wanted)}


def cell_error(path: Path | str, index: int, column: str, message: str) -> DataError:
    """An error at a data row given by its 0-based index, blank lines left out."""
    number, _ = next(itertools.islice(_records(Path(path)), index + 1, None), (index + 2, []))
    return DataError(f"{path} row {number}, column {column!r}: {message}")


def first_bad_step(step: NDArray[np.float64]) -> int | None:
    """Index of the first step that is not whole, from 0 to `MAX_STEPS` and above the one before."""
    falls = np.append(False, np.diff(step) <= 0)
    bad = (step != np.floor(step)) | (step < 0) | (step >= MAX_STEPS) | falls
    return int(np.argmax(bad)) if bad.any() else None


def check_steps(path: Path | str, step: NDArray[np.float64]) -> None:
    """Raise a DataError for the first step that is not whole, >= 0 and above the one before."""
    row = first_bad_step(step)
    if row is None:
        return
    if step[row] != np.floor(step[row]):
        message = f"{float(step[row])!r} is not a whole number"
    elif step[row] < 0:
        message = f"{step[row]:.0f} is negative; steps count from 0"
    elif step[row] >= MAX_STEPS:
        message = f"{step[row]:g} is not below {MAX_STEPS:,} steps; is it a count of tokens?"
    else:
        message = (
            f"{step[row]:.0f} does not increase (the row before has {step[row - 1]:.0f}); "
            "sort the rows and keep one for each step"
        )
    raise cell_error(path, row, "step", message)


def _records(file: Path) -> Iterator[Record]:
    """Every row that is not blank, with its number; what goes wrong becomes a DataError."""
    number = 0
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            for number, cells in enumerate(csv.reader(stream), start=1):
                if len(cells) > 1 or (cells and cells[0].strip()):
                    yield number, cells
    except FileNotFoundError:
        raise DataError(f"{file}: no such file") from None
    except IsADirectoryError:
        raise DataError(f"{file} is a folder, not a CSV file") from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file} line {undecodable_line(file)}: byte 0x{error.object[error.start]:02x} is not "
            "UTF-8 text; save the file as UTF-8 CSV"
        ) from None
    except csv.Error as error:
        raise DataError(
            f"{file} row {number + 1}: broken CSV ({error}); look for a quote that is not closed"
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise DataError(f"{file}: cannot be read: {error}") from error


def undecodable_line(file: Path) -> int:
    """The first line that is not UTF-8: decoding runs ahead of the rows, so look again."""
    with file.open("rb") as stream:
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
        raise DataError(f"{file}: the file is empty; a header row is needed, then rows of numbers")
    for name in names:
        if name and names.count(name) > 1:
            raise DataError(
                f"{file} row {number}: column {name!r} appears twice; rename or drop one"
            )
    return number, names


def _missing_column(file: Path, number: int, name: str, header: Sequence[str]) -> str:
    mend = "rename the one that holds it"
    if len(header) == 1 and any(mark in header[0] for mark in ";\t"):
        mend = "separate the cells with commas"
    return (
        f"{file} row {number}: no column {name!r}; the columns are "
        f"{', '.join(map(repr, header))}; {mend}"
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
        for place, name in enumerate(wanted):
            position = header.index(name)
            table[place] = [
                float(text) if (text := cells[position].strip()) else math.nan for _, cells in chunk
            ]
    except (ValueError, IndexError):
        _blame(file, chunk, header, wanted, required)
        raise
    lengths_differ = any(len(cells) != len(header) for _, cells in chunk)
    not_finite = ~np.isfinite(table[: len(required)])  # the required columns come first
    if lengths_differ or not_finite.any() or np.isinf(table).any():
        _blame(file, chunk, header, wanted, required)
    return table


def _blame(
    file: Path,
    chunk: Sequence[Record],
    header: Sequence[str],
    wanted: Sequence[str],
    required: Sequence[str],
) -> None:
    """Raise for the first row or cell that cannot be used."""
    for number, cells in chunk:
        if len(cells) > len(header):
            raise DataError(
                f"{file} row {number}: {len(cells)} cells under a header of {len(header)} "
                f"({','.join(cells)[:60]}); remove the extra ones, or quote text that holds commas"
            )
        if len(cells) < len(header):
            raise DataError(
                f"{file} row {number}, column {header[len(cells)]!r}: the row ends before it, with "
                f"{len(cells)} cells under a header of {len(header)}; complete or drop the row"
            )
        for name in wanted:
            text = cells[header.index(name)].strip()
            _check_cell(f"{file} row {number}, column {name!r}", text, name in required)


def _check_cell(where: str, text: str, required: bool) -> None:
    if not text:
        if required:
            raise DataError(f"{where}: the cell is empty; fill it in or drop the row")
        return
    try:
        value = float(text)
    except ValueError:
        raise DataError(
            f"{where}: {text[:60]!r} is not a number; mend the cell or drop the row"
        ) from None
    if not math.isfinite(value) and (required or math.isinf(value)):
        raise DataError(f"{where}: {text[:60]!r} is not finite; mend the cell or drop the row")
