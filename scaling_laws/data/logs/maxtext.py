"""Text that MaxText prints.

``completed step: 10, seconds: 0.500, ..., loss: 9.750`` is update 10, counted from 0. Losses have
three decimals and most versions print no learning rate; ``eval metrics after step: 10, loss=9.500``
is held out. Source: AI-Hypercomputer/maxtext, metric_logger.py, 2025.
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

__all__ = ["MAXTEXT"]

HELD_OUT = "eval/loss"
START = re.compile(
    r"(?:^|\s)(?:completed step: (\d+), (?=seconds: )|eval metrics after step: (\d+), )"
)
FIELD = re.compile(rf"([A-Za-z][\w/ ]*)(?:: |=)({NUMBER})%?(?:, |\s*$)")
SIGNATURES = re.compile(rf"(?:^|\s)completed step: \d+, seconds: {NUMBER}, TFLOP/s")


def detect(head: Head) -> Match:
    """By a line of training."""
    return match_signatures(head, SIGNATURES)


def parse(line: str, start: re.Match[str]) -> Mapping[str, float] | None:
    """A line of training or evaluation; of the latter only the loss is the model's."""
    pairs = pairs_of(line[start.end() :], FIELD)
    if pairs is None:
        return None
    if start[2]:
        return {"step": float(start[2]), HELD_OUT: pairs["loss"]} if "loss" in pairs else None
    return {"step": float(start[1]), **pairs}


def read(path: Path) -> tuple[LogTable, ...]:
    """Read one run.

    Raises:
        DataError: if no line is complete, or the file cannot be read.
    """
    example = "completed step: 10, seconds: 0.500, TFLOP/s/device: 200.000, loss: 9.750"
    return (read_line_formats(path, [LineFormat(START, parse)], example, step="step"),)


MAXTEXT = Reader(
    name="maxtext",
    meaning="text that MaxText prints: completed step: N, seconds: ..., loss: ...",
    detect=detect,
    read=read,
)
