"""Text that Megatron-LM prints, one line per `--log-interval` iterations.

``iteration 100/ 5000 | consumed samples: 25600 | ... | learning rate: 3.000000E-04 | ... |`` counts
completed updates, so the first is 1. Its losses are means over the successful iterations since the
previous line. Its learning rate is read after the scheduler has stepped: it is that of the next
update. Validation losses have lines of their own. Restarts write into the same file and repeat
iterations. Source: `training_log` in megatron/training/training.py, 2026-08.

GPT-NeoX prints the same with other words: `` samples/sec: 31.001 | iteration 10/ 1000 | ... |
approx flops per GPU: 60.2TFLOPS | lm_loss: 9.738699E+00 | ...`` and ``validation results at
iteration 100 | lm_loss value: ... |``. Source: `training_log` in megatron/logging.py, 2025.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import DataError
from scaling_laws.data.logs.patterns import PassedLines, omission_note
from scaling_laws.data.logs.reader import Column, Head, LogTable, Match, Reader
from scaling_laws.data.logs.text import lines_of

__all__ = ["MEGATRON"]

Array = NDArray[Any]

START = re.compile(r"(?:^|\s)iteration\s+(\d+)\s*/\s*(\d+)\s*\|")
NUMBER = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|(?i:nan|inf))"
KEY = r"[A-Za-z][\w ().,/%^-]*?"
# a unit may follow, as in 60.2TFLOPS
PAIR = re.compile(rf"\s*({KEY})\s*:\s*({NUMBER})(?:[A-Z]\w*)?\s*(?:\|)")
EVALUATION = re.compile(r"validation (?:loss|results?) at")
VALIDATION = re.compile(
    r"validation (?:loss|results?) at (?:the end of training for )?(?:iteration )?(\d+)[^|]*\|(.*)"
)
VALUE = re.compile(rf"({KEY}) value\s*:\s*({NUMBER})\s*\|")
BATCH = 20_000
STEP = "iteration"
SAMPLES = "consumed samples"


def detect(head: Head) -> Match:
    """By a line of training, or the banner before one."""
    for line in head.text.splitlines():
        if START.search(line) and any(word in line for word in ("lm loss", "lm_loss", SAMPLES)):
            return Match.SPECIFIC
    return Match.NO


def read(path: Path) -> tuple[LogTable, ...]:
    """Read one run.

    An incomplete line, because it was truncated or another process wrote into it, is omitted
    and reported.

    Raises:
        DataError: if no training line is complete, or the file cannot be read.
    """
    rows = _Rows()
    planned: set[int] = set()
    broken: list[int] = []
    template: re.Pattern[str] | None = None
    names: tuple[str, ...] = ()
    passed = PassedLines()
    for number, line in lines_of(path):
        if "iteration" not in line:
            passed.add(line)
            continue
        fast = template.search(line) if template is not None else None
        if fast is not None:
            total, *values = fast.groups()
            rows.add(number, names, values)
            planned.add(int(total))
            continue
        start = START.search(line)
        if start is None:
            if EVALUATION.search(line) is None:
                passed.add(line)
            elif not _validation(line, number, rows):
                broken.append(number)
            continue
        pairs = _pairs(line[start.end() :])
        if pairs is None:
            broken.append(number)
            continue
        names = (STEP, *(name for name, _ in pairs))
        rows.add(number, names, [start[1], *(value for _, value in pairs)])
        planned.add(int(start[2]))
        template = _template(names)
    if not rows.lines:
        raise DataError(
            f"{path}: no complete line of training was found (iteration N/ M | ... |)", path=path
        )
    return (_table(path, rows, planned, broken, passed),)


class _Rows:
    """Rows as they are read; converted in batches, since text needs ten times the memory."""

    def __init__(self) -> None:
        self.lines: list[int] = []
        self.pieces: dict[str, list[tuple[Array, Array]]] = {}
        self.names: tuple[str, ...] = ()
        self.batch: list[Sequence[str]] = []

    def add(self, line: int, names: tuple[str, ...], values: Sequence[str]) -> None:
        if names != self.names or len(self.batch) == BATCH:
            self.flush()
            self.names = names
        self.lines.append(line)
        self.batch.append(values)

    def flush(self) -> None:
        if self.batch:
            numbers = np.array(self.batch).astype(np.float64)
            rows = np.arange(len(self.lines) - len(self.batch), len(self.lines))
            for index, name in enumerate(self.names):
                self.pieces.setdefault(name, []).append((rows, numbers[:, index]))
            self.batch = []

    def columns(self) -> dict[str, Column]:
        self.flush()
        return {
            name: Column(
                np.concatenate([rows for rows, _ in pieces]),
                np.concatenate([values for _, values in pieces]),
            )
            for name, pieces in self.pieces.items()
        }


def _template(names: tuple[str, ...]) -> re.Pattern[str]:
    """A complete line with these keys: several times as fast as parsing its pairs."""
    body = "".join(
        rf"\s*{re.escape(name)}\s*:\s*({NUMBER})(?:[A-Z]\w*)?\s*\|" for name in names[1:]
    )
    # the planned steps come first, so that the other groups are in the order of `names`
    ahead = r"(?:^|\s)iteration\s+(?=\d+\s*/\s*(\d+)\s*\|)"
    return re.compile(rf"{ahead}(\d+)\s*/\s*\d+\s*\|{body}\s*$")


def _pairs(rest: str) -> list[tuple[str, str]] | None:
    """Every ``key: number |`` of a line after its start; None if it is incomplete."""
    pairs, index = [], 0
    while match := PAIR.match(rest, index):
        pairs.append((match[1], match[2]))
        index = match.end()
    names = {name for name, _ in pairs}
    whole = pairs and not rest[index:].strip() and len(names) == len(pairs)
    return pairs if whole else None


def _validation(line: str, number: int, rows: _Rows) -> bool:
    """Add the losses of a validation line, if it is complete."""
    match = VALIDATION.search(line)
    pairs = VALUE.findall(match[2]) if match is not None else []
    if match is None or not pairs or not line.rstrip().endswith("|"):
        return False
    names = (STEP, *(f"{name} validation" for name, _ in pairs))
    if len(set(names)) < len(names):
        return False
    rows.add(number, names, [match[1], *(value for _, value in pairs)])
    return True


def _table(
    path: Path, rows: _Rows, planned: set[int], broken: list[int], passed: PassedLines
) -> LogTable:
    notes = omission_note(broken, "training lines are incomplete and omitted")
    if len(planned) > 1:
        notes.append(f"planned iterations change within the file: {sorted(planned)}")
    notes += passed.notes()
    columns = rows.columns()
    averaged = {name for name in columns if name.endswith("loss")}
    return LogTable(
        path.stem,
        str(path),
        columns,
        np.array(rows.lines),
        "line",
        step=STEP,
        first_step=1,
        lr_offset=1,
        averaged=frozenset(averaged),
        total_steps=max(planned),
        notes=tuple(notes),
    )


MEGATRON = Reader(
    name="megatron",
    meaning="text that Megatron-LM prints: iteration N/ M | ... | lm loss: ... |",
    detect=detect,
    read=read,
)
