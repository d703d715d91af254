"""Files that contain several runs: split as requested, else refused with what tells them apart.

A file that begins anew with other losses is not one run with restarts: were the last row of each
step used, its losses would be those of several runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import UsageError, unknown_name
from scaling_laws.data.importing.options import Options
from scaling_laws.data.logs import LogTable
from scaling_laws.data.logs.keys import find_step, known_keys
from scaling_laws.data.logs.splits import rows_of, split_by

__all__ = ["SeveralRunsError", "check_one_run", "split_table"]

Array = NDArray[np.float64]
Whole = NDArray[np.int64]
SHOWN = 8  # keys in a message
OVERLAP = 1.5  # sum of the ranges of steps of several runs, as a multiple of their union
LEAST = 3  # rows of a part, on average: fewer are rows out of order
ABORTED = 0.1  # share of the steps up to which an aborted start may have got
RESUMED = 1 / 3  # share of the steps that an older part may share with the newer one before it
ALIKE = 0.1  # share of the repeated steps that may be repeated within a run as well
# numbers that may tell runs apart if their rows alternate
SETTING = re.compile(
    r"(?<![a-z])(runs?|seed|model|size|params?|width|depth|layers?|d?_?model|peak|max_lr|trial|exp"
    r"|experiment|config|rank|n|d)(?![a-z])",
    re.I,
)
COUNTED = re.compile(r"epoch|time|date", re.I)


class SeveralRunsError(UsageError):
    """A file has the rows of several runs, and no option says how to split it.

    Attributes:
        keys: whose values tell the runs apart; empty if none do.
    """

    def __init__(
        self, message: str = "", *, path: Path | str | None = None, keys: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message, path=path)
        self.keys = keys


@dataclass(frozen=True, eq=False)
class LossRows:
    """The rows of a table that have a loss, in the order of the file.

    Attributes:
        row: of the table: (rows,).
        step: (rows,).
        loss: (rows,).
        starts: index of the first row of each part, at which the step decreases: (parts,).
    """

    row: Whole
    step: Array
    loss: Array
    starts: Whole

    @property
    def ends(self) -> Whole:
        """Index of the last row of each part: (parts,)."""
        return np.append(self.starts[1:], self.step.size) - 1


def split_table(table: LogTable, options: Options) -> tuple[LogTable, ...]:
    """The runs of a table, split by the values of a key or where it begins anew, as requested.

    Raises:
        UsageError: if there is no such key, or no step that begins anew.
    """
    if options.run_key is not None:
        known = [*table.columns, *(key for key in table.texts if key not in table.columns)]
        keys = [options.run_key]
        if options.run_key not in known:
            keys = [key.strip() for key in options.run_key.split(",")]
        for key in keys:
            if key not in known:
                raise UsageError(
                    f"{table.source}: --run-key: {unknown_name('key', key, known)}",
                    path=table.source,
                    value=key,
                )
        return split_by(table, keys)
    if options.split_restarts:
        return _parts(table, options)
    return (table,)


def _parts(table: LogTable, options: Options) -> tuple[LogTable, ...]:
    step = options.step_key or table.step or find_step(table.columns)
    if step is None or step not in table.columns:
        raise UsageError(
            f"{table.source}: --split-restarts needs the step; choose one with --step-key",
            path=table.source,
        )
    column = table.column(step)
    falls = np.diff(column.values)
    again = falls <= 0 if np.ptp(column.values) == 0 else falls < 0
    anew = np.flatnonzero(again & (column.values[1:] <= column.values[0]))
    part = np.searchsorted(column.rows[anew + 1], np.arange(table.lines.size), side="right")
    if not anew.size:
        return (table,)
    return tuple(
        rows_of(table, f"{table.name}_{number + 1}", part == number)
        for number in range(anew.size + 1)
    )


def check_one_run(table: LogTable, step: str, loss: str, options: Options) -> None:
    """Refuse a table that contains several runs.

    Args:
        table: the rows.
        step: key of the step, or of what counts in its place.
        loss: key of the loss.
        options: of the import; if they state how to resolve repeated steps, nothing is refused.

    Raises:
        SeveralRunsError: with the keys whose values tell the runs apart.
    """
    if options.repeats is not None or loss not in table.columns or step not in table.columns:
        return
    rows = _rows(table, step, loss)
    order = np.argsort(rows.step, kind="stable")
    same = np.diff(rows.step[order]) == 0
    apart = np.abs(np.diff(rows.loss[order]))[same]
    if rows.starts.size > 1:
        anew = _anew(rows)
        from_scratch = anew & ~_older(rows)
        telling = _constant_in_parts(table, rows, (step, loss))
        overlap = _overlap(rows.step[rows.starts], rows.step[rows.ends])
        differ = int((apart > 0).sum())
        if telling:
            several = bool(from_scratch.any()) or overlap >= OVERLAP
            other = differ > 0 or not same.any()
        else:
            several = bool(anew.any()) and rows.step.size >= LEAST * rows.starts.size
            distinct = rows.step.size - int(same.sum())
            share = ABORTED if from_scratch.any() else RESUMED
            other = differ >= share * distinct if same.any() else overlap >= OVERLAP
        if several and other:
            raise _begins_anew(table, rows, int(np.argmax(anew)), step, apart, telling)
    elif rows.step.size > 1 and np.ptp(rows.step) == 0 and (apart > 0).any():
        words = f"{rows.step.size} losses are logged at one step, {rows.step[0]:g}"
        raise _error(table, f"{words} (up to {np.ptp(rows.loss):.3g} apart)", (), ())
    if (apart > 0).any():
        alternating = _alternating(table, rows, int(same.sum()), (step, loss))
        if alternating:
            words = f"{int(same.sum())} steps are logged again with other losses (up to "
            raise _error(table, f"{words}{apart.max():.3g} apart)", alternating, alternating[:1])


def _rows(table: LogTable, step: str, loss: str) -> LossRows:
    column = table.column(loss)
    steps = table.dense(step)[column.rows]
    good = np.isfinite(steps) & np.isfinite(column.values)
    steps = steps[good]
    starts = np.flatnonzero(np.diff(steps) < 0) + 1
    starts = np.append(0, starts) if steps.size else starts
    return LossRows(column.rows[good], steps, column.values[good], starts)


def _anew(rows: LossRows) -> NDArray[np.bool_]:
    """Whether each part but the first begins at the beginning of the file, or before: (parts,)."""
    first = rows.step[rows.starts]
    return np.append(False, first[1:] <= first[0])


def _older(rows: LossRows) -> NDArray[np.bool_]:
    """Whether each part begins and ends before the one that precedes it in the file: (parts,)."""
    first, last = rows.step[rows.starts], rows.step[rows.ends]
    return np.append(False, (first[1:] < first[:-1]) & (last[1:] < last[:-1]))


def _overlap(first: Array, last: Array) -> float:
    """Sum of ranges as a multiple of their union's range."""
    union = float(last.max() - first.min())
    return float((last - first).sum()) / union if union > 0 else 0.0


def _columns(table: LogTable, rows: Whole, roles: Sequence[str]) -> Iterator[tuple[str, Array]]:
    """The value of each of some rows under each key that may tell runs apart; NaN for none."""
    for key, text in table.texts.items():
        if COUNTED.search(key) is None:
            codes = text.codes[rows].astype(np.float64)
            yield key, np.where(codes < 0, np.nan, codes)
    losses = known_keys("loss", table.columns)
    for key, column in table.columns.items():
        usable = key not in roles and key not in losses and column.parse_error is None
        if usable and COUNTED.search(key) is None:
            yield key, table.dense(key)[rows]


def _constant_in_parts(table: LogTable, rows: LossRows, roles: Sequence[str]) -> dict[str, Array]:
    """The values by part of keys that are constant in each part but not in all: (parts,) each."""
    telling = {}
    for key, values in _columns(table, rows.row, roles):
        if np.isnan(values).all():
            continue
        low = np.fmin.reduceat(values, rows.starts)
        high = np.fmax.reduceat(values, rows.starts)
        if np.array_equal(low, high, equal_nan=True) and np.unique(low).size > 1:
            telling[key] = low
    return telling


def _alternating(
    table: LogTable, rows: LossRows, repeated: int, roles: Sequence[str]
) -> tuple[str, ...]:
    """Keys by whose values rows of several runs alternate, the one with fewest values first."""
    found: dict[str, int] = {}
    for key, values in _columns(table, rows.row, roles):
        if key not in table.texts and SETTING.search(key) is None:
            continue
        names, codes = np.unique(values, return_inverse=True)
        if not 2 <= names.size <= rows.step.size / 2:
            continue
        order = np.lexsort((rows.step, codes))
        groups, steps = codes[order], rows.step[order]
        starts = np.flatnonzero(np.append(True, np.diff(groups) > 0))
        within = int(((np.diff(groups) == 0) & (np.diff(steps) == 0)).sum())
        ends = np.append(starts[1:], steps.size) - 1
        if within <= ALIKE * repeated and _overlap(steps[starts], steps[ends]) >= OVERLAP:
            found[key] = int(names.size)
    return tuple(sorted(found, key=lambda key: found[key]))


def _begins_anew(
    table: LogTable, rows: LossRows, part: int, step: str, apart: Array, telling: dict[str, Array]
) -> SeveralRunsError:
    index = int(rows.starts[part or 1])
    words = (
        f"{table.unit} {table.lines[rows.row[index]]} begins anew ({step} {rows.step[index]:g} "
        f"after {rows.step[index - 1]:g}; {rows.starts.size} parts) with other losses"
    )
    if (apart > 0).any():
        words += f" (up to {apart.max():.3g} apart)"
    # the fewest keys that distinguish as many parts as all together
    ordered = sorted(telling, key=lambda key: -np.unique(telling[key]).size)
    chosen: list[str] = []
    count = 1
    for key in ordered:
        combined = np.unique(np.stack([telling[name] for name in (*chosen, key)]), axis=1)
        if combined.shape[1] > count:
            chosen.append(key)
            count = combined.shape[1]
    return _error(table, words, tuple(telling), tuple(chosen))


def _error(
    table: LogTable, words: str, telling: tuple[str, ...], chosen: tuple[str, ...]
) -> SeveralRunsError:
    if chosen:
        shown = ", ".join(map(repr, telling[:SHOWN])) + (", ..." if len(telling) > SHOWN else "")
        verb = "differs" if len(telling) == 1 else "differ"
        remedy = f"{shown} {verb} between them: pass --run-key {','.join(chosen)}"
    else:
        remedy = (
            "no key tells them apart: pass --split-restarts for a run per part, or correct a step "
            "that counts within epochs"
        )
    return SeveralRunsError(
        f"{table.source}: {words}, so it contains several runs; {remedy}, or split the file; "
        "--repeats last reads it as one run, restarted",
        path=table.source,
        keys=chosen,
    )
