"""Steps that a log holds more than once, after a restart or out of order: one row each counts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import DataError, UsageError
from scaling_laws.data.logs.reader import FURTHEST, Log, Table

__all__ = ["REPEATS", "Repeated", "log_of", "resolve", "whole_steps"]

Array = NDArray[np.float64]
Whole = NDArray[np.int64]
REPEATS = ("last", "first", "mean")  # which row of a step that was logged more than once counts
ANEW = 1000  # a file that goes back more often is out of order, or logs each step several times


@dataclass(frozen=True)
class Repeated:
    """How often a file goes back, and what became of the steps it repeats.

    Attributes:
        repeats: which row of a step counts.
        jumps: the first places where it goes back: (step before, step after).
        back: how many there are.
        again: rows beyond the first of their step.
        differ: rows that hold another value than the one that counts.
        apart: the largest such difference.
        reversed: whether the newest stretch seems to stand first.
        anew: how often it goes back to its first step and logs other values: another run, a
            counter that begins anew with each epoch, or a restart from nothing.
    """

    repeats: str
    jumps: tuple[tuple[int, int], ...] = ()
    back: int = 0
    again: int = 0
    differ: int = 0
    apart: float = 0.0
    reversed: bool = False
    anew: int = 0

    def words(self, key: str) -> str:
        """One sentence about it; empty if the steps only increase."""
        if not self.back:
            return ""
        jumps = ", ".join(f"{one} -> {other}" for one, other in self.jumps)
        more = f" and {self.back - len(self.jumps)} more" if self.back > len(self.jumps) else ""
        words = f"{key}: the file goes back {self.back}x ({jumps}{more})"
        if not self.again:
            return f"{words}, repeating no step; sorted"
        how = (
            "their mean" if self.repeats == "mean" else f"the {self.repeats} of a step in the file"
        )
        words += f"; {self.again} repeated rows resolved: {how} counts"
        if self.differ:
            words += f" ({self.differ} differ from it, by up to {self.apart:.3g})"
        if self.reversed:
            words += "; newest stretch first, it seems: --repeats first would take the newest rows"
        elif self.anew:
            words += (
                f"; it begins anew at its first step {self.anew}x: if these are several runs, or "
                "steps counted within epochs, split the file or mend the step column"
            )
        return words


def resolve(steps: Whole, values: Array, repeats: str) -> tuple[Whole, Array, Repeated]:
    """Rows in the order of the file -> one value a step, in increasing steps.

    Args:
        steps: (rows,).
        values: finite numbers: (rows,).
        repeats: ``last``, ``first`` or ``mean``.

    Returns:
        Steps and values, (points,) each, and what was resolved.

    Raises:
        UsageError: if `repeats` is another word.
    """
    if repeats not in REPEATS:
        raise UsageError(f"repeats={repeats!r}: known are {', '.join(map(repr, REPEATS))}")
    back = np.flatnonzero(np.diff(steps) <= 0)
    if not back.size:
        return steps, values, Repeated(repeats)
    order = np.argsort(steps, kind="stable")
    in_order = steps[order]
    first = np.flatnonzero(np.append(True, np.diff(in_order) > 0))
    counts = np.diff(np.append(first, in_order.size))
    if repeats == "mean":
        kept = np.add.reduceat(values[order], first) / counts
    else:
        kept = values[order[first if repeats == "first" else first + counts - 1]]
    away = np.abs(values[order] - np.repeat(kept, counts))
    newest_first = repeats == "last" and bool(steps[0] > steps[1:].min()) and bool(away.any())
    said = Repeated(
        repeats,
        tuple((int(steps[place]), int(steps[place + 1])) for place in back[:4]),
        int(back.size),
        int(steps.size - first.size),
        int((away > 0).sum()),
        float(away.max()),
        newest_first,
        int((steps[back + 1] <= steps[0]).sum()) if len(back) <= ANEW and away.any() else 0,
    )
    return in_order[first], kept, said


def whole_steps(table: Table, key: str, rows: Whole, steps: Array) -> Whole:
    """Steps as whole numbers.

    Raises:
        DataError: naming the row of the first that is none, or is below 0.
    """
    with np.errstate(invalid="ignore"):
        good = (steps == np.floor(steps)) & (steps >= 0) & (steps < FURTHEST)
    if not good.all():
        place = int(np.argmin(good))
        raise DataError(
            f"{table.where(int(rows[place]))}, {key!r}: step {steps[place]:g} is no whole number "
            ">= 0",
            path=table.source,
            row=int(table.lines[rows[place]]),
            column=key,
            value=steps[place],
        )
    return steps.astype(np.int64)


def log_of(table: Table, step: str, repeats: str = "last") -> Log:
    """The log over increasing steps that a table holds.

    A run that was restarted logs some steps again. One row of such a step counts, by default the
    last in the file; that the file repeats steps, where, and how far its rows disagree is said.

    Args:
        table: what was read.
        step: the key of the step.
        repeats: which row of a repeated step counts.

    Raises:
        UsageError: if `repeats` is another word.
        DataError: if a step is no whole number >= 0, or nothing was logged.
    """
    at = table.dense(step)
    found = list(table.notes)
    kept: dict[str, tuple[Whole, Array]] = {}
    for key, column in table.columns.items():
        if key == step or column.parse_error or not column.rows.size:
            continue
        placed = ~np.isnan(at[column.rows])
        use = placed & np.isfinite(column.values)
        if not use.any():
            continue
        left_out = int((placed & ~use).sum())
        if left_out:
            found.append(
                f"{key}: {left_out} of {int(placed.sum())} rows hold no finite number; left out"
            )
        rows = column.rows[use]
        steps = whole_steps(table, key, rows, at[rows])
        steps, values, said = resolve(steps, column.values[use], repeats)
        kept[key] = (steps, values)
        if said.back:
            found.append(said.words(key))
    if not kept:
        raise DataError(f"{table.source}: no number is logged at any step", path=table.source)
    every = np.unique(np.concatenate([steps for steps, _ in kept.values()]))
    columns = {}
    for key, (steps, values) in kept.items():
        columns[key] = np.full(every.size, math.nan)
        columns[key][np.searchsorted(every, steps)] = values
    return Log(table.name, table.source, every, columns, tuple(found), table.config)
