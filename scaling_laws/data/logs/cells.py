"""Cells of tables as numbers: what holds nothing, and commas within numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

import numpy as np

__all__ = ["ABSENT_BITS", "COMMAS", "comma_style", "has_comma", "is_number", "numbers_of"]

ABSENT = frozenset({"", "null", "none", "na", "n/a", "-"})  # cells that hold nothing
# a NaN that arithmetic does not make, so that an empty cell and a logged nan stay apart
ABSENT_BITS = np.int64(0x7FF8000000000A5A)
GROUPED = re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d*)?")  # 1,234.5
DECIMAL = re.compile(r"[-+]?\d*,\d+([eE][-+]?\d+)?")  # 3,25
DOTTED = re.compile(r"[-+]?\d*\.\d+([eE][-+]?\d+)?")
# what commas within numbers are -> what a number's text becomes before it is read
COMMAS = {"thousands": ("", "are between thousands"), "decimal": (".", "are decimal marks")}


def is_number(text: str) -> bool:
    """Whether a cell holds a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def has_comma(text: str) -> bool:
    """Whether a cell holds a number with commas in it."""
    return bool(GROUPED.fullmatch(text.strip()) or DECIMAL.fullmatch(text.strip()))


def comma_style(cells: Iterable[str]) -> str | None:
    """What the commas within a table's numbers are: a key of `COMMAS`.

    ``1,234`` alone says nothing; ``0,25`` and ``1,234,567`` do, and so do points in other cells.

    Args:
        cells: of the whole table.

    Returns:
        None where the cells do not agree, or do not say.
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
    """Cells as numbers; the first that holds something else is noted, and ends the reading.

    Args:
        column: cells.
        index: of the column in the table.
        lines: of the cells.
        faults: gets the line and the text of the first cell that is no number, by place.
        commas: what commas within numbers are, a key of `COMMAS`; None if there are none.
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
            if text.strip().lower() in ABSENT:
                absent[row] = True
            else:
                faults.setdefault(index, (lines[row], text))
                values[row] = math.nan
    values.view(np.int64)[absent] = ABSENT_BITS
    return values
