"""Runs from disk: files with columns `step,lr,loss` beside an optional `dataset.toml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import MAX_STEPS, DataError, InputWarning, UsageError, warn
from scaling_laws.data.runs.columns import cell_error, check_steps, read_columns
from scaling_laws.data.runs.doubtful import loss_spikes, repeated_runs
from scaling_laws.data.runs.logged_schedule import check_logged_rates, schedule_from_rates
from scaling_laws.data.runs.manifest import manifest_entry
from scaling_laws.data.runs.run import Run
from scaling_laws.data.runs.selection import distinct_names, selected_files
from scaling_laws.models import TRACES, check_facts, in_trace, schedule

__all__ = ["load_runs", "read_run"]

Array = NDArray[np.float64]


def load_runs(
    *selections: str | Path,
    warmup: int | None = None,
    between: str | None = None,
    facts: Mapping[str, float] | None = None,
    window: int | None = None,
) -> dict[str, Run]:
    """Read runs from disk.

    Args:
        selections: folders (all their CSV files, and the Parquet files listed in `dataset.toml`),
            ``FOLDER:name1,name2``, or single files.
        warmup: warm-up steps of runs without a spec; see `read_run`.
        between: ``hold`` or ``linear``, for runs without a spec.
        facts: numbers that override those of the sets, e.g. ``{"weight_decay": 0.1}``.
        window: number of steps averaged by each logged loss; see `read_run`.

    Returns:
        Runs by name, in the given order. Names that occur in two sets are preceded by the name of
        the set (``set/name``), and by further folders if the sets share a name too.

    Raises:
        UnreadableFileError: if a file or folder does not exist or cannot be read.
        DataError: with the file, row and column of what cannot be used.
        ScheduleError: if a spec is malformed.
        UsageError: if a selection contains no run, or a run needs `warmup` and `between`.
    """
    files = [file for selection in selections for file in selected_files(str(selection))]
    if not files:
        raise UsageError("no runs given; name a folder, FOLDER:name1,name2 or a CSV file")
    names = distinct_names(files)
    runs = {
        name: replace(
            read_run(file, warmup=warmup, between=between, facts=facts, window=window), name=name
        )
        for name, file in zip(names, files, strict=True)
    }
    for first, *copies in repeated_runs(runs):
        warn(
            f"{first} and {', '.join(copies)} contain the same losses at the same steps; as "
            "independent runs they would make intervals too narrow: keep one of them",
            InputWarning,
        )
    return runs


def read_run(
    file: Path | str,
    *,
    spec: str | None = None,
    warmup: int | None = None,
    between: str | None = None,
    facts: Mapping[str, float] | None = None,
    window: int | None = None,
    before: int | None = None,
) -> Run:
    """Read one run.

    The schedule is `spec`, else that of the run's entry in a `dataset.toml` beside the file, else
    it is reconstructed from the logged rates, which requires `warmup` and `between`: logs rarely
    show them, and both change a prediction by up to 0.4 nats.

    Args:
        file: a CSV, or a Parquet file if its name ends in ``.parquet``, with columns step, loss
            and, unless a spec is known, lr. A column weight (of each point in a fit) and columns
            named in `TRACES` are read if present.
        spec: schedule of the run.
        warmup: warm-up steps, linear from 0 to the first logged rate; 0 if there was none.
        between: ``hold`` or ``linear``: the rate between logged steps.
        facts: numbers that override those of `dataset.toml`.
        window: number of steps averaged by each logged loss, up to and including its own; default
            the ``window`` of `dataset.toml`, else 1.
        before: ignore the rows from this step on; they need not follow the schedule.

    Returns:
        The run, named after the file.

    Raises:
        UnreadableFileError: if the file does not exist or cannot be read.
        DataError: with the file, row and column of what cannot be used.
        ScheduleError: if a spec is malformed.
        UsageError: if the run needs `warmup` and `between`, or an argument is out of range.
    """
    if warmup is not None and warmup < 0:
        raise UsageError(f"warmup={warmup} must be >= 0", value=warmup)
    if between not in (None, "hold", "linear"):
        raise UsageError(f"between={between!r}: known are 'hold' and 'linear'", value=between)
    if window is not None and not 1 <= window <= MAX_STEPS:
        raise UsageError(f"window={window} must be >= 1 and at most {MAX_STEPS:,}", value=window)
    check_facts(facts or {})
    path = Path(file)
    columns = _columns(path, before)
    step, loss, lr = columns["step"], columns["loss"], columns.get("lr")
    entry = manifest_entry(path)
    planned = entry.schedule if spec is None else schedule(spec, base=path.parent)
    if planned is None:
        planned = schedule_from_rates(path, step, lr, warmup, between)
    else:
        if step[-1] >= planned.steps:
            index = int(np.argmax(step >= planned.steps))
            message = (
                f"{step[index]:.0f} is beyond the schedule's {planned.steps} steps ({planned.spec})"
            )
            raise cell_error(path, index, "step", message, value=float(step[index]))
        if lr is not None:
            check_logged_rates(path, planned, step, lr)
    known = {"transfer_step": float(planned.joins[0])} if planned.joins else {}
    known |= {**entry.facts, **(facts or {})}
    weight = columns.get("weight")
    spikes = loss_spikes(loss)
    if spikes.size:
        weight = np.ones(len(loss)) if weight is None else weight.copy()
        weight[spikes] = 0.0
        shown = ", ".join(f"{loss[row]:.4g} at step {step[row]:.0f}" for row in spikes[:3])
        more = f" and {spikes.size - 3} more" if spikes.size > 3 else ""
        warn(
            f"{path}: losses far above those around them get no weight: {shown}{more}; delete "
            "these rows to avoid this warning",
            InputWarning,
        )
    traces = {
        name: _densify_trace(path, name, step, columns[name], planned.steps)
        for name in TRACES
        if name in columns
    }
    return Run(
        path.stem,
        planned,
        step.astype(np.int64),
        loss,
        known,
        str(path),
        traces,
        entry.window if window is None else window,
        weight,
    )


def _columns(path: Path, before: int | None) -> dict[str, Array]:
    """The checked columns of a file: (rows,) each, of the rows before a step if one is given."""
    columns = read_columns(path, ["step", "loss"], ["lr", "weight", *TRACES])
    check_steps(path, columns["step"])
    if before is not None:
        kept = columns["step"] < before
        if not kept.any():
            raise UsageError(
                f"{path}: no loss is logged before step {before}; the first row is at step "
                f"{columns['step'][0]:.0f}",
                path=path,
                value=before,
            )
        columns = {name: column[kept] for name, column in columns.items()}
    requirements = {
        "loss": (columns["loss"] > 0, "is not > 0; delete the row"),
        "lr": (~(columns.get("lr", np.zeros(0)) < 0), "is negative; a learning rate is >= 0"),
        "weight": (columns.get("weight", np.zeros(0)) >= 0, "is not >= 0; 0 omits a point"),
    }
    for name, (valid, message) in requirements.items():
        if not valid.all():
            index = int(np.argmin(valid))
            value = float(columns[name][index])
            raise cell_error(path, index, name, f"{value:g} {message}", value=value)
    return columns


def _densify_trace(path: Path, name: str, step: Array, values: Array, steps: int) -> Array:
    """A logged quantity at every step: linear between points, constant outside them."""
    logged = ~np.isnan(values)
    bad = logged & ~in_trace(name, values)
    if bad.any():
        index = int(np.argmax(bad))
        value = float(values[index])
        raise cell_error(path, index, name, f"{value:g} is not {TRACES[name]}", value=value)
    if not logged.any():
        raise DataError(
            f"{path}, column {name!r}: every cell is empty; fill it in or delete it",
            path=path,
            column=name,
        )
    return np.interp(np.arange(steps), step[logged], values[logged])
