"""Logs of modded-nanogpt: logs/*.txt, which begin with the program's own source.

``step:125/1750 val_loss:4.5000 train_time:9000ms step_avg:72.00ms`` counts updates done. So does
``step:126/1750 train_loss:4.6000 ...`` of older versions: its loss is that of the 126th update. No
line contains the learning rate, and the batch size may change in stages: see the source on top.
Forks add fields, ``tokens_seen:5.00e+05 vram:16.3/23.5GB handoff:none``: numbers are read, with or
without a unit, and what is not a number is ignored.
Source: KellerJordan/modded-nanogpt, train_gpt.py, 2026-08.
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
    number_of,
    read_line_formats,
)
from scaling_laws.data.logs.reader import Head, LogTable, Match, Reader

__all__ = ["MODDED_NANOGPT"]

START = re.compile(r"(?:^|\s)step:(\d+)/(\d+)(?=\s)")
FIELD = re.compile(r"([A-Za-z][\w/.-]*):([^\s:]+)")
VALUE = re.compile(rf"({NUMBER})[A-Za-z%]*")
SIGNATURES = re.compile(rf"(?:^|\s)step:\d+/\d+ (?:[a-z]\w*:\S+ )*?(?:val|train)_loss:{NUMBER}\s")


def detect(head: Head) -> Match:
    """By a line with a loss."""
    return match_signatures(head, SIGNATURES)


def parse(line: str, start: re.Match[str]) -> Mapping[str, float] | None:
    """A line of training or validation: fields ``name:value`` and nothing else."""
    pairs: dict[str, float] = {"step": float(start[1]), TOTAL: float(start[2])}
    for field in line[start.end() :].split():
        match = FIELD.fullmatch(field)
        if match is None or match[1] in pairs:
            return None
        value = VALUE.fullmatch(match[2])
        if value is not None:
            pairs[match[1]] = number_of(value[1])
        elif match[1].endswith("loss"):
            return None
    return pairs if len(pairs) > 2 else None


def read(path: Path) -> tuple[LogTable, ...]:
    """Read one run.

    Raises:
        DataError: if no line is complete, or the file cannot be read.
    """
    example = "step:125/1750 val_loss:4.5000 train_time:9000ms"
    return (
        read_line_formats(path, [LineFormat(START, parse)], example, step="step", first_step=1),
    )


MODDED_NANOGPT = Reader(
    name="modded_nanogpt",
    meaning="logs of modded-nanogpt: step:N/M val_loss:... train_time:...",
    detect=detect,
    read=read,
)
