"""The learning rates that a log contains, whether or not it contains losses."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import DataError, UsageError, unknown_name
from scaling_laws.data.importing.curve import rates_of
from scaling_laws.data.importing.options import Finding, Options
from scaling_laws.data.importing.roles import candidates, useful_keys
from scaling_laws.data.importing.several_runs import check_one_run, split_table
from scaling_laws.data.logs import LogTable, read_tables
from scaling_laws.data.logs.keys import known_keys

__all__ = ["LoggedRates", "read_rates"]

SHOWN = 12  # keys in a message


@dataclass(frozen=True, eq=False)
class LoggedRates:
    """Learning rates of a log by update, counted from 0.

    Attributes:
        steps: increasing updates: (rows,).
        lr: their rates, finite and >= 0: (rows,).
        rows: number of rows of the log.
        first_step: the step number of update 0 in the log.
        findings: anomalies, and what was done about them.
    """

    steps: NDArray[np.int64] = field(repr=False)
    lr: NDArray[np.float64] = field(repr=False)
    rows: int
    first_step: int
    findings: tuple[Finding, ...]


def read_rates(
    path: Path | str, *, run: str | None = None, options: Options | None = None
) -> LoggedRates:
    """Read the learning rates of a log, as an import does.

    Args:
        path: a file, or a folder that a reader recognises.
        run: name of the run, if the log contains several.
        options: keys, counting and resolution of repeated steps, as for an import.

    Raises:
        DataError: with the file and row of what cannot be used, e.g. if there are no rates.
        UsageError: if the log contains several runs or several keys may be the learning rate.
    """
    options = options or Options()
    _, whole = read_tables(path, format=options.format)
    table = _table(path, tuple(part for each in whole for part in split_table(each, options)), run)
    keys = {role: _key(table, role, options) for role in ("step", "lr")}
    for loss in candidates("loss", (table,), options)[:1]:
        check_one_run(table, keys["step"], loss, options)
    first_step = table.first_step if options.first_step is None else options.first_step
    offset = table.lr_offset if options.lr_offset is None else options.lr_offset
    findings: list[Finding] = []
    steps, lr = rates_of((table,), keys, options, first_step, offset, findings)
    if not steps.size:
        raise DataError(
            f"{path}, {keys['lr']!r}: no learning rate is logged in a row with a step",
            path=path,
            column=keys["lr"],
        )
    return LoggedRates(steps, lr, int(table.lines.size), first_step, tuple(findings))


def _table(path: Path | str, tables: tuple[LogTable, ...], run: str | None) -> LogTable:
    names = [table.name for table in tables]
    if run is not None and run not in names:
        raise UsageError(f"{path}: --run: {unknown_name('run', run, names)}", path=path, value=run)
    chosen = [table for table in tables if run in (None, table.name)]
    if len(chosen) > 1:
        raise UsageError(
            f"{path}: it contains {len(names)} runs ({', '.join(names)}); choose one with --run "
            "NAME",
            path=path,
        )
    return chosen[0]


def _key(table: LogTable, role: str, options: Options) -> str:
    """The key of a role."""
    word = {"step": "step", "lr": "learning rate"}[role]
    matches = candidates(role, (table,), options)
    if len(matches) > 1:
        group = " or --lr-group N" if role == "lr" else ""
        raise UsageError(
            f"{table.source}: several keys may be the {word}: {', '.join(matches)}; choose one "
            f"with --{role}-key KEY{group}",
            path=table.source,
        )
    if matches:
        return matches[0]
    for key in known_keys(role, table.columns):
        error = table.columns[key].parse_error
        if error is not None:
            raise error.as_error(table.source)
    useful = useful_keys((table,))
    shown = ", ".join(useful[:SHOWN]) + (", ..." if len(useful) > SHOWN else "")
    raise DataError(
        f"{table.source}: no key is recognised as the {word}; choose one with --{role}-key KEY. "
        f"The keys with numbers are {shown or 'none'}",
        path=table.source,
    )
