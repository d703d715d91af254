"""Logs of llm.c: its file main.log, and what it prints.

``main.log`` has ``s:10 trl:3.1234 lr:0.000300 norm:0.50``, ``s:10 tel:3.2000`` (validation) and
``s:10 eval:0.3000``. Updates count from 0 and the rate is the one applied, to six decimals, which
are few at the end of a decay. train_gpt2.py writes no rate. Validation at N comes before update N.

What it prints, ``step 11/100 | loss 3.1234 (+0.10z)| norm 0.5000 (+0.10z)| lr 3.00e-04 | ...``, is
the same update counted from 1, with three digits of the rate. Its lines of validation name no step,
so they are omitted. Source: karpathy/llm.c, llmc/logger.h, train_gpt2.cu and train_gpt2.py, 2025.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from scaling_laws.data.logs.patterns import (
    NUMBER,
    TOTAL,
    LineFormat,
    ended_lines,
    match_signatures,
    omission_note,
    pairs_of,
    read_line_formats,
)
from scaling_laws.data.logs.reader import Head, LogTable, Match, Reader

__all__ = ["LLMC", "LLMC_PRINTED"]

FILED = re.compile(r"^s:(\d+)(?=\s|$)")
FILED_FIELD = re.compile(rf"\s+([a-z]\w*):({NUMBER})(?=\s|$)")
FILED_SIGNATURE = re.compile(rf"(?m)^s:\d+ (?:trl|tel):{NUMBER}")
PRINTED = re.compile(r"(?:^|\s)step\s+(\d+)/(\d+) \| (?=(?:train )?loss )")
# a z-score in brackets may follow a value
PRINTED_FIELD = re.compile(rf"\s*([a-z][a-z ]*?) ({NUMBER})(?: \([^|()]*\))?\s*\|")
PRINTED_SIGNATURE = re.compile(
    rf"(?:^|\s)step\s+\d+/\d+ \| (?:train )?loss {NUMBER}[^|\n]*\| (?:norm|lr) "
)
TIMES = re.compile(r"\s*\(?[\d.]+ ms\b[^()]*\)?\s*")
EVALUATED = frozenset({"tel", "eval"})
UNPLACED = re.compile(rf"^val loss {NUMBER}")


def detect(head: Head) -> Match:
    """By a line of training or validation of main.log."""
    return match_signatures(head, FILED_SIGNATURE)


def detect_printed(head: Head) -> Match:
    """By a printed line of training."""
    return match_signatures(head, PRINTED_SIGNATURE)


def parse(line: str, start: re.Match[str]) -> Mapping[str, float] | None:
    """A line of main.log."""
    pairs = pairs_of(line[start.end() :], FILED_FIELD)
    return None if pairs is None else {"s": float(start[1]), **pairs}


def parse_printed(line: str, start: re.Match[str]) -> Mapping[str, float] | None:
    """A printed line of training; what follows the rate are times."""
    rest = line[start.end() :]
    values = re.match(r"(?:[^|]*?\|)*?(?=\s*\(?[\d.]+ ms\b)", rest)
    if values is None or not TIMES.fullmatch(rest, values.end()):
        return None
    pairs = pairs_of(values[0], PRINTED_FIELD)
    return None if pairs is None else {"step": float(start[1]), TOTAL: float(start[2]), **pairs}


def read(path: Path) -> tuple[LogTable, ...]:
    """Read one run from main.log.

    Raises:
        DataError: if no line is complete, or the file cannot be read.
    """
    return (
        read_line_formats(
            path,
            [LineFormat(FILED, parse)],
            "s:10 trl:3.1234 lr:0.000300",
            step="s",
            before_update=EVALUATED,
        ),
    )


def read_printed(path: Path) -> tuple[LogTable, ...]:
    """Read one run from what was printed.

    Raises:
        DataError: if no line is complete, or the file cannot be read.
    """
    formats = [LineFormat(PRINTED, parse_printed)]
    table = read_line_formats(path, formats, "step 11/100 | loss 3.1234", step="step", first_step=1)
    unplaced = [number for number, line in ended_lines(path, []) if UNPLACED.match(line)]
    notes = omission_note(
        unplaced, "lines 'val loss' name no step and are omitted; main.log has them"
    )
    return (replace(table, notes=(*table.notes, *notes)),)


LLMC = Reader(
    name="llmc",
    meaning="main.log of llm.c: s:N trl:...",
    detect=detect,
    read=read,
)
LLMC_PRINTED = Reader(
    name="llmc_printed",
    meaning="text that llm.c prints: step N/M | loss ... | lr ... |",
    detect=detect_printed,
    read=read_printed,
)
