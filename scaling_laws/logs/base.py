"""What a reader makes of a log: one table over steps, and what was odd about it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_laws.errors import DataError, UsageError, unknown_name

__all__ = ["REPEATS", "Log", "Reader", "assemble"]

Array = NDArray[np.float64]
REPEATS = ("last", "first")  # which row of a step that was logged more than once counts
FURTHEST = 2**53  # whole numbers beyond are not exact in float64


@dataclass(frozen=True, eq=False)
class Log:
    """What a run logged.

    Attributes:
        name: of the run.
        source: the file it was read from.
        steps: every step at which anything was logged, increasing, int64: (rows,).
        columns: what was logged by key, NaN where a step has none, each (rows,).
        oddities: in words, what was odd about the file and what was done about it.
        config: settings of the run, as logged.
    """

    name: str
    source: str
    steps: NDArray[np.int64] = field(repr=False)
    columns: Mapping[str, Array] = field(repr=False)
    oddities: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        steps = np.array(self.steps, dtype=np.int64)
        if steps.ndim != 1 or steps.size == 0 or (np.diff(steps) <= 0).any():
            raise DataError(f"{self.source}: steps must be a non-empty, increasing row")
        columns = {name: np.array(row, dtype=np.float64) for name, row in self.columns.items()}
        for name, row in columns.items():
            if row.shape != steps.shape:
                raise DataError(f"{self.source}, column {name!r}: {row.shape} is not {steps.shape}")
            row.flags.writeable = False
        steps.flags.writeable = False
        object.__setattr__(self, "steps", steps)
        object.__setattr__(self, "columns", MappingProxyType(columns))
        object.__setattr__(self, "config", MappingProxyType(dict(self.config)))

    def series(self, key: str) -> tuple[NDArray[np.int64], Array]:
        """The steps at which a key was logged, and its values: (points,) each.

        Raises:
            DataError: if the log has no such key.
        """
        if key not in self.columns:
            raise DataError(f"{self.source}: {unknown_name('key', key, self.columns)}")
        row = self.columns[key]
        logged = ~np.isnan(row)
        return self.steps[logged], row[logged]


@dataclass(frozen=True)
class Reader:
    """A format of logs.

    Attributes:
        name: of the format.
        meaning: where such files come from.
        recognises: whether a file is one, by its name and its beginning.
        read: (file, which of repeated rows counts) -> the log.
    """

    name: str
    meaning: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path, str], Log]


def assemble(
    name: str,
    source: str,
    tables: Mapping[str, tuple[Sequence[Any], Sequence[Any]]],
    *,
    repeats: str = "last",
    oddities: Sequence[str] = (),
    config: Mapping[str, Any] | None = None,
) -> Log:
    """A log from what was logged, key by key, in the order of the file.

    A run that was restarted logs some steps again. One row of such a step counts, by default the
    last in the file; that the file repeats steps, where, and how far its rows disagree is said.

    Args:
        name: of the run.
        source: the file.
        tables: steps and values by key; rows without a number are left out.
        repeats: ``last`` or ``first``: which row of a repeated step counts.
        oddities: what the reader has to say.
        config: settings of the run.

    Raises:
        UsageError: if `repeats` is another word.
        DataError: if a step is no whole number >= 0, or nothing was logged.
    """
    if repeats not in REPEATS:
        raise UsageError(f"repeats={repeats!r}: known are {', '.join(map(repr, REPEATS))}")
    found: list[str] = list(oddities)
    kept: dict[str, dict[int, float]] = {}
    for key, (steps, values) in tables.items():
        rows = _rows(source, key, steps, values, found)
        if not rows:
            continue
        kept[key] = dict(rows if repeats == "last" else reversed(rows))
        words = _repeated(key, rows, kept[key], repeats)
        if words:
            found.append(words)
    every = sorted({step for column in kept.values() for step in column})
    if not every:
        raise DataError(f"{source}: no number is logged at any step")
    columns = {
        key: np.array([column.get(step, math.nan) for step in every])
        for key, column in kept.items()
    }
    return Log(name, source, np.array(every), columns, tuple(found), config or {})


def _rows(
    source: str, key: str, steps: Sequence[Any], values: Sequence[Any], found: list[str]
) -> list[tuple[int, float]]:
    """Rows of a key that hold a number, in the order of the file."""
    if len(steps) != len(values):
        found.append(f"{key}: {len(values)} values for {len(steps)} steps; left out")
        return []
    rows, left_out = [], 0
    for place, (step, value) in enumerate(zip(steps, values, strict=True)):
        number = _number(value)
        if number is None:
            left_out += 1
            continue
        at = _number(step)
        if at is None or at != math.floor(at) or not 0 <= at < FURTHEST:
            raise DataError(
                f"{source}, key {key!r}, row {place}: step {step!r} is no whole number >= 0"
            )
        rows.append((int(at), number))
    if rows and left_out:
        found.append(f"{key}: {left_out} of {len(values)} rows hold no finite number; left out")
    return rows


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _repeated(
    key: str, rows: Sequence[tuple[int, float]], kept: Mapping[int, float], repeats: str
) -> str:
    """In words, which steps a key repeats, where the file goes back, and how far rows disagree."""
    steps = [step for step, _ in rows]
    back = [(one, other) for one, other in itertools.pairwise(steps) if other <= one]
    again = len(rows) - len(kept)
    if not back:
        return ""
    jumps = ", ".join(f"{one} -> {other}" for one, other in back[:4])
    more = f" and {len(back) - 4} more" if len(back) > 4 else ""
    words = f"{key}: the file goes back {len(back)}x ({jumps}{more})"
    if not again:
        return f"{words}, repeating no step; sorted"
    apart = [abs(value - kept[step]) for step, value in rows if value != kept[step]]
    words += f"; {again} repeated rows resolved: the {repeats} of a step in the file counts"
    if apart:
        words += f" ({len(apart)} differ from it, by up to {max(apart):.3g})"
    if steps[0] > min(steps[1:]) and apart and repeats == "last":
        words += "; newest stretch first, it seems: --repeats first would take the newest rows"
    return words
