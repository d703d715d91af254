"""CSV exports of Weights & Biases charts: one column ``RUN - METRIC`` per run.

The first column is the chart's x axis: ``Step`` counts calls of the logger, which need not be
updates; a chart over ``trainer/global_step`` counts those. Each column is followed by its ``__MIN``
and ``__MAX``, the ends of the points that were drawn as one. Charts are sampled, up to 1500 points
per run, so a smooth schedule is preserved and single spikes are not. The export of the table of
runs has one row per run and no step: it is not a curve, and is rejected. Source: the tracker's docs
on exports, wandb#5994 and wandb#1783 on the sampling.
"""

from __future__ import annotations

import csv
import shlex
from collections.abc import Sequence
from pathlib import Path

from scaling_laws.common import DataError
from scaling_laws.data.logs.delimited import read_delimited
from scaling_laws.data.logs.keys import find_step
from scaling_laws.data.logs.reader import Column, Head, LogTable, Match, Reader

__all__ = ["WANDB_EXPORT"]

BETWEEN = " - "
ENDS = ("__MIN", "__MAX")
SAMPLED = (
    "charts are exported sampled (at most 1500 points per run) and points may be means of several; "
    "the whole history is run.scan_history() of the wandb package"
)
ONE_METRIC = "a chart has one metric; give the charts of loss and learning rate together"


def detect(head: Head) -> Match:
    """By a header whose columns past the first are all runs' metrics, with their ends or steps."""
    names = _header(head.text)
    rest = names[1:]
    marked = any(name.endswith(ENDS) for name in rest)
    metrics = bool(rest) and all(BETWEEN in name for name in rest)
    over_steps = bool(names) and find_step(names[:1]) is not None
    if metrics and (marked or over_steps) and BETWEEN not in names[0]:
        return Match.SPECIFIC
    return Match.SPECIFIC if _table_of_runs(head) else Match.NO


def _header(text: str) -> list[str]:
    first = text.lstrip("\ufeff").split("\n", 1)[0].rstrip("\r")
    try:
        return next(csv.reader([first]), [])
    except csv.Error:
        return []


def _table_of_runs(head: Head) -> bool:
    """An export of the table of runs: one row per run, with its state."""
    names = set(_header(head.text))
    return head.path.name.startswith("wandb_export") and {"Name", "State"} <= names


def read(path: Path) -> tuple[LogTable, ...]:
    """Read every run of a chart.

    Raises:
        DataError: if it is the table of runs, no column belongs to a run, or a row does not fit.
    """
    table = read_delimited(path)
    if {"Name", "State"} <= set(table.columns):
        raise DataError(
            f"{path}: this is the table of runs, one row per run, and not a curve; export the "
            "chart of "
            "the loss instead",
            path=path,
        )
    axis, *rest = table.columns
    runs: dict[str, dict[str, Column]] = {}
    unassigned: list[str] = []
    for name in rest:
        run, between, metric = name.rpartition(BETWEEN)
        if not between or not run:
            unassigned.append(name)
        elif not metric.endswith(ENDS):
            runs.setdefault(run, {})[metric] = table.columns[name]
    if not runs:
        raise DataError(
            f"{path} line 1: no column RUN - METRIC with a value in it among "
            f"{', '.join(table.columns)[:120]}",
            path=path,
        )
    notes = [*table.notes, SAMPLED]
    if axis == "Step":
        notes.append("Step counts calls of the logger, which need not be updates")
    if unassigned:
        notes.append(f"columns that belong to no run are omitted: {', '.join(unassigned)}")
    return tuple(_run(table, axis, run, columns, notes) for run, columns in runs.items())


def _run(
    table: LogTable, axis: str, run: str, columns: dict[str, Column], notes: Sequence[str]
) -> LogTable:
    run_columns = {axis: table.columns[axis], **columns}
    if len(columns) == 1:
        notes = [*notes, f"{ONE_METRIC}: --run {shlex.quote(run)} --join"]
    return LogTable(run, table.source, run_columns, table.lines, table.unit, notes=tuple(notes))


WANDB_EXPORT = Reader(
    name="wandb_export",
    meaning="CSV of a Weights & Biases chart, columns RUN - METRIC",
    detect=detect,
    read=read,
)
