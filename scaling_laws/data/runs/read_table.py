"""Tables of measurements for tabular laws: a CSV with one row per finished run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import LawError, cell_error, read_columns, read_header
from scaling_laws.models import PointLaw, get_law

__all__ = ["read_points"]


def read_points(path: Path | str, law: PointLaw | str) -> dict[str, NDArray[np.float64]]:
    """Read the columns of a CSV that a law requires.

    Args:
        path: a CSV with one column per input of the law and one for its output, e.g.
            model_params, tokens, loss; other columns are ignored.
        law: the tabular law, or its name.

    Returns:
        Columns by name, each (rows,).

    Raises:
        UnreadableFileError: if the file is missing or cannot be read.
        DataError: with the file, row and column of the first cell that cannot be used.
        LawError: if the law is unknown or takes a schedule, or has one input per item and no column
            names one.
    """
    chosen = get_law(law) if isinstance(law, str) else law
    if not isinstance(chosen, PointLaw):
        raise LawError(
            f"{chosen.name} is a law of schedules; read its runs with scaling_laws.load_runs",
            value=chosen.name,
        )
    if chosen.has_wildcards:
        chosen = chosen.expand_for_columns(read_header(path))
    columns = read_columns(path, [*chosen.input_names, chosen.output])
    for law_input in chosen.inputs:
        name, low, high = law_input.name, law_input.low, law_input.high
        wrong = (columns[name] < low) | (columns[name] > high)
        if wrong.any():
            index = int(np.argmax(wrong))
            value = float(columns[name][index])
            message = f"{value:g} must be in [{low:g}, {high:g}] ({law_input.meaning})"
            raise cell_error(path, index, name, message, value=value)
    output = columns[chosen.output]
    if (output <= 0).any():
        index = int(np.argmax(output <= 0))
        value = float(output[index])
        message = f"{value:g} is not > 0; delete the row"
        raise cell_error(path, index, chosen.output, message, value=value)
    return columns
