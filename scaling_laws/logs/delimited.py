"""Tables of text with a header row: CSV (any common separator) and TSV."""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from scaling_laws.errors import DataError
from scaling_laws.logs.base import Column, Head, Match, Reader, Table
from scaling_laws.logs.text import encoding_of, has_last_end, open_error
from scaling_laws.tables import undecodable_line

__all__ = ["CSV_TABLE", "TSV_TABLE", "read_delimited"]

CHUNK = 4_000  # rows held as text at a time; many more leave the processor's cache
ABSENT = frozenset({"", "null", "none", "na", "n/a", "-"})  # cells that hold nothing


def read_delimited(path: Path, separator: str | None = None) -> Table:
    """Read a table of text, a run a file.

    A cell that is empty, or says null, holds nothing; nan and inf are kept as the trainer wrote
    them. A last line without a line end may be cut short, number and all, so it is left out and
    said.

    Args:
        path: the file.
        separator: between cells; default the most frequent of comma, semicolon, tab and bar in the
            header.

    Raises:
        DataError: naming the line whose cells do not fit the header, or whose bytes are no text.
    """
    pieces: list[list[np.ndarray]] = []
    lines: list[np.ndarray] = []
    faults: dict[int, tuple[int, str]] = {}
    notes: list[str] = []
    try:
        with path.open("rb") as stream:
            encoding = encoding_of(stream.read(4))
            cut = not has_last_end(stream)
        with path.open(encoding=encoding, newline="") as stream:
            first = stream.readline()
            mark = separator or max(",;\t|", key=first.count)
            stream.seek(0)
            rows = _rows(path, stream, mark)
            number, header = next(rows, (1, []))
            names = _names(path, number, header)
            while chunk := list(itertools.islice(rows, CHUNK)):
                numbers, cells = zip(*chunk, strict=True)
                if set(map(len, cells)) != {len(names)}:
                    whole = [len(row) == len(names) for row in cells]
                    place = whole.index(False)
                    if not (cut and place == len(chunk) - 1 and next(rows, None) is None):
                        raise _ragged(path, numbers[place], cells[place], names)
                    numbers, cells = numbers[:-1], cells[:-1]
                    notes.append(f"line {numbers[-1] + 1 if numbers else 2} is cut short; left out")
                    cut = False
                if numbers:
                    lines.append(np.array(numbers, dtype=np.int64))
                    columns = zip(*cells, strict=True)
                    pieces.append(
                        [
                            _numbers(column, place, numbers, faults)
                            for place, column in enumerate(columns)
                        ]
                    )
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} line {undecodable_line(path)}: {error.reason}: not UTF-8 text; save the file "
            "as UTF-8"
        ) from None
    except csv.Error as error:
        raise DataError(
            f"{path}: broken table ({error}); look for a quote that is not closed"
        ) from None
    except (OSError, ValueError) as error:
        raise open_error(path, error) from None
    if not pieces:
        raise DataError(f"{path}: a header and no row; nothing was logged")
    table = [np.concatenate(parts) for parts in zip(*pieces, strict=True)]
    every = np.concatenate(lines)
    if cut and every.size > 1:
        notes.append(f"line {every[-1]} has no line end and may be cut short; left out")
        every, table = every[:-1], [column[:-1] for column in table]
    return _table(path, names, table, every, faults, notes)


def _table(
    path: Path,
    names: Sequence[str],
    table: Sequence[np.ndarray],
    lines: np.ndarray,
    faults: dict[int, tuple[int, str]],
    notes: Sequence[str],
) -> Table:
    """Columns by name; absent cells were marked by a NaN with a payload of their own."""
    full = np.arange(lines.size)
    columns = {}
    for place, name in enumerate(names):
        values = table[place]
        there = values.view(np.int64) != ABSENT_BITS
        rows = full if there.all() else np.flatnonzero(there)
        fault = ""
        if place in faults:
            line, text = faults[place]
            fault = f"line {line}, column {name!r}: {text[:60]!r} is not a number"
        if name and (rows.size or fault):
            columns[name] = Column(rows, values if rows is full else values[rows], fault)
    return Table(path.stem, str(path), columns, lines, "line", notes=tuple(notes))


# a NaN that arithmetic does not make, so that an empty cell and a logged nan stay apart
ABSENT_BITS = np.int64(0x7FF8000000000A5A)


def _numbers(
    column: Sequence[str], place: int, lines: Sequence[int], faults: dict[int, tuple[int, str]]
) -> np.ndarray:
    """Cells as numbers; the first that holds something else is noted, and ends the reading."""
    if place in faults:
        return np.full(len(column), math.nan)
    try:
        return np.array(list(map(float, column)))
    except ValueError:
        pass
    values = np.empty(len(column))
    absent = np.zeros(len(column), dtype=bool)
    for row, text in enumerate(column):
        try:
            values[row] = float(text)
        except ValueError:
            if text.strip().lower() in ABSENT:
                absent[row] = True
            else:
                faults.setdefault(place, (lines[row], text))
                values[row] = math.nan
    values.view(np.int64)[absent] = ABSENT_BITS
    return values


def _rows(path: Path, stream: Iterator[str], mark: str) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not blank, with the number of the line each ends in."""
    reader = csv.reader(stream, delimiter=mark, strict=True)
    for row in reader:
        if len(row) > 1 or (row and row[0].strip()):
            yield reader.line_num, row


def _names(path: Path, number: int, header: Sequence[str]) -> list[str]:
    names = [name.strip() for name in header]
    if not any(names):
        raise DataError(f"{path}: the file is empty; a header row is needed, then rows of numbers")
    for name in names:
        if name and names.count(name) > 1:
            raise DataError(f"{path} line {number}: column {name!r} appears twice; rename one")
    if all(_is_number(name) for name in names):
        raise DataError(
            f"{path} line {number}: numbers ({', '.join(names)[:60]}) where the names of the "
            "columns are needed; put a header such as step,lr,loss before them"
        )
    return names


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _ragged(path: Path, line: int, cells: Sequence[str], names: Sequence[str]) -> DataError:
    return DataError(
        f"{path} line {line}: {len(cells)} cells under a header of {len(names)} "
        f"({','.join(cells)[:60]}); mend or drop the line"
    )


CSV_TABLE = Reader(
    name="csv",
    meaning="a table of text with a header row, cells separated by comma, semicolon, tab or bar",
    sniff=lambda head: Match.GENERIC if head.ending == ".csv" else Match.NO,
    read=lambda path: (read_delimited(path),),
)
TSV_TABLE = Reader(
    name="tsv",
    meaning="a table of text with a header row, cells separated by tabs",
    sniff=lambda head: _tsv(head),
    read=lambda path: (read_delimited(path, "\t"),),
)


def _tsv(head: Head) -> Match:
    return Match.GENERIC if head.ending in (".tsv", ".tab") else Match.NO
