"""Tables of text with a header row: CSV with any common separator, TSV, or spaces."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from scaling_laws.common import DataError, undecodable_line
from scaling_laws.data.logs.cell_values import (
    ABSENT_BITS,
    COMMAS,
    comma_style,
    has_comma,
    is_number,
    is_present,
    numbers_of,
)
from scaling_laws.data.logs.reader import (
    Column,
    Head,
    LogTable,
    Match,
    ParseError,
    Reader,
)
from scaling_laws.data.logs.splits import is_run_name, is_split_name, split_columns, split_runs
from scaling_laws.data.logs.text import encoding_of, has_last_end, lines_of, open_error
from scaling_laws.data.logs.text_columns import TextCollector

__all__ = ["CSV_TABLE", "TSV_TABLE", "read_delimited"]

CHUNK = 4_000  # rows kept as text at a time; many more exceed the processor's cache
SEPARATORS = ",;\t|"
SPACES = " "  # any number of them
SHOWN = 4  # lines in a note


@dataclass
class _Reading:
    """What has been read of a table so far.

    Attributes:
        names: of the columns.
        pieces: numbers by column, for each chunk of rows.
        lines: of the rows, for each chunk.
        words: cells of the column that distinguishes training and evaluation.
        texts: cells that are not numbers, by the name of the column.
        count: rows read.
        faults: line and text of the first cell that is not a number, by column index.
        again: lines that repeat the header.
        comments: lines that begin with #.
        notes: for the report.
        cut: whether the last line has no line end.
    """

    names: list[str] = field(default_factory=list)
    pieces: list[list[np.ndarray]] = field(default_factory=list)
    lines: list[np.ndarray] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    texts: TextCollector = field(default_factory=TextCollector)
    count: int = 0
    faults: dict[int, tuple[int, str]] = field(default_factory=dict)
    again: list[int] = field(default_factory=list)
    comments: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    cut: bool = False


def read_delimited(path: Path, separator: str | None = None) -> LogTable:
    """Read a table of text as one run; see `read_runs`."""
    return _read_table(path, separator)


def read_runs(path: Path, separator: str | None = None) -> tuple[LogTable, ...]:
    """Read a table of text: one run, or one per distinct value of a column called run.

    An empty cell or null means not logged; nan and inf are kept. Comments (#) before the header are
    skipped; a repeated header, as written by a restart, is omitted and reported. Commas within
    numbers are interpreted if the table determines their meaning. A last line without a line end
    may be truncated within a number, so it is omitted and reported.

    Args:
        path: the file.
        separator: between cells; default the most frequent of comma, semicolon, tab and bar in the
            header, else spaces.

    Raises:
        DataError: with the line whose cells do not fit the header, or whose bytes are not text.
    """
    return split_runs(_read_table(path, separator))


def _read_table(path: Path, separator: str | None) -> LogTable:
    """The rows of all runs."""
    read = _read(path, separator, None)
    if any(has_comma(text) for _, text in read.faults.values()):
        style = comma_style(cell for cells in _all_cells(path, separator) for cell in cells)
        if style is not None:
            read = _read(path, separator, style)
            read.notes.append(f"commas within numbers {COMMAS[style][1]}")
    if not read.pieces:
        raise DataError(f"{path}: a header but no rows; nothing was logged", path=path)
    table = [np.concatenate(parts) for parts in zip(*read.pieces, strict=True)]
    all_lines = np.concatenate(read.lines)
    if read.cut and all_lines.size > 1:
        read.notes.append(f"line {all_lines[-1]} has no line end and may be truncated; omitted")
        all_lines, table = all_lines[:-1], [column[:-1] for column in table]
    if read.again:
        read.notes.append(f"the header is repeated {_at(read.again)}, as after a restart")
    if read.comments:
        read.notes.append(f"comments (#) are ignored {_at(read.comments)}")
    return _table(path, read, table, all_lines)


def _at(lines: Sequence[int]) -> str:
    shown = ", ".join(map(str, lines[:SHOWN])) + (", ..." if len(lines) > SHOWN else "")
    return f"in {'line' if len(lines) == 1 else 'lines'} {shown}"


def _read(path: Path, separator: str | None, commas: str | None) -> _Reading:
    """Every row as numbers."""
    read = _Reading()
    try:
        with path.open("rb") as stream:
            encoding = encoding_of(stream.read(4))
            read.cut = not has_last_end(stream)
        with path.open(encoding=encoding, newline="") as stream:
            rows, header, number = _opened(path, stream, separator)
            read.names = names = _names(path, number, header)
            split_column = next(
                (index for index, name in enumerate(names) if is_split_name(name)), None
            )
            run_columns = [index for index, name in enumerate(names) if is_run_name(name)][:1]
            while chunk := list(itertools.islice(rows, CHUNK)):
                numbers, cells = _fitting(path, chunk, rows, header, read)
                if numbers:
                    read.lines.append(np.array(numbers, dtype=np.int64))
                    columns = list(zip(*cells, strict=True))
                    read.pieces.append(
                        [
                            numbers_of(column, index, numbers, read.faults, commas)
                            for index, column in enumerate(columns)
                        ]
                    )
                    read.words += columns[split_column] if split_column is not None else ()
                    for index in sorted({*read.faults, *run_columns}):
                        cells = columns[index]
                        texts = {cell for cell in dict.fromkeys(cells) if is_present(cell)}
                        if index not in run_columns:  # a run may be named by a number
                            texts = {cell for cell in texts if not is_number(cell)}
                        read.texts.add_cells(names[index], read.count, cells, texts)
                    read.count += len(numbers)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} line {undecodable_line(path)}: {error.reason}: not UTF-8 text; save the file "
            "as UTF-8",
            path=path,
            row=undecodable_line(path),
            value=error.object[error.start : error.end],
        ) from None
    except csv.Error as error:
        raise DataError(
            f"{path}{_open_quote(path)}: broken table ({error}); close or remove the quote",
            path=path,
        ) from None
    except (OSError, ValueError) as error:
        raise open_error(path, error) from None
    return read


def _open_quote(path: Path) -> str:
    """Number of the first line with a quote that is not closed."""
    for number, line in lines_of(path):
        if line.count('"') % 2:
            return f" line {number}"
    return ""


def _all_cells(path: Path, separator: str | None) -> Iterator[list[str]]:
    """The cells of every row."""
    with path.open("rb") as stream:
        encoding = encoding_of(stream.read(4))
    with path.open(encoding=encoding, newline="") as stream:
        rows, _, _ = _opened(path, stream, separator)
        for _, cells in rows:
            yield cells


Row = tuple[int, list[str]]


def _opened(
    path: Path, stream: Iterator[str], separator: str | None
) -> tuple[Iterator[Row], list[str], int]:
    """Rows after the header, the header's cells and its line.

    Lines before it that begin with # are comments; where numbers follow at once, the last of them
    is the header.
    """
    before, comment, first = 0, "", ""
    for line in stream:
        if line.strip() and not line.lstrip().startswith("#"):
            first = line
            break
        comment = line.strip() or comment
        before += 1
    mark = separator or _mark(first)
    again = itertools.chain([first], stream) if first else iter(())
    rows = _rows(again, mark, before)
    number, header = next(rows, (1, []))
    if comment and header and all(map(is_number, header)):
        named = next(_rows(iter([comment.lstrip("# ")]), _mark(comment.lstrip("# ")), 0), (1, []))
        return itertools.chain([(number, header)], rows), named[1], before
    return rows, header, number


def _mark(line: str) -> str:
    mark = max(SEPARATORS, key=line.count)
    return mark if mark in line else SPACES


def _rows(stream: Iterator[str], mark: str, before: int) -> Iterator[Row]:
    """Rows that are not blank, with the number of the line each ends in."""
    if mark == SPACES:
        stream = (" ".join(line.split()) for line in stream)
    reader = csv.reader(stream, delimiter=mark, strict=True)
    for row in reader:
        if len(row) > 1 or (row and row[0].strip()):
            yield reader.line_num + before, row


def _fitting(
    path: Path, chunk: list[Row], rows: Iterator[Row], header: list[str], read: _Reading
) -> tuple[Sequence[int], Sequence[list[str]]]:
    """Lines and cells of the rows that fit the header; one that does not is an error.

    Separators at the end of a line make empty cells, which are removed.
    """
    if any(row == header or row[0].startswith("#") for _, row in chunk):
        read.again += [number for number, row in chunk if row == header]
        read.comments += [number for number, row in chunk if row[0].startswith("#")]
        chunk = [
            numbered_row
            for numbered_row in chunk
            if numbered_row[1] != header and not numbered_row[1][0].startswith("#")
        ]
    width = len(read.names)
    if any(len(row) != width for _, row in chunk):
        trimmed = [(n, row[:width] if not any(row[width:]) else row) for n, row in chunk]
        index = next((at for at, (_, row) in enumerate(trimmed) if len(row) != width), None)
        if index is not None:
            number, row = trimmed[index]
            if not (read.cut and index == len(trimmed) - 1 and next(rows, None) is None):
                raise _ragged(path, number, row, read.names)
            read.notes.append(f"line {number} is truncated; omitted")
            read.cut = False
            trimmed.pop()
        chunk = trimmed
    return [number for number, _ in chunk], [row for _, row in chunk]


def _table(path: Path, read: _Reading, table: Sequence[np.ndarray], lines: np.ndarray) -> LogTable:
    """Columns by name; absent cells are marked by a NaN with a payload of its own."""
    full = np.arange(lines.size)
    columns = {}
    for index, name in enumerate(read.names):
        values = table[index]
        there = values.view(np.int64) != ABSENT_BITS
        rows = full if there.all() else np.flatnonzero(there)
        parse_error = None
        if index in read.faults:
            line, text = read.faults[index]
            parse_error = ParseError("line", line, name, text)
        if name and (rows.size or parse_error is not None):
            columns[name] = Column(rows, values if rows is full else values[rows], parse_error)
    notes = read.notes
    if read.words:
        columns, split_notes = split_columns(columns, read.words[: lines.size])
        notes = notes + split_notes
    return LogTable(
        path.stem,
        str(path),
        columns,
        lines,
        "line",
        notes=tuple(notes),
        texts=read.texts.columns(lines.size),
    )


def _names(path: Path, number: int, header: Sequence[str]) -> list[str]:
    names = [name.strip() for name in header]
    if not any(names):
        raise DataError(
            f"{path}: the file is empty; it needs a header row, then rows of numbers", path=path
        )
    for name in names:
        if name and names.count(name) > 1:
            raise DataError(
                f"{path} line {number}: column {name!r} appears twice; rename one",
                path=path,
                row=number,
                column=name,
            )
    if all(map(is_number, names)):
        raise DataError(
            f"{path} line {number}: numbers ({', '.join(names)[:60]}) where column names are "
            "expected; insert a header such as step,lr,loss",
            path=path,
            row=number,
        )
    return names


def _ragged(path: Path, line: int, cells: Sequence[str], names: Sequence[str]) -> DataError:
    return DataError(
        f"{path} line {line}: {len(cells)} cells under a header of {len(names)} "
        f"({','.join(cells)[:60]}); correct or delete the line",
        path=path,
        row=line,
        value=cells,
    )


CSV_TABLE = Reader(
    name="csv",
    meaning="a table of text with a header row, cells separated by comma, semicolon, tab, bar or "
    "spaces",
    detect=lambda head: _csv(head),
    read=lambda path: read_runs(path),
)
TSV_TABLE = Reader(
    name="tsv",
    meaning="a table of text with a header row, cells separated by tabs",
    detect=lambda head: _tsv(head),
    read=lambda path: read_runs(path, "\t"),
)


def _csv(head: Head) -> Match:
    """By its ending, or by a header over a row of numbers."""
    if head.ending == ".csv":
        return Match.GENERIC
    lines = [line.strip() for line in head.text[:10_000].splitlines() if line.strip()]
    start = next((at for at, line in enumerate(lines) if not line.startswith("#")), len(lines))
    if _tsv(head) or start == len(lines):
        return Match.NO
    header, *rest = map(_cells, lines[start : start + 2])
    if start and all(map(is_number, header)):
        header, rest = _cells(lines[start - 1].lstrip("# ")), [header]
    if not rest:
        return Match.NO
    (row,) = rest
    named = len(header) > 1 and not any(map(is_number, header))
    numbers = len(row) == len(header) and all(is_number(cell) or not cell for cell in row)
    return Match.GENERIC if named and numbers and any(row) else Match.NO


def _cells(line: str) -> list[str]:
    mark = _mark(line)
    return [cell.strip() for cell in line.split(None if mark == SPACES else mark)]


def _tsv(head: Head) -> Match:
    return Match.GENERIC if head.ending in (".tsv", ".tab") else Match.NO
