"""From the rows of a log to a loss curve over updates, with every change recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import MAX_STEPS, DataError, UsageError
from scaling_laws.data.importing.anomalies import gaps, listed, quantised, spikes
from scaling_laws.data.importing.counts import tokens_of
from scaling_laws.data.importing.moving_average import average_rows
from scaling_laws.data.importing.options import Finding, Options
from scaling_laws.data.importing.several_runs import check_one_run
from scaling_laws.data.logs import LogTable
from scaling_laws.data.logs.repeated import resolve
from scaling_laws.data.logs.trainer_state import OFFSET

__all__ = ["LossCurve", "curve_of", "rates_of"]

Array = NDArray[np.float64]
Whole = NDArray[np.int64]
SKIPPED = ("number of skipped iterations", "optim/step skipped", "skipped_steps")


@dataclass(frozen=True, eq=False)
class LossCurve:
    """Losses and learning rates over updates, counted from 0.

    Attributes:
        steps, loss: increasing updates, and losses that are finite and > 0: (points,) each.
        lr_steps: updates whose learning rate is known: (rates,).
        lr: their rates: (rates,); empty if none was logged.
        lr_offset: number of updates from the row of each rate to the update it belongs to.
        tokens: up to and including the update of each point, if not proportional to the step:
            (points,); else None.
        tokens_per_step: if constant and known.
        window: number of updates averaged by each loss.
        total: number of planned updates, if known.
        findings: anomalies and changes.
    """

    steps: Whole = field(repr=False)
    loss: Array = field(repr=False)
    lr_steps: Whole = field(repr=False)
    lr: Array = field(repr=False)
    lr_offset: int
    tokens: Array | None = field(repr=False)
    tokens_per_step: float | None
    window: int
    total: int | None
    findings: tuple[Finding, ...]


def curve_of(tables: Sequence[LogTable], keys: Mapping[str, str], options: Options) -> LossCurve:
    """The curve of one run, from one file or several in their order.

    Args:
        tables: of the run.
        keys: the key of each role; see `find_roles`.
        options: of the import.

    Raises:
        DataError: with the file and row of what cannot be used.
        UsageError: if an option contradicts the log.
    """
    notes = [note for table in tables for note in table.notes]
    if options.lr_offset is not None:
        notes = [note for note in notes if note != OFFSET]
    findings = [Finding("file", note, "omitted" in note) for note in notes]
    if len(tables) > 1:
        findings.append(Finding("joined", f"{len(tables)} files joined in the given order", True))
    first_step = tables[0].first_step if options.first_step is None else options.first_step
    for table in tables:
        _, counter = _counter(table, keys, options)
        check_one_run(table, keys[counter], keys["loss"], options)
    steps, loss = _series(tables, keys, "loss", options, first_step, 0, findings)
    if any(keys["loss"] in table.before_update for table in tables):
        words = (
            f"{keys['loss']} is measured before the update of its row, so it belongs to the "
            "previous update"
        )
        findings.append(Finding("before_update", words))
    early = steps < 0
    if early.any():
        words = f"{int(early.sum())} losses before the first update omitted"
        findings.append(Finding("start", words, True))
        steps, loss = steps[~early], loss[~early]
    steps, loss = _usable(tables[0], keys["loss"], steps, loss, findings)
    steps, loss, summary = resolve(steps, loss, options.repeats or "last")
    if summary.n_back:
        findings.append(Finding("repeats", summary.describe(keys["loss"]), True))
    if first_step:
        words = f"the log counts updates from {first_step}; they are counted from 0"
        findings.append(Finding("first_step", words))
    if options.steps_per_update > 1:
        words = f"{options.steps_per_update} logged steps make one update"
        findings.append(Finding("steps_per_update", words, True))
    if options.step_offset:
        words = f"the log counts from the branch: {options.step_offset} updates precede its first"
        findings.append(Finding("step_offset", words, True))
    offset = tables[0].lr_offset if options.lr_offset is None else options.lr_offset
    lr_steps, lr = rates_of(tables, keys, options, first_step, offset, findings)
    gaps(steps, findings)
    quantised(keys["loss"], loss, findings)
    steps, loss = _skipped(tables, keys, options, first_step, steps, loss, findings)
    steps, loss = spikes(steps, loss, options.drop_spikes, findings)
    window = _window(tables, keys, options, steps, findings)
    if options.average_window is not None:
        means = average_rows(tables[0].source, steps, loss, options.average_window, window)
        findings.append(means.finding)
        steps, loss, window = means.steps, means.loss, means.window
    counted = tokens_of(
        tables,
        keys,
        options,
        steps,
        lambda role: _series(tables, keys, role, options, first_step, 0, []),
    )
    findings += counted.findings
    planned = tables[0].total_steps
    total = options.steps or (planned and planned + options.step_offset)
    return LossCurve(
        steps,
        loss,
        lr_steps,
        lr,
        offset,
        counted.tokens,
        counted.per_step,
        window,
        total,
        tuple(findings),
    )


def _series(
    tables: Sequence[LogTable],
    keys: Mapping[str, str],
    role: str,
    options: Options,
    first_step: int,
    shift: int,
    findings: list[Finding],
) -> tuple[Whole, Array]:
    """Updates and values of a role, in the order of the files, including non-finite ones."""
    every_step, every_value = [], []
    for table in tables:
        if keys[role] not in table.columns:
            continue
        column = table.column(keys[role])
        counts, counter = _counter(table, keys, options)
        counts = counts[column.rows]
        counted = np.isfinite(counts)
        if not counted.all():
            words = f"{keys[role]}: {int((~counted).sum())} rows without a {counter} omitted"
            findings.append(Finding("rows", words, True))
        steps = _updates(
            table, counter, column.rows[counted], counts[counted], keys, options, first_step
        )
        every_step.append(steps + shift - (keys[role] in table.before_update))
        every_value.append(column.values[counted])
    if not every_step:
        return np.array([], dtype=np.int64), np.array([])
    return np.concatenate(every_step), np.concatenate(every_value)


def _counter(table: LogTable, keys: Mapping[str, str], options: Options) -> tuple[Array, str]:
    """The column from which updates follow, one number per row, and its role."""
    role = "step" if "step" in keys else "samples" if options.samples_per_step else "tokens"
    if keys.get(role) not in table.columns:
        raise DataError(
            f"{table.source}: the key {keys.get(role)!r} of the other parts is missing",
            path=table.source,
        )
    return table.dense(keys[role]), role


def _updates(
    table: LogTable,
    role: str,
    rows: Whole,
    counts: Array,
    keys: Mapping[str, str],
    options: Options,
    first_step: int,
) -> Whole:
    """Updates counted from 0, after those of a parent if any; -1 is before the first."""
    key = keys[role]
    if role != "step":
        per_step = options.samples_per_step if role == "samples" else options.tokens_per_step
        if per_step is None:
            assert options.samples_per_step is not None and options.sequence_length is not None
            per_step = options.samples_per_step * options.sequence_length
        done = counts / per_step
        bad = np.abs(done - np.round(done)) > 1e-6 * np.maximum(done, 1.0)
        if bad.any():
            index = int(np.argmax(bad))
            raise UsageError(
                f"{table.where(int(rows[index]))}, {key!r}: {counts[index]:g} is {done[index]:.4g} "
                f"updates of {per_step:g}; correct --{role}-per-step, or name a step key",
                path=table.source,
                row=int(table.lines[rows[index]]),
                column=key,
                value=counts[index],
            )
        # a count includes the update of its row
        updates = np.round(done) - (1 if options.first_step is None else first_step)
    else:
        bad = (counts != np.floor(counts)) | (counts < 0)
        if bad.any():
            index = int(np.argmax(bad))
            raise DataError(
                f"{table.where(int(rows[index]))}, {key!r}: step {counts[index]:g} is not a whole "
                "number >= 0; correct or delete the row, or name another --step-key",
                path=table.source,
                row=int(table.lines[rows[index]]),
                column=key,
                value=counts[index],
            )
        updates = np.floor((counts - first_step) / options.steps_per_update)
    updates = updates + options.step_offset
    if (updates >= MAX_STEPS).any():
        index = int(np.argmax(updates >= MAX_STEPS))
        count = counts[index]
        raise DataError(
            f"{table.where(int(rows[index]))}, {key!r}: {count:g} is not below {MAX_STEPS:,} "
            "steps; is it a number of tokens? pass --tokens-per-step or --samples-per-step",
            path=table.source,
            row=int(table.lines[rows[index]]),
            column=key,
            value=count,
        )
    return updates.astype(np.int64)


def _usable(
    table: LogTable, key: str, steps: Whole, loss: Array, findings: list[Finding]
) -> tuple[Whole, Array]:
    if not loss.size:
        raise DataError(
            f"{table.source}, {key!r}: no loss is logged in a row with a step; name another "
            "--step-key or --loss-key",
            path=table.source,
            column=key,
        )
    good = np.isfinite(loss) & (loss > 0)
    if not good.all():
        words = (
            f"{key}: {int((~good).sum())} of {loss.size} losses are not finite or not > 0 and "
            f"omitted, at steps {listed(np.unique(steps[~good]))}"
        )
        findings.append(Finding("not_finite", words, True))
    if not good.any():
        raise DataError(
            f"{table.source}, {key!r}: no loss is a finite number > 0",
            path=table.source,
            column=key,
        )
    return steps[good], loss[good]


def rates_of(
    tables: Sequence[LogTable],
    keys: Mapping[str, str],
    options: Options,
    first_step: int,
    offset: int,
    findings: list[Finding],
) -> tuple[Whole, Array]:
    """Updates whose learning rate is known, and their rates; both empty without the role."""
    if "lr" not in keys:
        return np.array([], dtype=np.int64), np.array([])
    steps, lr = _series(tables, keys, "lr", options, first_step, offset, findings)
    if offset:
        where = f"{abs(offset)} {'after' if offset > 0 else 'before'}"
        words = f"each logged learning rate is that of the update {where} its row's"
        findings.append(Finding("lr_offset", words, True))
    good = np.isfinite(lr) & (steps >= 0)
    if (lr[good] < 0).any():
        worst = float(lr[good].min())
        raise DataError(
            f"{tables[0].source}, {keys['lr']!r}: {worst:g} is negative; a learning rate is >= 0",
            path=tables[0].source,
            column=keys["lr"],
            value=worst,
        )
    if not good.all():
        words = f"{keys['lr']}: {int((~good).sum())} rates that are not numbers omitted"
        findings.append(Finding("not_finite", words, True))
    steps, lr, summary = resolve(steps[good], lr[good], options.repeats or "last")
    if summary.n_differ and summary.restarts:
        before, after = summary.jumps[0]
        raise UsageError(
            f"{tables[0].source}, {keys['lr']!r}: the file returns to its first step "
            f"{summary.restarts}x ({before} -> {after}), and {summary.n_differ} rates differ from "
            "those of the "
            f"same steps, by up to {summary.max_difference:.3g}, so these are not restarts of one "
            "run: split "
            "the file into its runs, or correct a step column that counts within epochs",
            path=tables[0].source,
            column=keys["lr"],
        )
    if summary.n_differ:
        findings.append(Finding("repeats", summary.describe(keys["lr"]), True))
    return steps, lr


def _skipped(
    tables: Sequence[LogTable],
    keys: Mapping[str, str],
    options: Options,
    first_step: int,
    steps: Whole,
    loss: Array,
    findings: list[Finding],
) -> tuple[Whole, Array]:
    key = next((key for key in SKIPPED for table in tables if key in table.columns), None)
    if key is None:
        return steps, loss
    skipped_steps, values = _series(
        tables, {**keys, "skipped": key}, "skipped", options, first_step, 0, []
    )
    bad = np.unique(skipped_steps[values > 0])
    skipped = np.isin(steps, bad)
    if not skipped.any():
        return steps, loss
    words = f"{int(skipped.sum())} points with skipped updates ({listed(steps[skipped])})"
    if options.drop_skipped:
        findings.append(Finding("skipped", f"{words} omitted", True))
        return steps[~skipped], loss[~skipped]
    findings.append(Finding("skipped", f"{words}; --drop-skipped omits them"))
    return steps, loss


def _window(
    tables: Sequence[LogTable],
    keys: Mapping[str, str],
    options: Options,
    steps: Whole,
    findings: list[Finding],
) -> int:
    if options.window is not None:
        if options.window < 1:
            raise UsageError(f"--window {options.window} must be >= 1")
        return options.window
    if not all(keys["loss"] in table.averaged for table in tables) or steps.size < 2:
        return 1
    stride = max(int(np.median(np.diff(steps))), 1)
    if stride > 1 or options.steps_per_update > 1:
        words = f"{keys['loss']} is a mean since the previous row, over {stride} updates"
        findings.append(Finding("window", words))
    return stride
