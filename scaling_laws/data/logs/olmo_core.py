"""Text that OLMo-core's console logger prints.

A line ``[step=10/1000,epoch=1]`` begins a block, and indented lines ``train/CE loss=9.125`` follow.
Steps count updates done, from 1, and ``optim/LR (group 0)`` is the rate applied. It is printed with
four decimals down to 0.0001 and in full below; too few digits to recognise a schedule by.
Source: allenai/OLMo-core, train/callbacks/console_logger.py, 2026-06.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from scaling_laws.data.logs.patterns import (
    BROKEN,
    NUMBER,
    TOTAL,
    PassedLines,
    ended_lines,
    match_signatures,
    number_of,
    omission_note,
    with_planned_steps,
)
from scaling_laws.data.logs.reader import Head, LogTable, Match, Reader, table_of

__all__ = ["OLMO_CORE"]

BEGUN = re.compile(r"(?:^|\s)\[step=\d+/\d+,")
MARK = re.compile(r"(?:^|\s)\[step=(\d+)/(\d+),epoch=[^\]\n]*\]\s*(?:\S+\.py:\d+)?\s*$")
VALUE = re.compile(rf"\s+([A-Za-z][\w /().,*@-]*)=({NUMBER})\s*(?:\S+\.py:\d+)?\s*$")
MEANT = re.compile(r"\s+[A-Za-z][\w /().,*@-]*=")
SIGNATURES = re.compile(r"(?:^|\s)\[step=\d+/\d+,epoch=\d+")
ROUNDED = (
    "the learning rate is printed with four decimals from 0.0001 up: those rates are rounded by up "
    "to 5e-05"
)
FINE = 1e-4


def detect(head: Head) -> Match:
    """By the beginning of a block."""
    return match_signatures(head, SIGNATURES)


def read(path: Path) -> tuple[LogTable, ...]:
    """Read one run.

    Raises:
        DataError: if no block is complete, or the file cannot be read.
    """
    lines: list[int] = []
    broken: list[int] = []
    notes: list[str] = []
    passed = PassedLines()
    blocks = _blocks(path, lines, broken, notes, passed)
    table = table_of(
        path.stem, str(path), blocks, lines=lines, unit="line", step="step", first_step=1
    )
    notes += omission_note(broken) + passed.notes()
    rates = [column for key, column in table.columns.items() if key.startswith("optim/LR")]
    if any((column.values >= FINE).any() for column in rates):
        notes.append(ROUNDED)
    return (with_planned_steps(path, table, notes, "[step=10/1000,epoch=1]"),)


def _blocks(
    path: Path, lines: list[int], broken: list[int], notes: list[str], passed: PassedLines
) -> Iterator[Mapping[str, float]]:
    """Values of each block that has any, and its line."""
    block: dict[str, float] = {}
    begun = 0
    for number, line in ended_lines(path, notes):
        mark = MARK.search(line) if BROKEN not in line else None
        value = VALUE.match(line) if begun and mark is None and BROKEN not in line else None
        if value is not None:
            block[value[1]] = number_of(value[2])
            continue
        if mark is None and (BEGUN.search(line) or (begun and MEANT.match(line))):
            broken.append(number)
            if not BEGUN.search(line):
                continue  # the values after it are still this block's
        elif mark is None:
            passed.add(line)
        if len(block) > 2:
            lines.append(begun)
            yield block
        begun = number if mark is not None else 0
        block = {} if mark is None else {"step": float(mark[1]), TOTAL: float(mark[2])}
    if len(block) > 2:
        lines.append(begun)
        yield block


OLMO_CORE = Reader(
    name="olmo_core",
    meaning="text that OLMo-core prints: [step=N/M,epoch=...] and lines key=value",
    detect=detect,
    read=read,
)
