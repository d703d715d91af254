"""Steps that a log contains more than once, after a restart or out of order."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import DataError, UsageError
from scaling_laws.data.logs.reader import FURTHEST, LogTable, TrainingLog

__all__ = ["REPEATS", "RepeatSummary", "log_of", "resolve", "whole_steps"]

Array = NDArray[np.float64]
Whole = NDArray[np.int64]
REPEATS = ("last", "first", "mean")  # which row of a repeated step is used
MAX_RESTARTS = 1000  # more often: the file is out of order, or logs each step several times


@dataclass(frozen=True)
class RepeatSummary:
    """How often the steps of a file go back, and how repeated steps were resolved.

    Attributes:
        repeats: which row of a repeated step is used.
        jumps: the first places where the step decreases: (step before, step after).
        n_back: number of such places.
        repeated_rows: rows beyond the first of their step.
        n_differ: rows whose value differs from the one that is used.
        max_difference: the largest such difference.
        reversed: whether the newest part seems to come first.
        restarts: how often it returns to its first step and logs other values: another run, a
            counter that starts again with each epoch, or a restart from scratch.
    """

    repeats: str
    jumps: tuple[tuple[int, int], ...] = ()
    n_back: int = 0
    repeated_rows: int = 0
    n_differ: int = 0
    max_difference: float = 0.0
    reversed: bool = False
    restarts: int = 0

    def describe(self, key: str) -> str:
        """One sentence for the report; empty if the steps only increase."""
        if not self.n_back:
            return ""
        jumps = ", ".join(f"{one} -> {other}" for one, other in self.jumps)
        more = f" and {self.n_back - len(self.jumps)} more" if self.n_back > len(self.jumps) else ""
        text = f"{key}: the step decreases {self.n_back}x ({jumps}{more})"
        if not self.repeated_rows:
            return f"{text}, without repeating a step; sorted"
        how = (
            "their mean"
            if self.repeats == "mean"
            else f"the {self.repeats} row of a step in the file"
        )
        text += f"; {self.repeated_rows} repeated rows resolved by {how}"
        if self.n_differ:
            text += f" ({self.n_differ} differ from it, by up to {self.max_difference:.3g})"
        if self.reversed:
            text += "; the newest part seems to come first: --repeats first uses the newest rows"
        elif self.restarts:
            text += (
                f"; it returns to its first step {self.restarts}x: if these are several runs, or "
                "steps counted within epochs, split the file or correct the step column"
            )
        return text


def resolve(steps: Whole, values: Array, repeats: str) -> tuple[Whole, Array, RepeatSummary]:
    """Rows in the order of the file -> one value per step, in increasing steps.

    Args:
        steps: (rows,).
        values: finite numbers: (rows,).
        repeats: ``last``, ``first`` or ``mean``.

    Returns:
        Steps and values, (points,) each, and what was resolved.

    Raises:
        UsageError: if `repeats` has another value.
    """
    if repeats not in REPEATS:
        raise UsageError(f"repeats={repeats!r}: known are {', '.join(map(repr, REPEATS))}")
    falls = np.flatnonzero(np.diff(steps) <= 0)
    if not falls.size:
        return steps, values, RepeatSummary(repeats)
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
    summary = RepeatSummary(
        repeats,
        tuple((int(steps[index]), int(steps[index + 1])) for index in falls[:4]),
        int(falls.size),
        int(steps.size - first.size),
        int((away > 0).sum()),
        float(away.max()),
        newest_first,
        int((steps[falls + 1] <= steps[0]).sum())
        if len(falls) <= MAX_RESTARTS and away.any()
        else 0,
    )
    return in_order[first], kept, summary


def whole_steps(table: LogTable, key: str, rows: Whole, steps: Array) -> Whole:
    """Steps as whole numbers.

    Raises:
        DataError: at the first that is not one, or is negative.
    """
    with np.errstate(invalid="ignore"):
        good = (steps == np.floor(steps)) & (steps >= 0) & (steps < FURTHEST)
    if not good.all():
        index = int(np.argmin(good))
        raise DataError(
            f"{table.where(int(rows[index]))}, {key!r}: step {steps[index]:g} is not a whole "
            "number "
            ">= 0",
            path=table.source,
            row=int(table.lines[rows[index]]),
            column=key,
            value=steps[index],
        )
    return steps.astype(np.int64)


def log_of(table: LogTable, step: str, repeats: str = "last") -> TrainingLog:
    """The log over increasing steps of a table.

    A run that was restarted logs some steps again. One row of such a step is used, by default the
    last in the file; where steps repeat and how much their rows differ is reported.

    Args:
        table: of one run.
        step: the key of the step.
        repeats: which row of a repeated step counts.

    Raises:
        UsageError: if `repeats` has another value.
        DataError: if a step is not a whole number >= 0, or nothing was logged.
    """
    step_of_row = table.dense(step)
    diagnostics = list(table.notes)
    kept: dict[str, tuple[Whole, Array]] = {}
    for key, column in table.columns.items():
        if key == step or column.parse_error or not column.rows.size:
            continue
        placed = ~np.isnan(step_of_row[column.rows])
        use = placed & np.isfinite(column.values)
        if not use.any():
            continue
        omitted = int((placed & ~use).sum())
        if omitted:
            diagnostics.append(
                f"{key}: {omitted} of {int(placed.sum())} rows are not finite numbers; omitted"
            )
        rows = column.rows[use]
        steps = whole_steps(table, key, rows, step_of_row[rows])
        steps, values, summary = resolve(steps, column.values[use], repeats)
        kept[key] = (steps, values)
        if summary.n_back:
            diagnostics.append(summary.describe(key))
    if not kept:
        raise DataError(f"{table.source}: no number is logged at any step", path=table.source)
    every = np.unique(np.concatenate([steps for steps, _ in kept.values()]))
    columns = {}
    for key, (steps, values) in kept.items():
        columns[key] = np.full(every.size, math.nan)
        columns[key][np.searchsorted(every, steps)] = values
    return TrainingLog(
        table.name,
        table.source,
        every,
        columns,
        tuple(diagnostics),
        table.config,
        table.first_step,
        table.lr_offset,
        table.before_update,
    )
