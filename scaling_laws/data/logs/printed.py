"""Lines printed by custom trainers: pairs such as ``step=10 | loss: 3.2 | lr 3e-4``.

A line counts if it has a known name of the step with a number, and any other number with a name.
Known names (`keys.py`) may be separated from their numbers by spaces; all other names need ``=`` or
``:``. A word before ``loss`` belongs to its name, so that ``aux loss 0.01`` is not taken for the
loss, and a line with ``val`` or ``eval`` by itself, ``[val] step 10 loss 3.3``, means ``val/loss``.
``step 10/500`` gives the planned steps too. A progress bar, ``| 10/500 [00:01<00:50, loss=3.2]``,
has the step in its count of completed updates. Formats of known trainers have readers of their own,
which come first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from scaling_laws.data.logs.jsonl import detect as detect_jsonl
from scaling_laws.data.logs.keys import LOSSES, RATES, ROLES, STEPS
from scaling_laws.data.logs.patterns import (
    BROKEN,
    NUMBER,
    TOTAL,
    PassedLines,
    ended_lines,
    number_of,
    omission_note,
    other_pairs,
    with_planned_steps,
)
from scaling_laws.data.logs.reader import Head, LogTable, Match, Reader, table_of
from scaling_laws.data.logs.splits import split_key, split_label
from scaling_laws.data.logs.text import COLOURS

__all__ = ["PRINTED"]

MAX_LINES = 2_000  # lines
MAX_LINE_LENGTH = 20_000  # characters of a line that is examined
# `-` and `_` between the words of a name are as good as a space
NAMES = "|".join(
    re.sub(r"(\\?[-_ ])+", "[-_ ]", re.escape(name))
    for name in sorted({name.lower() for names in ROLES.values() for name in names}, key=len)[::-1]
)
PAIR = re.compile(
    rf"(?<![\w/.-])(?=[a-z_])({NAMES})[\"']?(?:\s*[=:]\s*|\s+)[\"']?({NUMBER})(?![\w.%])(?:\s*/\s*(\d[\d,]*))?"
)
# an ordinary word right before a name of a loss is part of it
QUALIFIER = re.compile(r"([a-z]\w*)[ _-]$")
# a separate word labels the losses of the line
LABEL = re.compile(r"(?<![\w/.-])(train|val(?:id(?:ation)?)?|eval(?:uation)?)(?![\w/.-])")
BAR = re.compile(r"\|\s*(\d+)/(\d+)\s*\[")
STEP_NAMES = frozenset(re.sub(r"[-_ ]+", " ", name.lower()) for name in STEPS)
LOSS_NAMES = frozenset(re.sub(r"[-_ ]+", " ", name.lower()) for name in LOSSES)
RATE_NAMES = frozenset(re.sub(r"[-_ ]+", " ", name.lower()) for name in RATES)
BARS = (
    "steps are the counts of a progress bar, which count completed updates: compare --first-step 1"
)
EXAMPLE = "step=10 loss=3.2 lr=3e-4"
AMBIGUOUS = "lines give a name twice with different numbers and are omitted"


@cache
def _plain(name: str) -> str:
    return re.sub(r"[-_ ]+", " ", name.lower())


def _pairs(line: str) -> tuple[dict[str, float], bool] | None:
    """Numbers by name, and whether the step is of a progress bar.

    None if it is not a training line; no numbers if it gives a name twice with different numbers.
    """
    if len(line) > MAX_LINE_LENGTH:
        return None
    numbers: dict[str, float] = {}
    step = value = barred = False
    # far faster than to ignore case in the pattern; no letter of a name changes its length
    lowered, rest, index = line.lower(), "", 0
    for match in PAIR.finditer(lowered):
        rest += lowered[index : match.start()] + " "
        index = match.end()
        name, plain = match[1], _plain(match[1])
        number = number_of(match[2])
        if plain in STEP_NAMES:
            step = True
            if match[3] is not None:
                numbers[TOTAL] = number_of(match[3])
        elif plain in LOSS_NAMES:
            before = QUALIFIER.search(line[: match.start()])
            name = f"{before[1]} {name}" if before else name
            value = True
        elif plain in RATE_NAMES:
            value = True
        if numbers.setdefault(name, number) != number:
            return {}, False
    rest += lowered[index:]
    others = {name: number for name, number in other_pairs(rest).items() if name not in numbers}
    numbers |= others
    labels = {split_label(word) for word in LABEL.findall(rest)}
    if len(labels) == 1 and value:
        label = str(labels.pop())
        numbers = {key if key == TOTAL else split_key(label, key): numbers[key] for key in numbers}
    bar = BAR.search(line) if value and not step else None
    if bar is not None:
        numbers |= {"step": float(bar[1]), TOTAL: float(bar[2])}
        step = barred = True
    return (numbers, barred) if step and (value or others) else None


def detect(head: Head) -> Match:
    """By a line with a step and a loss, if the file is neither a table nor JSON."""
    tables = (".csv", ".tsv", ".tab", ".json")
    if head.ending in tables or detect_jsonl(head):
        return Match.NO
    text = COLOURS.sub("", head.text).replace("\r", "\n")
    lines = text.split("\n")[:MAX_LINES]
    return Match.GENERIC if any(map(_has_value, lines)) else Match.NO


def _has_value(line: str) -> bool:
    """Whether a line contains a step and a loss or a learning rate."""
    pairs = _pairs(line)
    return pairs is not None and any(_is_value(name) for name in pairs[0])


def _is_value(name: str) -> bool:
    plain = _plain(name)
    return plain in RATE_NAMES or plain.endswith("loss") or plain in LOSS_NAMES


def read(path: Path) -> tuple[LogTable, ...]:
    """Read one run.

    Raises:
        DataError: if no line contains a step and a loss, or the file cannot be read.
    """
    lines: list[int] = []
    notes: list[str] = []
    twice: list[int] = []
    passed = PassedLines()
    bars = False

    def records() -> Iterator[Mapping[str, float]]:
        nonlocal bars
        last: Mapping[str, float] = {}
        for number, line in ended_lines(path, notes):
            pairs = None if BROKEN in line else _pairs(line)
            if pairs is None:
                passed.add(line)
                continue
            numbers, barred = pairs
            if not numbers:
                twice.append(number)
            elif numbers != last:  # a bar is drawn again where nothing has changed
                bars |= barred
                last = numbers
                lines.append(number)
                yield numbers

    table = table_of(path.stem, str(path), records(), lines=lines, unit="line")
    if bars:
        notes.append(BARS)
    notes += omission_note(twice, AMBIGUOUS) + passed.notes()
    return (with_planned_steps(path, table, notes, EXAMPLE),)


PRINTED = Reader(
    name="printed",
    meaning="lines of a custom trainer with pairs such as step=10 loss=3.2 lr=3e-4",
    detect=detect,
    read=read,
)
