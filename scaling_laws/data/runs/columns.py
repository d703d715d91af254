"""The columns of a loss curve's file, CSV or Parquet, and the errors for its cells."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import (
    MAX_STEPS,
    DataError,
    check_columns,
    check_input,
    open_error,
    optional,
    tables,
)

__all__ = [
    "PARQUET",
    "cell_error",
    "check_steps",
    "parquet_file",
    "pyarrow_parquet",
    "read_columns",
]

Array = NDArray[np.float64]
PARQUET = ".parquet"
MAX_CELLS = 2 * 10**8  # of a table: 1.6 GB of numbers


def pyarrow_parquet() -> Any:
    """The library that reads and writes Parquet.

    Raises:
        MissingLibraryError: with the name of the extra, if it is not installed.
    """
    return optional("pyarrow.parquet", "Parquet needs pyarrow", "logs")


def parquet_file(path: Path) -> Any:
    """An open Parquet file; its size as a table is bounded before any of it is read.

    A file of a few kilobytes can stand for any number of rows.

    Raises:
        MissingLibraryError: if pyarrow is not installed.
        DataError: if it has more rows than any run has steps, or would not fit into memory.
        OSError: as `open_bytes`.
        pyarrow.ArrowException: if it is not Parquet.
    """
    library = pyarrow_parquet()
    check_input(path)
    file = library.ParquetFile(path)
    rows, names = file.metadata.num_rows, file.schema_arrow.names
    check_columns(path, names)
    if rows > MAX_STEPS or rows * len(names) > MAX_CELLS:
        raise DataError(
            f"{path}: {rows:,} rows of {len(names):,} columns; at most {MAX_STEPS:,} rows and "
            f"{MAX_CELLS:,} cells are read: write fewer columns, or one file per run",
            path=path,
            value=rows,
        )
    return file


def read_columns(
    path: Path, required: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, Array]:
    """Read numeric columns of a CSV or a Parquet file; others are ignored.

    Args:
        path: the file; a name that ends in ``.parquet`` means Parquet.
        required: columns that must be present and finite.
        optional: columns to read if present; their empty cells become NaN.

    Returns:
        Columns by name, each float64, (rows,).

    Raises:
        UnreadableFileError: if the file is missing or cannot be read.
        DataError: with the file, row and column of what cannot be used.
        MissingLibraryError: if the file is Parquet and pyarrow is not installed.
    """
    if path.suffix.lower() != PARQUET:
        return tables.read_columns(path, required, optional)
    content = _open(path, required, optional)
    columns = {}
    for name in content.column_names:
        try:
            values = content.column(name).to_pandas().to_numpy(dtype=np.float64, na_value=np.nan)
        except (TypeError, ValueError):
            dtype = content.schema.field(name).type
            raise DataError(
                f"{path}, column {name!r}: contains {dtype}, not numbers", path=path, column=name
            ) from None
        bad = ~np.isfinite(values) if name in required else np.isinf(values)
        if bad.any():
            index = int(np.argmax(bad))
            value = float(values[index])
            message = f"{value:g} is not finite; correct the cell or delete the row"
            raise cell_error(path, index, name, message, value=value)
        columns[name] = values
    return columns


def _open(path: Path, required: Sequence[str], optional: Sequence[str]) -> Any:
    """The wanted columns as an Arrow table."""
    arrow = importlib.import_module("pyarrow")
    try:
        file = parquet_file(path)
        header = file.schema_arrow.names
        for name in required:
            if name not in header:
                raise DataError(
                    f"{path}: no column {name!r}; the columns are {', '.join(map(repr, header))}; "
                    "rename one",
                    path=path,
                )
        content = file.read(columns=[name for name in (*required, *optional) if name in header])
    except arrow.ArrowException as error:
        raise DataError(f"{path}: not a valid Parquet file: {error}", path=path) from None
    except OSError as error:
        raise open_error(path, error) from None
    if not content.num_rows:
        raise DataError(f"{path}: the file has columns but no rows", path=path)
    return content


def cell_error(
    path: Path | str, index: int, column: str, message: str, *, value: Any = None
) -> DataError:
    """As `tables.cell_error`; the rows of a Parquet file are counted from 1."""
    if Path(path).suffix.lower() != PARQUET:
        return tables.cell_error(path, index, column, message, value=value)
    return DataError(
        f"{path} row {index + 1}, column {column!r}: {message}",
        path=path,
        row=index + 1,
        column=column,
        value=value,
    )


def check_steps(path: Path, step: Array) -> None:
    """As `tables.check_steps`, for either format."""
    if path.suffix.lower() != PARQUET:
        tables.check_steps(path, step)
        return
    index = tables.first_bad_step(step)
    if index is not None:
        value = float(step[index])
        message = (
            f"{value:.15g} must be a whole number from 0 to {MAX_STEPS - 1:,}, above that of the "
            "previous row; sort the rows and keep one row per step"
        )
        raise cell_error(path, index, "step", message, value=value)
