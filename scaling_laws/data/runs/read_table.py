"""Tables of measurements for laws of single numbers: a CSV, a row a finished run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import cell_error, read_columns, read_header
from scaling_laws.models import PointLaw

__all__ = ["read_points"]


def read_points(path: Path | str, law: PointLaw) -> dict[str, NDArray[np.float64]]:
    """The columns of a CSV that a law needs.

    Args:
        path: a CSV with a column for each input of the law and one for its output, e.g.
            model_params, tokens, loss; other columns are left alone.
        law: the law.

    Returns:
        Columns by name, each (rows,).

    Raises:
        DataError: naming file, row and column of the first cell that cannot be used.
        LawError: if the law has an input an item and no column names one.
    """
    chosen = law.expand_for_columns(read_header(path)) if law.has_wildcards else law
    columns = read_columns(path, [*chosen.input_names, chosen.output])
    for each in chosen.inputs:
        wrong = (columns[each.name] < each.low) | (columns[each.name] > each.high)
        if wrong.any():
            row = int(np.argmax(wrong))
            value = columns[each.name][row]
            message = f"{value:g} must lie in [{each.low:g}, {each.high:g}] ({each.meaning})"
            raise cell_error(path, row, each.name, message)
    output = columns[chosen.output]
    if (output <= 0).any():
        row = int(np.argmax(output <= 0))
        raise cell_error(path, row, chosen.output, f"{output[row]:g} is not > 0; drop the row")
    return columns
