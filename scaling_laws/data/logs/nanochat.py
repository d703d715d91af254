"""Text that nanochat's base_train.py prints.

``step 00010/01000 (1.00%) | loss: 9.500000 | lrm: 1.00 | dt: 512.33ms | tok/sec: 1,023 | ...``
is update 10, counted from 0. Its loss is a moving average of the training loss, and ``lrm`` is the
multiplier of the learning rates, to two decimals; the rates themselves are not printed.
``Step 00250 | Validation bpb: 1.064170`` is measured before that update. Source: karpathy/nanochat,
scripts/base_train.py, 2026.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from scaling_laws.data.logs.patterns import (
    NUMBER,
    TOTAL,
    LineFormat,
    match_signatures,
    other_pairs,
    read_line_formats,
)
from scaling_laws.data.logs.reader import Head, LogTable, Match, Reader

__all__ = ["NANOCHAT"]

START = re.compile(r"^[Ss]tep (\d+)(?:/(\d+))?(?: \([\d.]+%\))? \| ")
SIGNATURE = re.compile(rf"(?m)^step \d+/\d+ \([\d.]+%\) \| loss: {NUMBER} \| lrm: {NUMBER} \|")
TRAINED = frozenset({"loss", "lrm", "dt"})  # at the start of a training line
EVALUATED = frozenset({"validation bpb", "core metric"})


def detect(head: Head) -> Match:
    """By a training line."""
    return match_signatures(head, SIGNATURE)


def parse(line: str, start: re.Match[str]) -> Mapping[str, float] | None:
    """A line of training or validation: fields ``name: number`` between bars."""
    pairs = other_pairs(line[start.end() :].lower())
    total = {} if start[2] is None else {TOTAL: float(start[2])}
    if not pairs or (total and not pairs.keys() >= TRAINED):
        return None
    return {"step": float(start[1]), **total, **pairs}


def read(path: Path) -> tuple[LogTable, ...]:
    """Read one run.

    Raises:
        DataError: if no line is complete, or the file cannot be read.
    """
    return (
        read_line_formats(
            path,
            [LineFormat(START, parse)],
            "step 00010/01000 (1.00%) | loss: 9.500000 | lrm: 1.00",
            step="step",
            before_update=EVALUATED,
        ),
    )


NANOCHAT = Reader(
    name="nanochat",
    meaning="text that nanochat prints: step N/M (P%) | loss: ... | lrm: ...",
    detect=detect,
    read=read,
)
