"""A schedule from a CSV file with columns `step,lr`, one row per step or per change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import (
    DataError,
    ScheduleError,
    cell_error,
    check_steps,
    read_columns,
    write_text,
)
from scaling_laws.models.schedules.family import (
    Family,
    Key,
    Schedule,
    Values,
    choice,
    count,
    file_path,
)

__all__ = ["CSV", "densify", "write_schedule"]

BETWEEN = Key(
    "between",
    choice("hold", "linear"),
    "learning rate between rows: that of the previous row, or linear",
)


def build(values: Values) -> NDArray[np.float64]:
    """Learning rates of shape (last step + 1,), or (steps,) when `steps` is given."""
    path: str = values["path"]
    columns = read_columns(path, ["step", "lr"])
    step, lr = columns["step"], columns["lr"]
    check_steps(path, step)
    if (lr < 0).any():
        row = int(np.argmax(lr < 0))
        raise cell_error(path, row, "lr", f"{lr[row]:g} is negative; a learning rate is >= 0")
    if step[0] != 0:
        raise cell_error(path, 0, "step", f"{step[0]:g} is the first step; add a row for step 0")
    total = int(step[-1]) + 1 if values["steps"] is None else int(values["steps"])
    if total <= step[-1]:
        raise ScheduleError(f"{path}: the last row is step {step[-1]:.0f}, beyond steps={total}")
    if total == len(step):
        return lr
    if values["between"] is None:
        raise ScheduleError(
            f"{path}: {len(step)} rows for {total} steps; define the rates between them with "
            "between=hold or between=linear"
        )
    return densify(step, lr, total, values["between"])


def densify(
    step: NDArray[np.float64], lr: NDArray[np.float64], steps: int, between: str
) -> NDArray[np.float64]:
    """The learning rate of every step from rows of changes.

    Args:
        step: increasing steps of shape (rows,), the first one 0.
        lr: their learning rates.
        steps: how many steps to return; the rate is constant after the last row.
        between: ``hold`` (a rate lasts until the next row) or ``linear``.

    Returns:
        Learning rates of shape (steps,).
    """
    all_steps = np.arange(steps, dtype=np.float64)
    if between == "hold":
        return lr[np.searchsorted(step, all_steps, side="right") - 1]
    if between == "linear":
        return np.interp(all_steps, step, lr)
    raise DataError(f"between={between!r}: must be 'hold' or 'linear'")


CSV = Family(
    name="csv",
    formula="columns step,lr of a file",
    citation="none",
    keys=(
        Key("path", file_path, "the file, directly after the colon", required=True),
        BETWEEN,
        Key("steps", count, "total steps; default: the last row's step + 1"),
    ),
    build=build,
)


def write_schedule(
    path: Path | str, plan: Schedule, weight_decay: NDArray[np.float64] | None = None
) -> Path:
    """Write columns step,lr, one row per step; ``csv:PATH`` reads it back exactly.

    Args:
        path: the file.
        plan: the schedule.
        weight_decay: of every step, (steps,), for a third column of that name.

    Raises:
        OutputError: if the file cannot be written.
    """
    columns = [plan.lr.tolist()] + ([] if weight_decay is None else [weight_decay.tolist()])
    header = "step,lr\n" if weight_decay is None else "step,lr,weight_decay\n"
    rows = zip(*columns, strict=True)
    text = (f"{step},{','.join(map(repr, row))}\n" for step, row in enumerate(rows))
    return write_text(path, header + "".join(text))
