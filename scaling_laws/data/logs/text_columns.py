"""Columns of texts: names of runs, models and settings, by which runs are told apart."""

from __future__ import annotations

from array import array
from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["TextCollector", "TextColumn"]

Whole = NDArray[np.int64]
MAX_TEXTS = 10_000  # distinct texts of a key that are kept


@dataclass(frozen=True, eq=False)
class TextColumn:
    """The texts logged under a key: ``names[codes[row]]``.

    Attributes:
        codes: index of each row's text, -1 where there is none, int64: (rows,).
        names: the distinct texts, in the order of the file.
    """

    codes: Whole
    names: tuple[str, ...]


class TextCollector:
    """Collects texts by key and row; a key with very many distinct ones is omitted."""

    def __init__(self) -> None:
        self._rows: dict[str, array[int]] = {}
        self._codes: dict[str, array[int]] = {}
        self._names: dict[str, dict[str, int]] = {}

    def add(self, key: str, row: int, text: str) -> None:
        """Keep the text of a row, unless it is blank."""
        stripped = text.strip()
        names = self._names.setdefault(key, {})
        if not stripped or len(names) > MAX_TEXTS:
            return
        code = names.setdefault(stripped, len(names))
        self._rows.setdefault(key, array("q")).append(row)
        self._codes.setdefault(key, array("q")).append(code)

    def add_cells(self, key: str, row: int, cells: Sequence[str], texts: Set[str]) -> None:
        """Keep the cells of a column from a row on that are among some texts; much faster."""
        names = self._names.setdefault(key, {})
        if len(names) > MAX_TEXTS:
            return
        codes = {
            cell: names.setdefault(cell.strip(), len(names)) if cell in texts else -1
            for cell in dict.fromkeys(cells)
        }
        self._rows.setdefault(key, array("q")).extend(range(row, row + len(cells)))
        self._codes.setdefault(key, array("q")).extend(map(codes.__getitem__, cells))

    def columns(self, count: int) -> dict[str, TextColumn]:
        """The columns of a table with a number of rows."""
        texts = {}
        for key, rows in self._rows.items():
            if len(self._names[key]) <= MAX_TEXTS:
                codes = np.full(count, -1, dtype=np.int64)
                at = np.array(rows, dtype=np.int64)
                codes[at[at < count]] = np.array(self._codes[key], dtype=np.int64)[at < count]
                texts[key] = TextColumn(codes, tuple(self._names[key]))
        return texts
