"""Compare a run's logged rates with a schedule, and diagnose differences."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import DataError, ScheduleError, UsageError
from scaling_laws.decisions.export.faults import find_fault, shifted_log
from scaling_laws.decisions.export.lr_log import Fault, LrLog
from scaling_laws.decisions.export.schedule_export import read_schedule
from scaling_laws.models import Schedule

if TYPE_CHECKING:
    from scaling_laws.data import LoggedRates, Options

__all__ = ["ComparedStep", "Verification", "verify_schedule"]

Array = NDArray[np.float64]
ROWS = 12


@dataclass(frozen=True)
class ComparedStep:
    """A row of the log compared with the schedule.

    Attributes:
        step: the logged step.
        lr: the logged rate.
        schedule_lr: the schedule's rate; beyond its end, that of its last step.
        good: whether the two agree.
    """

    step: int
    lr: float
    schedule_lr: float
    good: bool


@dataclass(frozen=True, eq=False)
class Verification:
    """The result of comparing a log with a schedule.

    Attributes:
        matches: whether every logged rate is the schedule's within the tolerance.
        n_rows: number of rows with a logged rate.
        max_deviation: largest distance, in LR.
        max_relative: `max_deviation` as a share of the schedule's peak.
        tolerance: as a share of the peak.
        first_bad_step: first logged step beyond the tolerance; None if there is none.
        fault: name of the fault that explains the difference, if one does.
        diagnosis: a sentence about the fault or the match.
        table: selected rows, including those around the first bad one.
        remarks: how the log was read: its counting, restarts, rates that are not numbers.
    """

    matches: bool
    n_rows: int
    max_deviation: float
    max_relative: float
    tolerance: float
    first_bad_step: int | None
    fault: str | None
    diagnosis: str
    table: tuple[ComparedStep, ...] = field(repr=False)
    remarks: tuple[str, ...] = ()


def verify_schedule(
    log: Path | str,
    plan: Schedule | str | Path,
    *,
    tolerance: float | None = None,
    run: str | None = None,
    options: Options | None = None,
) -> Verification:
    """Compare the learning rates that a run logged with its schedule.

    Args:
        log: a log in any format that `import_logs` reads, or a CSV with columns step and lr; a row
            without a rate is ignored, and losses are not needed.
        plan: the schedule, its spec, or the path of a CSV with columns step,lr.
        tolerance: as a share of the schedule's peak; default `LR_TOLERANCE`, as for reading runs.
        run: name of the run, if the log contains several.
        options: keys and counting of the log, as for an import.

    Returns:
        Whether they agree, where they first differ, and which common fault explains it. Steps are
        updates counted from 0.

    Raises:
        DataError: if the log cannot be used, with file, row and column.
        ScheduleError: if the spec is malformed.
        UsageError: if the tolerance is not > 0, or the log contains several runs or keys.
    """
    from scaling_laws.data import LR_TOLERANCE, read_rates

    if tolerance is None:
        tolerance = LR_TOLERANCE
    if not 0 < tolerance < 1:
        raise UsageError(f"--tolerance {tolerance:g} must lie between 0 and 1, a share of the peak")
    wanted = plan if isinstance(plan, Schedule) else read_schedule(str(plan))
    if not wanted.peak_lr > 0:
        raise ScheduleError(f"{wanted.spec}: every learning rate is 0; nothing can deviate")
    logged = read_rates(log, run=run, options=options)
    rows = LrLog(logged.steps, logged.lr, tolerance * wanted.peak_lr)
    if rows.step[0] >= wanted.steps:
        raise DataError(
            f"{log}: the first logged rate is that of update {rows.step[0]}, beyond the schedule's "
            f"{wanted.steps} steps; nothing can be compared",
            path=log,
        )
    return _compare(rows, wanted, tolerance, _remarks(logged))


def _remarks(logged: LoggedRates) -> tuple[str, ...]:
    """How the log was read, where that is not obvious."""
    remarks = []
    if logged.first_step:
        remarks.append(f"the log counts updates from {logged.first_step}, this report from 0")
    return (*remarks, *(finding.words for finding in logged.findings))


def _compare(
    rows: LrLog, wanted: Schedule, tolerance: float, remarks: tuple[str, ...]
) -> Verification:
    expected = wanted.lr[np.minimum(rows.step, wanted.steps - 1)]
    off = np.abs(rows.lr - expected)
    beyond = rows.step >= wanted.steps
    bad = (off > rows.slack) | beyond
    first = int(np.argmax(bad)) if bad.any() else None
    fault: Fault | None
    if first is None:
        fault = shifted_log(rows, wanted.lr, expected)
        text = "the logged rates are the schedule's"
        if fault is not None:
            text += f", within the tolerance; yet {fault.sentence}"
    else:
        fault = find_fault(rows, wanted, first)
        text = (
            fault.sentence
            if fault is not None
            else f"no common fault explains it; the rates first differ at step {rows.step[first]}"
        )
    return Verification(
        first is None,
        int(rows.step.size),
        float(off.max()),
        float(off.max() / wanted.peak_lr),
        tolerance,
        None if first is None else int(rows.step[first]),
        None if fault is None else fault.name,
        text,
        _table(rows, expected, bad, first),
        remarks,
    )


def _table(
    rows: LrLog, expected: Array, bad: NDArray[np.bool_], first: int | None
) -> tuple[ComparedStep, ...]:
    last = rows.step.size - 1
    shown = set(np.linspace(0, last, ROWS).round().astype(int).tolist())
    if first is not None:
        shown |= {row for row in (first - 1, first, first + 1) if 0 <= row <= last}
        shown.add(int(np.argmax(np.abs(rows.lr - expected))))
    return tuple(
        ComparedStep(
            int(rows.step[row]),
            float(rows.lr[row]),
            float(expected[row]),
            not bool(bad[row]),
        )
        for row in sorted(shown)
    )
