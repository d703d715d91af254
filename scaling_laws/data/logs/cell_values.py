"""Cells of tables as numbers: absent values, and commas within numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

import numpy as np

__all__ = [
    "ABSENT_BITS",
    "COMMAS",
    "comma_style",
    "has_comma",
    "is_number",
    "is_present",
    "numbers_of",
]

ABSENT = frozenset({"", "null", "none", "na", "n/a", "-"})  # cells without a value
# a NaN that arithmetic does not produce distinguishes an empty cell from a logged nan
ABSENT_BITS = np.int64(0x7FF8000000000A5A)
GROUPED = re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d*)?")  # 1,234.5
DECIMAL = re.compile(r"[-+]?\d*,\d+([eE][-+]?\d+)?")  # 3,25
DOTTED = re.compile(r"[-+]?\d*\.\d+([eE][-+]?\d+)?")
# meaning of commas within numbers -> their replacement, and a note
COMMAS = {"thousands": ("", "are between thousands"), "decimal": (".", "are decimal marks")}


def is_number(text: str) -> bool:
    """Whether a cell is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def is_present(text: str) -> bool:
    """Whether a cell has a value."""
    return text.strip().lower() not in ABSENT


def has_comma(text: str) -> bool:
    """Whether a cell is a number that contains commas."""
    return bool(GROUPED.fullmatch(text.strip()) or DECIMAL.fullmatch(text.strip()))


def comma_style(cells: Iterable[str]) -> str | None:
    """The meaning of commas within the numbers of a table: a key of `COMMAS`.

    ``1,234`` is ambiguous; ``0,25``, ``1,234,567`` and points in other cells are not.

    Args:
        cells: of the whole table.

    Returns:
        None if the cells are inconsistent or ambiguous.
    """
    grouped = decimal = dotted = False
    for cell in cells:
        text = cell.strip()
        if "," in text:
            one, other = GROUPED.fullmatch(text), DECIMAL.fullmatch(text)
            grouped |= bool(one and not other)
            decimal |= bool(other and not one)
        elif "." in text:
            dotted |= bool(DOTTED.fullmatch(text))
    if decimal:
        return None if grouped or dotted else "decimal"
    return "thousands" if grouped or dotted else None


def numbers_of(
    column: Sequence[str],
    index: int,
    lines: Sequence[int],
    faults: dict[int, tuple[int, str]],
    commas: str | None = None,
) -> np.ndarray:
    """Cells as numbers; the first that is not one is recorded.

    Args:
        column: cells.
        index: of the column in the table.
        lines: of the cells.
        faults: receives line and text of the first cell that is not a number, by column index.
        commas: meaning of commas within numbers, a key of `COMMAS`; None if there are none.
    """
    if index in faults:
        return np.full(len(column), math.nan)
    try:
        return np.array(list(map(float, column)))
    except ValueError:
        pass
    replacement = None if commas is None else COMMAS[commas][0]
    values = np.empty(len(column))
    absent = np.zeros(len(column), dtype=bool)
    for row, text in enumerate(column):
        try:
            plain = (
                text.replace(",", replacement)
                if replacement is not None and has_comma(text)
                else text
            )
            values[row] = float(plain)
        except ValueError:
            if not is_present(text):
                absent[row] = True
            else:
                faults.setdefault(index, (lines[row], text))
                values[row] = math.nan
    values.view(np.int64)[absent] = ABSENT_BITS
    return values
