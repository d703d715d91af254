"""Text that NeMo prints: lines of its logger (NeMo 2) and progress bars (NeMo 1).

``Training epoch 0, iteration 5/9 | lr: 0.0006 | ... | global_step: 5 | reduced_train_loss: 7.918``
and ``Epoch 0: 5%| | 6/100 [..., reduced_train_loss=7.920, global_step=5.000, ...]``. `global_step`
counts the updates before this one, from 0. A bar shortens large numbers: ``1.2e+4`` is not a step,
so such a line has none. ``val_loss`` is in every line until the next validation, so it counts only
where it changes. Source: lines shown in NVIDIA NeMo's pull request 10128 and its documentation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from scaling_laws.data.logs.patterns import (
    NUMBER,
    LineFormat,
    match_signatures,
    number_of,
    pairs_of,
    read_line_formats,
)
from scaling_laws.data.logs.reader import Column, Head, LogTable, Match, Reader

__all__ = ["NEMO"]

STEP = "global_step"
LOSS = "reduced_train_loss"
HELD_OUT = "val_loss"
LINE = re.compile(r"(?:^|\s)Training epoch \d+, iteration \d+/\d+ \| ")
LINE_SIGNATURE = re.compile(rf"{LINE.pattern}[^\n]{{0,3000}}?{LOSS}: ")
LINE_FIELD = re.compile(rf"([A-Za-z][\w /().]*): ({NUMBER})(?: \| |\s*$)")
# bounded, so that a line of many brackets is not searched again and again
BAR = re.compile(rf"(?:^|\s)Epoch \d+: [^\[\n]{{0,300}}\[(?=[^\]\n]{{0,3000}}?{LOSS}=)")
BAR_FIELD = re.compile(rf"([A-Za-z][\w /().]*)=({NUMBER})")


def detect(head: Head) -> Match:
    """By a line or a bar with a loss."""
    return match_signatures(head, LINE_SIGNATURE, BAR)


def parse_line(line: str, start: re.Match[str]) -> Mapping[str, float] | None:
    """A line of NeMo 2's logger."""
    pairs = pairs_of(line[start.end() :], LINE_FIELD)
    return pairs if pairs is not None and STEP in pairs else None


def parse_bar(line: str, start: re.Match[str]) -> Mapping[str, float] | None:
    """A progress bar; a step that it shortened is omitted."""
    inside, end, _ = line[start.end() :].partition("]")
    texts = {}
    for item in inside.split(", "):
        field = BAR_FIELD.fullmatch(item)  # words and times are among the numbers
        if field is not None:
            texts[field[1]] = field[2]
    if not end or STEP not in texts or LOSS not in texts:
        return None
    if "e" in texts[STEP]:
        del texts[STEP]
    return {name: number_of(text) for name, text in texts.items()}


def read(path: Path) -> tuple[LogTable, ...]:
    """Read one run.

    Raises:
        DataError: if no line is complete, or the file cannot be read.
    """
    example = "Training epoch 0, iteration 5/9 | ... | global_step: 5 | reduced_train_loss: 7.918"
    formats = [LineFormat(LINE, parse_line), LineFormat(BAR, parse_bar)]
    table = read_line_formats(path, formats, example, step=STEP)
    notes = list(table.notes)
    columns = dict(table.columns)
    steps = columns[STEP].rows.size if STEP in columns else 0
    if steps < table.lines.size:
        notes.append(
            f"{table.lines.size - steps} progress bars show a shortened step, such as 1.2e+4, and "
            "are omitted; the run's TensorBoard or wandb log has every digit"
        )
    stale = columns.get(HELD_OUT)
    if stale is not None and stale.values.size:
        new = np.append(True, np.diff(stale.values) != 0)
        columns[HELD_OUT] = Column(stale.rows[new], stale.values[new], stale.parse_error)
        notes.append(f"{HELD_OUT} is repeated in every line; it counts where it changes")
    return (replace(table, columns=columns, notes=tuple(notes)),)


NEMO = Reader(
    name="nemo",
    meaning="text that NeMo prints: Training epoch ... | reduced_train_loss: ..., or its bars",
    detect=detect,
    read=read,
)
