"""Shared code of the readers of text logs: line formats, key-value pairs, the resulting table."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from scaling_laws.common import DataError
from scaling_laws.data.logs.reader import Head, LogTable, Match, table_of
from scaling_laws.data.logs.text import COLOURS, has_last_end, lines_of, open_error

__all__ = [
    "BROKEN",
    "NUMBER",
    "TOTAL",
    "LineFormat",
    "PassedLines",
    "ended_lines",
    "match_signatures",
    "number_of",
    "omission_note",
    "other_pairs",
    "pairs_of",
    "read_line_formats",
    "with_planned_steps",
]

# thousands may be separated by commas; a comma that ends a field is not part of the number
NUMBER = r"[-+]?(?:\d+(?:,\d{3})*(?:\.\d*)?(?:[eE][-+]?\d+)?|(?i:nan|inf))"
TOTAL = "total"  # key of the planned steps in a parsed line
BROKEN = "\ufffd"  # replaces undecodable bytes; see `lines_of`
SHOWN = 3  # line numbers, or kinds of lines, in a note
MAX_KINDS = 1000  # kinds of lines that are told apart
KIND_LENGTH = 60  # characters of a kind that is shown
VARYING = re.compile(r"\d[\d,.]*(?:[eE][-+]?\d+)?")


@dataclass(frozen=True)
class LineFormat:
    """A format of lines of a log.

    Attributes:
        start: found in every line of this format, even if it was truncated.
        parse: the line and where `start` was found -> values by key, None if it is incomplete. The
            planned number of steps goes under `TOTAL`.
    """

    start: re.Pattern[str]
    parse: Callable[[str, re.Match[str]], Mapping[str, float] | None]


def match_signatures(head: Head, *patterns: re.Pattern[str]) -> Match:
    """`Match.SPECIFIC` if the head of a file matches one of some patterns; colours are removed."""
    text = COLOURS.sub("", head.text) if "\x1b" in head.text else head.text
    matched = any(pattern.search(text) for pattern in patterns)
    return Match.SPECIFIC if matched else Match.NO


def number_of(text: str) -> float:
    """A number as logs print it, with commas between thousands or without."""
    return float(text.replace(",", ""))


def pairs_of(text: str, field: re.Pattern[str]) -> dict[str, float] | None:
    """Every ``key: number`` of a text that contains nothing else.

    Args:
        text: the rest of a line.
        field: one pair with its separator from the next; its groups are the key and the number.

    Returns:
        Numbers by key; None if there is other text, a repeated key, or no pair.
    """
    pairs: dict[str, float] = {}
    index = 0
    while match := field.match(text, index):
        if match[1] in pairs:
            return None
        pairs[match[1]] = number_of(match[2])
        index = match.end()
    return pairs if pairs and not text[index:].strip() else None


# a name of several words begins a field; a unit may follow the number, but nothing else
OTHER = re.compile(
    rf"(?:(?:^|(?<=[|,;(\[{{]))\s*[\"']?([a-z][\w./%-]*(?: [\w./%()-]+){{0,3}}?)"
    rf"|(?<![\w./-])([a-z][\w./%-]*))[\"']?\s*[:=]\s*[\"']?({NUMBER})"
    r"(?: ?(?!x)[a-z%]{1,6}(?:/[a-z]{1,6})?)?(?![\w.:/-])"
)


def other_pairs(text: str) -> dict[str, float]:
    """Every ``name: number`` and ``name=number`` of a text in lower case, among other text.

    A name that is given twice with different numbers is omitted.

    >>> other_pairs("step 5 | validation bpb: 2.9 | dt: 512.33ms | at: 10:20:30 | tok/sec: 1,023")
    {'validation bpb': 2.9, 'dt': 512.33, 'tok/sec': 1023.0}
    """
    pairs: dict[str, float] = {}
    differing: set[str] = set()
    for match in OTHER.finditer(text):
        name, number = match[1] or match[2], number_of(match[3])
        if pairs.setdefault(name, number) != number:
            differing.add(name)
    return {name: number for name, number in pairs.items() if name not in differing}


def ended_lines(path: Path, notes: list[str]) -> Iterator[tuple[int, str]]:
    """Lines with their numbers, as `lines_of` gives them, without a last one that has no end.

    Such a line may be truncated within a number without any sign of it.

    Args:
        path: the file.
        notes: receives notes for the report.

    Raises:
        DataError: if the file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            ended = has_last_end(stream)
    except (OSError, ValueError) as error:
        raise open_error(path, error) from None
    lines = lines_of(path)
    if ended:
        yield from lines
        return
    before = next(lines, None)
    for line in lines:
        if before is not None:
            yield before
        before = line
    if before is not None and before[1].strip():
        notes.append(f"line {before[0]}, the last, has no line end and may be truncated; omitted")


def omission_note(
    broken: Sequence[int], what: str = "lines are incomplete and omitted"
) -> list[str]:
    """A note on lines that were not used; empty if there are none."""
    if not broken:
        return []
    shown = ", ".join(map(str, broken[:SHOWN])) + (", ..." if len(broken) > SHOWN else "")
    return [f"{len(broken)} {what}: {shown}"]


class PassedLines:
    """Lines that contain no numbers of training, counted by kind: their text without numbers."""

    def __init__(self) -> None:
        self.count = 0
        self.kinds: dict[str, int] = {}

    def add(self, line: str) -> None:
        """Count a line that is not blank."""
        text = line.strip()
        if not text:
            return
        self.count += 1
        kind = VARYING.sub("N", text[: 2 * KIND_LENGTH])[:KIND_LENGTH]
        if kind in self.kinds or len(self.kinds) < MAX_KINDS:
            self.kinds[kind] = self.kinds.get(kind, 0) + 1

    def notes(self) -> list[str]:
        """One note with the most frequent kinds; empty if no line was passed over."""
        if not self.count:
            return []
        # the sort is stable: of equally frequent kinds, those with numbers that come up first
        ordered = sorted(self.kinds, key=lambda kind: (-self.kinds[kind], "N" not in kind))
        shown = ", ".join(f"{self.kinds[kind]} like {kind!r}" for kind in ordered[:SHOWN])
        more = ", ..." if len(ordered) > SHOWN else ""
        return [f"{self.count} other lines are passed over: {shown}{more}"]


def read_line_formats(
    path: Path, formats: Sequence[LineFormat], example: str, **hints: Any
) -> LogTable:
    """The table of a log each of whose lines of interest is complete in itself.

    A line that starts like one of the formats but is incomplete, because it was truncated or
    another process wrote into it, is omitted and reported; other lines are counted by kind.

    Args:
        path: the file.
        formats: of lines; the first whose start is found is used for a line.
        example: a line, for the message if none is found.
        hints: further fields of `LogTable`.

    Raises:
        DataError: if no line is complete, or the file cannot be read.
    """
    lines: list[int] = []
    broken: list[int] = []
    notes: list[str] = []
    passed = PassedLines()

    def records() -> Iterator[Mapping[str, float]]:
        for number, line in ended_lines(path, notes):
            for line_format in formats:
                start = line_format.start.search(line)
                if start is None:
                    continue
                values = None if BROKEN in line else line_format.parse(line, start)
                if values is None:
                    broken.append(number)
                else:
                    lines.append(number)
                    yield values
                break
            else:
                passed.add(line)

    table = table_of(path.stem, str(path), records(), lines=lines, unit="line", **hints)
    notes += omission_note(broken) + passed.notes()
    return with_planned_steps(path, table, notes, example)


def with_planned_steps(path: Path, table: LogTable, notes: Sequence[str], example: str) -> LogTable:
    """A table with notes, and the number of planned steps instead of their column.

    Raises:
        DataError: if the table is empty.
    """
    if not table.lines.size:
        details = f" ({'; '.join(notes)})" if notes else ""
        raise DataError(
            f"{path}: no complete line of training was found, such as {example!r}{details}",
            path=path,
        )
    columns = dict(table.columns)
    plan = columns.pop(TOTAL, None)
    if plan is None:
        return replace(table, notes=(*table.notes, *notes))
    planned = [int(steps) for steps in np.unique(plan.values)]
    if len(planned) > 1:
        notes = [*notes, f"planned steps change within the file: {planned}"]
    return replace(table, columns=columns, total_steps=planned[-1], notes=(*table.notes, *notes))
