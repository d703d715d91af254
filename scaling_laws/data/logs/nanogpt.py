"""Text that nanoGPT's train.py prints.

``iter 10: loss 3.1234, time 25.10ms, mfu 30.00%`` is the loss of update 10, counted from 0, over
its last micro-batch alone. ``step 10: train loss 3.1000, val loss 3.2000`` is measured before that
update, so the one at N = max_iters includes all updates before it. Neither contains the learning
rate. What a fork adds in the same manner, such as ``lr 3e-4``, is read too. Source:
karpathy/nanoGPT, train.py, 2025-11.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from scaling_laws.data.logs.patterns import (
    NUMBER,
    LineFormat,
    match_signatures,
    pairs_of,
    read_line_formats,
)
from scaling_laws.data.logs.reader import Head, LogTable, Match, Reader

__all__ = ["NANOGPT"]

STEP = "iter"
EVALUATED = frozenset({"train loss", "val loss"})
BEGIN = r"(?:^|\s)(?:iter (\d+): (?=loss )|step (\d+): (?=train loss ))"
START = re.compile(BEGIN)
FIELD = re.compile(rf"([A-Za-z][\w ]*?) ({NUMBER})(?:ms|s|%)?(?:, |\s*$)")
SIGNATURES = re.compile(
    rf"(?:^|\s)(?:iter \d+: loss {NUMBER}, time {NUMBER}"
    rf"|step \d+: train loss {NUMBER}, val loss {NUMBER})"
)


def detect(head: Head) -> Match:
    """By a line of training or of evaluation."""
    return match_signatures(head, SIGNATURES)


def parse(line: str, start: re.Match[str]) -> Mapping[str, float] | None:
    """A line of either kind; they part their values in the same way."""
    pairs = pairs_of(line[start.end() :], FIELD)
    return None if pairs is None else {STEP: float(start[1] or start[2]), **pairs}


def read(path: Path) -> tuple[LogTable, ...]:
    """Read one run.

    Raises:
        DataError: if no line is complete, or the file cannot be read.
    """
    example = "iter 10: loss 3.1234, time 25.10ms, mfu 30.00%"
    return (
        read_line_formats(
            path, [LineFormat(START, parse)], example, step=STEP, before_update=EVALUATED
        ),
    )


NANOGPT = Reader(
    name="nanogpt",
    meaning="text that nanoGPT prints: iter N: loss ..., time ...",
    detect=detect,
    read=read,
)
