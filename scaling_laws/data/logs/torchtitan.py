"""Text that torchtitan prints.

``step: 10  loss:  7.25000  grad_norm:  1.5000  memory: ...  tps: ...`` counts updates done, from 1;
``validate step: 10  loss: ...`` is measured after them. No line contains the learning rate. Older
versions average the loss since the line before and newer ones do not, which the text does not show:
`--window` states it. Each rank may print the same line. Source: pytorch/torchtitan,
torchtitan/components/metrics.py, 2026-08.
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

__all__ = ["TORCHTITAN"]

VALIDATION = "validation_metrics/loss"  # as torchtitan's trackers call it
START = re.compile(r"(?:^|\s)(validate )?step:\s*(\d+)\s+(?=loss:)")
# a value may have a unit and a share in brackets: 66.91GiB(37.51%)
FIELD = re.compile(rf"\s*([A-Za-z]\w*):\s*({NUMBER})(?:[A-Za-z%][^\s,]*)?(?=\s|$)")
SIGNATURES = re.compile(rf"(?:^|\s)step:\s*\d+\s+loss:\s*{NUMBER}\s+(?:grad_norm|memory):")


def detect(head: Head) -> Match:
    """By a line of training."""
    return match_signatures(head, SIGNATURES)


def parse(line: str, start: re.Match[str]) -> Mapping[str, float] | None:
    """A line of training or validation; of the latter only the loss is the model's."""
    pairs = pairs_of(line[start.end() :], FIELD)
    if pairs is None:
        return None
    if start[1]:
        return {"step": float(start[2]), VALIDATION: pairs["loss"]}
    return {"step": float(start[2]), **pairs}


def read(path: Path) -> tuple[LogTable, ...]:
    """Read one run.

    Raises:
        DataError: if no line is complete, or the file cannot be read.
    """
    example = "step: 10  loss:  7.25000  grad_norm:  1.5000"
    return (
        read_line_formats(path, [LineFormat(START, parse)], example, step="step", first_step=1),
    )


TORCHTITAN = Reader(
    name="torchtitan",
    meaning="text that torchtitan prints: step: N  loss: ...  grad_norm: ...",
    detect=detect,
    read=read,
)
