"""The columns of a curve's file, CSV or Parquet, and errors that name a cell of it."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import MAX_STEPS, DataError, optional, tables

__all__ = ["PARQUET", "cell_error", "check_steps", "pyarrow_parquet", "read_columns"]

Array = NDArray[np.float64]
PARQUET = ".parquet"


def pyarrow_parquet() -> Any:
    """The library that reads and writes Parquet.

    Raises:
        DataError: naming the extra, if it is not installed.
    """
    return optional("pyarrow.parquet", "Parquet needs pyarrow", "logs")


def read_columns(
    path: Path, required: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, Array]:
    """Read numeric columns of a CSV or a Parquet file; others are left alone.

    Args:
        path: the file; a name that ends in ``.parquet`` is Parquet.
        required: columns that must be there, of finite numbers.
        optional: columns to read when they are there; what is empty in them becomes NaN.

    Returns:
        Columns by name, each float64, (rows,).

    Raises:
        DataError: naming file, row and column of what cannot be used, or pyarrow if it is missing.
    """
    if path.suffix.lower() != PARQUET:
        return tables.read_columns(path, required, optional)
    content = _open(path, required, optional)
    columns = {}
    for name in content.column_names:
        try:
            values = content.column(name).to_pandas().to_numpy(dtype=np.float64, na_value=np.nan)
        except (TypeError, ValueError):
            kind = content.schema.field(name).type
            raise DataError(f"{path}, column {name!r}: holds {kind}, not numbers") from None
        bad = ~np.isfinite(values) if name in required else np.isinf(values)
        if bad.any():
            row = int(np.argmax(bad))
            message = f"{values[row]:g} is not finite; mend the cell or drop the row"
            raise cell_error(path, row, name, message)
        columns[name] = values
    return columns


def _open(path: Path, required: Sequence[str], optional: Sequence[str]) -> Any:
    """The wanted columns as an Arrow table."""
    library = pyarrow_parquet()
    arrow = importlib.import_module("pyarrow")
    try:
        file = library.ParquetFile(path)
        header = file.schema_arrow.names
        for name in required:
            if name not in header:
                raise DataError(
                    f"{path}: no column {name!r}; the columns are {', '.join(map(repr, header))}; "
                    "rename one"
                )
        content = file.read(columns=[name for name in (*required, *optional) if name in header])
    except arrow.ArrowException as error:
        raise DataError(f"{path}: not a Parquet file that can be read: {error}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    if not content.num_rows:
        raise DataError(f"{path}: the file has columns but no rows")
    return content


def cell_error(path: Path | str, index: int, column: str, message: str) -> DataError:
    """An error at a data row given by its 0-based index; Parquet's rows are counted from 1."""
    if Path(path).suffix.lower() != PARQUET:
        return tables.cell_error(path, index, column, message)
    return DataError(f"{path} row {index + 1}, column {column!r}: {message}")


def check_steps(path: Path, step: Array) -> None:
    """Raise a DataError for the first step that is not whole, >= 0 and above the one before."""
    if path.suffix.lower() != PARQUET:
        tables.check_steps(path, step)
        return
    row = tables.first_bad_step(step)
    if row is not None:
        message = (
            f"{step[row]:.15g} must be a whole number from 0 to {MAX_STEPS - 1:,}, above that of "
            "the row before; sort the rows and keep one for each step"
        )
        raise cell_error(path, row, "step", message)
