"""Schedules and logged learning rates: agreement with a spec, and reconstruction without one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import DataError, UsageError
from scaling_laws.data.runs.columns import cell_error
from scaling_laws.data.runs.manifest import MANIFEST
from scaling_laws.models import Schedule, densify

__all__ = ["LR_TOLERANCE", "check_logged_rates", "schedule_from_rates"]

# Logged rates may be rounded (llm.c: to 1e-6). This fraction of the peak is far below the smallest
# change of schedule that affects a loss, and far above any rounding found in logs.
LR_TOLERANCE = 2e-3


def check_logged_rates(
    path: Path, planned: Schedule, step: NDArray[np.float64], lr: NDArray[np.float64]
) -> None:
    """Check that logged learning rates agree with a schedule; NaN, an empty cell, is ignored.

    Args:
        path: the file, for messages.
        planned: the schedule.
        step: logged steps: (rows,).
        lr: their logged rates: (rows,).

    Raises:
        DataError: at the first that differs by more than `LR_TOLERANCE` of the peak.
    """
    expected = planned.lr[step.astype(np.int64)]
    wrong = np.abs(lr - expected) > LR_TOLERANCE * planned.peak_lr
    if wrong.any():
        index = int(np.argmax(wrong))
        raise cell_error(
            path,
            index,
            "lr",
            f"{lr[index]:g} is logged at step {step[index]:.0f} where the schedule gives "
            f"{expected[index]:g} ({planned.spec}); {int(wrong.sum())} of {len(step)} rows differ. "
            "Correct the spec or the log",
            value=float(lr[index]),
        )


def schedule_from_rates(
    path: Path,
    step: NDArray[np.float64],
    lr: NDArray[np.float64] | None,
    warmup: int | None,
    between: str | None,
) -> Schedule:
    """The schedule of a run without a spec, from its logged learning rates.

    Args:
        path: the file, for messages.
        step: logged steps: (rows,).
        lr: their logged rates: (rows,); None if the file has no such column.
        warmup: warm-up steps, linear from 0 to the first logged rate after them.
        between: ``hold`` or ``linear``: the rate between logged steps.

    Raises:
        DataError: if no usable rate is logged.
        UsageError: if `warmup` or `between` is missing, or the warm-up covers all steps.
    """
    manifest = path.parent / MANIFEST
    if lr is None:
        raise DataError(
            f"{path} row 1: no column 'lr' and no schedule in {manifest}; add one of them",
            path=path,
            row=1,
            column="lr",
        )
    if warmup is None or between is None:
        raise UsageError(
            f"{path}: no schedule is given for this run (in {manifest}); state what the log does "
            "not show with --warmup STEPS and --between hold|linear",
            path=path,
        )
    if np.isnan(lr).any():
        index = int(np.argmax(np.isnan(lr)))
        raise cell_error(path, index, "lr", "the cell is empty; give a schedule or fill it in")
    total = int(step[-1]) + 1
    if warmup >= total:
        raise UsageError(
            f"{path}: --warmup {warmup} covers all {total} steps; shorten it",
            path=path,
            value=warmup,
        )
    logged = step >= warmup
    first = float(lr[logged][0])
    if not first > 0 and not (lr > 0).any():
        raise DataError(
            f"{path}, column 'lr': every learning rate is 0", path=path, column="lr", value=0.0
        )
    # before the first point after the warm-up the rate is assumed to equal that point's
    known_step = np.concatenate([[float(warmup)], step[logged]])
    known_lr = np.concatenate([[first], lr[logged]])
    keep = np.append(np.diff(known_step) > 0, True)
    dense = densify(known_step[keep], known_lr[keep], total, between)
    dense[:warmup] = np.linspace(0.0, first, warmup)
    return Schedule(f"csv:{path},between={between}", dense)
