"""Numeric columns from a CSV file, with errors that name file, row and column.

The fast path parses a bounded number of rows at a time; only when it meets something it cannot
take does a slow second pass look for the cell to blame.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scaling_laws.errors import DataError

__all__ = ["CHUNK_ROWS", "cell_error", "check_steps", "read_columns", "read_header"]

CHUNK_ROWS = 500_000  # rows parsed at a time: about 12 MB a column triple, whatever the file's size


def read_header(path: Path | str) -> list[str]:
    """The column names of a CSV file.

    Raises:
        DataError: if the file is missing, a folder, empty, not UTF-8, or names a column twice.
    """
    file = Path(path)
    if not file.exists():
        raise DataError(f"{file}: no such file")
    if file.is_dir():
        raise DataError(f"{file} is a folder, not a CSV file")
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            header = next(csv.reader(stream), None)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file}: not UTF-8 text (byte {error.start} is 0x{error.object[error.start]:02x}); "
            "save the file as UTF-8 CSV"
        ) from error
    except csv.Error as error:
        raise DataError(f"{file} row 1: not a CSV header ({error})") from error
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from error
    if not header or not any(name.strip() for name in header):
        raise DataError(f"{file}: the file is empty; a header row is needed, then rows of numbers")
    names = [name.strip() for name in header]
    for name in names:
        if name and names.count(name) > 1:
            raise DataError(f"{file} row 1: column {name!r} appears twice; rename or drop one")
    return names


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
        DataError: naming file, row (the header is row 1) and column of the first bad cell.
    """
    import pandas as pd  # here: a command that reads no file should not pay for it

    file = Path(path)
    header = read_header(file)
    for name in required:
        if name not in header:
            raise DataError(_missing_column(file, name, header))
    wanted = [name for name in (*required, *optional) if name in header]
    positions = [header.index(name) for name in wanted]
    pieces: list[NDArray[np.float64]] = []
    try:
        with pd.read_csv(
            file,
            header=0,
            names=list(range(len(header))),
            usecols=positions,
            index_col=False,
            dtype=np.float64,
            na_values={position: [""] for position in positions},
            keep_default_na=False,
            skip_blank_lines=True,
            encoding="utf-8-sig",
            chunksize=CHUNK_ROWS,
            on_bad_lines="error",
            low_memory=True,
        ) as chunks:
            for chunk in chunks:
                pieces.append(chunk[positions].to_numpy(dtype=np.float64))
    except (ValueError, OverflowError) as error:  # includes pandas' ParserError and encoding errors
        _blame(file, header, required, wanted)
        raise DataError(f"{file}: not a CSV of numbers: {error}") from error
    table = np.concatenate(pieces) if pieces else np.empty((0, len(wanted)))
    if len(table) == 0:
        raise DataError(f"{file}: the file has a header but no rows")
    columns = {name: np.ascontiguousarray(table[:, place]) for place, name in enumerate(wanted)}
    if any(not np.all(np.isfinite(columns[name])) for name in required) or any(
        np.any(np.isinf(columns[name])) for name in wanted
    ):
        _blame(file, header, required, wanted)
    return columns


def cell_error(path: Path | str, index: int, column: str, message: str) -> DataError:
    """An error at a data row given by its 0-based index (the header is row 1 of the file)."""
    return DataError(f"{path} row {index + 2}, column {column!r}: {message}")


def check_steps(path: Path | str, step: NDArray[np.float64]) -> None:
    """Raise a DataError for the first step that is not whole, >= 0 and above the one before."""
    if (step != np.floor(step)).any():
        row = int(np.argmax(step != np.floor(step)))
        raise cell_error(path, row, "step", f"{step[row]:g} is not a whole number")
    if step[0] < 0:
        raise cell_error(path, 0, "step", f"{step[0]:g} is negative")
    falls = np.diff(step) <= 0
    if falls.any():
        row = int(np.argmax(falls)) + 1
        raise cell_error(
            path,
            row,
            "step",
            f"{step[row]:.0f} does not increase (the row before has {step[row - 1]:.0f}); "
            "sort the rows and keep one for each step",
        )


def _missing_column(file: Path, name: str, header: Sequence[str]) -> str:
    return (
        f"{file} row 1: no column {name!r}; the columns are {', '.join(map(repr, header))}. "
        "Rename the one that holds it"
    )


def _rows(file: Path) -> Iterator[list[str]]:
    with file.open(encoding="utf-8-sig", newline="") as stream:
        yield from csv.reader(stream)


def _blame(file: Path, header: list[str], required: Sequence[str], wanted: Sequence[str]) -> None:
    """Raise for the first cell that is not a finite number; return if there is none."""
    number = 1
    try:
        for number, row in enumerate(_rows(file), start=1):
            if number == 1 or not row:
                continue
            if len(row) > len(header):
                raise DataError(
                    f"{file} row {number}: {len(row)} cells under a header of {len(header)}; "
                    "remove the extra ones or quote text that holds commas"
                )
            for name in wanted:
                place = header.index(name)
                text = row[place].strip() if place < len(row) else ""
                _check_cell(file, number, name, text, name in required)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file} after row {number}: not UTF-8 text; save the file as UTF-8 CSV"
        ) from error
    except csv.Error as error:
        raise DataError(f"{file} after row {number}: broken CSV ({error})") from error


def _check_cell(file: Path, number: int, name: str, text: str, required: bool) -> None:
    where = f"{file} row {number}, column {name!r}"
    if not text:
        if required:
            raise DataError(f"{where}: the cell is empty; fill it in or drop the row")
        return
    try:
        value = float(text)
    except ValueError:
        raise DataError(
            f"{where}: {text!r} is not a number; mend the cell or drop the row"
        ) from None
    if not math.isfinite(value) and (required or math.isinf(value)):
        raise DataError(f"{where}: {text!r} is not finite; drop the row")
