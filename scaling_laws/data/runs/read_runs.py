"""Runs from disk: files with columns `step,lr,loss` beside an optional `dataset.toml`."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import DataError, ScheduleError, UsageError, unknown_name
from scaling_laws.data.runs.columns import cell_error, check_steps, read_columns
from scaling_laws.data.runs.run import Run
from scaling_laws.models import (
    FACTS,
    TRACES,
    Schedule,
    check_facts,
    densify,
    in_trace,
    is_fact,
    schedule,
)

__all__ = ["LR_TOLERANCE", "load_runs", "read_run"]

# Logged rates may be rounded (llm.c: to 1e-6); a share of the peak is far below the smallest
# change of schedule that moves a loss, and far above any rounding seen in logs.
LR_TOLERANCE = 2e-3


def load_runs(
    *selections: str | Path,
    warmup: int | None = None,
    between: str | None = None,
    facts: Mapping[str, float] | None = None,
    window: int | None = None,
) -> dict[str, Run]:
    """Read runs from disk.

    Args:
        selections: each a folder (all its CSV files, and the Parquet files that its `dataset.toml`
            names), ``FOLDER:name1,name2``, or one file.
        warmup: warm-up steps of runs without a spec; see `read_run`.
        between: ``hold`` or ``linear``, for runs without a spec.
        facts: numbers that override what the sets say, e.g. ``{"weight_decay": 0.1}``.
        window: how many steps each logged loss averages; see `read_run`.

    Returns:
        Runs by name, in the order given. Names that occur in two sets get the set's name before
        them (``set/name``), and further folders where the sets share a name too.

    Raises:
        DataError: naming file, row and column of what cannot be used.
        ScheduleError: if a spec is malformed.
        UsageError: if a selection names no run, or a run needs `warmup` and `between`.
    """
    files = [file for selection in selections for file in _select(str(selection))]
    if not files:
        raise UsageError("no runs given; name a folder, FOLDER:name1,name2 or a CSV file")
    names = _names(files)
    return {
        name: replace(
            read_run(file, warmup=warmup, between=between, facts=facts, window=window), name=name
        )
        for name, file in zip(names, files, strict=True)
    }


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

    The schedule comes from `spec`, else from the run's entry in a `dataset.toml` beside the file,
    else from the logged rates, which needs `warmup` and `between`: a log rarely shows them, and
    both move a prediction by up to 0.4 nats.

    Args:
        file: a CSV, or Parquet by the ending ``.parquet``, with columns step, loss and, unless a
            spec is known, lr; a column weight (how much a point counts in a fit) and columns named
            in `TRACES` are read too.
        spec: the run's schedule.
        warmup: warm-up steps, linear from 0 to the first logged rate; 0 if there was none.
        between: ``hold`` or ``linear``: the rate between logged steps.
        facts: numbers that override what `dataset.toml` says.
        window: how many steps each logged loss averages, those up to and including its own;
            default what `dataset.toml` says under ``window``, else 1.
        before: leave out the rows from this step on; they need not follow the schedule.

    Returns:
        The run, named after the file.

    Raises:
        DataError: naming file, row and column of what cannot be used.
        ScheduleError: if a spec is malformed.
        UsageError: if the run needs `warmup` and `between`, or an argument is out of range.
    """
    if warmup is not None and warmup < 0:
        raise UsageError(f"warmup={warmup} must be >= 0")
    if between not in (None, "hold", "linear"):
        raise UsageError(f"between={between!r}: known are 'hold' and 'linear'")
    if window is not None and window < 1:
        raise UsageError(f"window={window} must be >= 1")
    check_facts(facts or {})
    path = Path(file)
    name = path.stem
    columns = read_columns(path, ["step", "loss"], ["lr", "weight", *TRACES])
    check_steps(path, columns["step"])
    if before is not None:
        kept = columns["step"] < before
        if not kept.any():
            raise UsageError(
                f"{path}: no loss is logged before step {before}; the first row is at step "
                f"{columns['step'][0]:.0f}"
            )
        columns = {key: row[kept] for key, row in columns.items()}
    step, loss = columns["step"], columns["loss"]
    if (loss <= 0).any():
        row = int(np.argmax(loss <= 0))
        raise cell_error(path, row, "loss", f"{loss[row]:g} is not > 0; drop the row")
    lr = columns.get("lr")
    if lr is not None and (lr < 0).any():
        row = int(np.argmax(lr < 0))
        raise cell_error(path, row, "lr", f"{lr[row]:g} is negative; a learning rate is >= 0")
    weight = columns.get("weight")
    if weight is not None and not (weight >= 0).all():
        row = int(np.argmin(weight >= 0))
        raise cell_error(path, row, "weight", f"{weight[row]:g} is not >= 0; 0 leaves a point out")
    entry = _entry(path)
    plan = entry.get("schedule") if spec is None else schedule(spec, base=path.parent)
    if plan is not None:
        if step[-1] >= plan.steps:
            row = int(np.argmax(step >= plan.steps))
            raise cell_error(
                path,
                row,
                "step",
                f"{step[row]:.0f} is beyond the schedule's {plan.steps} steps ({plan.spec})",
            )
        if lr is not None:
            _check_logged(path, plan, step, lr)
    else:
        plan = _from_log(path, step, lr, warmup, between)
    known = {"transfer_step": float(plan.joins[0])} if plan.joins else {}
    known.update({fact: entry[fact] for fact in FACTS if fact in entry})
    known.update(facts or {})
    traces = {
        trace: _densify_trace(path, trace, step, columns[trace], plan.steps)
        for trace in TRACES
        if trace in columns
    }
    averaged = entry.get("window", 1) if window is None else window
    return Run(name, plan, step.astype(np.int64), loss, known, str(path), traces, averaged, weight)


def _densify_trace(
    path: Path, name: str, step: NDArray[np.float64], values: NDArray[np.float64], steps: int
) -> NDArray[np.float64]:
    """A logged quantity at every step: straight lines between points, level outside them."""
    logged = ~np.isnan(values)
    bad = logged & ~in_trace(name, values)
    if bad.any():
        row = int(np.argmax(bad))
        raise cell_error(path, row, name, f"{values[row]:g} is not {TRACES[name]}")
    if not logged.any():
        raise DataError(f"{path}, column {name!r}: every cell is empty; fill it in or drop it")
    return np.interp(np.arange(steps), step[logged], values[logged])


def _names(files: Sequence[Path]) -> list[str]:
    """Each file's name, with as many folders before it as tell it from the others."""
    places: dict[str, tuple[str, ...]] = {}  # where a file really is -> the words of its path
    for file in files:
        where = os.path.realpath(file)
        if where in places:
            raise UsageError(f"{file} is selected twice")
        places[where] = Path(os.path.abspath(file)).with_suffix("").parts
    names = []
    for file, words in zip(files, places.values(), strict=True):
        if list(places.values()).count(words) > 1:
            raise UsageError(f"{file}: another run given has the same folder and name; rename one")
        depth = 1
        while sum(other[-depth:] == words[-depth:] for other in places.values()) > 1:
            depth += 1
        names.append("/".join(words[-depth:]))
    return names


def _curves(folder: Path) -> list[Path]:
    """The file of each run of a folder: its CSV files, or what `dataset.toml` names instead.

    A CSV beside a Parquet file of the same run does not count where the entry names the latter.
    """
    manifest = folder / "dataset.toml"
    # without the temporary files that a killed writer leaves
    found = {file.stem: file for file in folder.glob("*.csv") if not file.name.startswith(".")}
    for name, entry in _tables(manifest).get("runs", {}).items():
        file = entry.get("file", f"{name}.csv")
        if file not in (f"{name}.csv", f"{name}.parquet"):
            raise DataError(
                f"{manifest}, run {name!r}: file = {file!r} must be '{name}.csv' or "
                f"'{name}.parquet', a file beside {manifest.name}"
            )
        if file == f"{name}.parquet":
            found[name] = folder / file
    return sorted(found.values())


def _check_listed(folder: Path, files: Sequence[Path]) -> None:
    """Refuse a set that lists a run without its file."""
    manifest = folder / "dataset.toml"
    listed = _tables(manifest).get("runs", {})
    here = {file.stem: file.name for file in files if file.is_file()}
    for name in sorted(set(listed) - set(here)):
        file = listed[name].get("file", f"{name}.csv")
        raise DataError(
            f"{manifest}: run {name!r} is listed but {file} is missing; add the file or remove the "
            "entry"
        )


def _select(selection: str) -> list[Path]:
    path = Path(selection)
    if os.path.isdir(path):  # unlike Path.is_dir, never an OSError
        files = _curves(path)
        _check_listed(path, files)
        if not files:
            raise DataError(
                f"{path}: no CSV file in this folder, and no Parquet file named in its dataset.toml"
            )
        return files
    if os.path.exists(path):
        return [path]
    folder, colon, names = selection.rpartition(":")
    if colon and os.path.isdir(folder):
        known = {file.stem: file for file in _curves(Path(folder))}
        chosen = [name.strip() for name in names.split(",") if name.strip()]
        if not chosen:
            raise UsageError(f"{selection}: no run named after the colon; known: {sorted(known)}")
        for name in chosen:
            if name not in known:
                raise UsageError(f"{folder}: {unknown_name('run', name, known)}")
        return [known[name] for name in chosen]
    raise DataError(f"{selection}: no such folder or CSV file")


def _tables(manifest: Path) -> dict[str, Any]:
    if not manifest.exists():
        return {}
    try:
        with manifest.open("rb") as stream:
            tables = tomllib.load(stream)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{manifest}: not valid TOML: {error}") from error
    except OSError as error:
        raise DataError(f"{manifest}: cannot be read: {error.strerror}") from error
    listed = tables.get("runs", {})
    if not isinstance(listed, dict):
        raise DataError(f'{manifest}: runs = {listed!r} must be tables, [runs."NAME"]')
    for name, run in listed.items():
        if not isinstance(run, dict):
            raise DataError(
                f"{manifest}, run {name!r}: {run!r} must be a table; "
                f'write [runs."{name}"] and its keys below'
            )
    return tables


def _entry(path: Path) -> dict[str, Any]:
    """What `dataset.toml` says of a run: its schedule, and facts, its own before the set's."""
    manifest = path.parent / "dataset.toml"
    tables = _tables(manifest)
    run = tables.get("runs", {}).get(path.stem, {})
    entry: dict[str, Any] = {}
    for fact, smallest in FACTS.items():
        value = run.get(fact, tables.get(fact))
        if value is None:
            continue
        if not is_fact(fact, value):
            where = f"{manifest}, run {path.stem!r}" if fact in run else str(manifest)
            raise DataError(f"{where}: {fact} = {value!r} must be a number >= {smallest:g}")
        entry[fact] = float(value)
    window = run.get("window", tables.get("window", 1))
    if not isinstance(window, int) or isinstance(window, bool) or window < 1:
        where = f"{manifest}, run {path.stem!r}" if "window" in run else str(manifest)
        raise DataError(f"{where}: window = {window!r} must be a whole number of steps >= 1")
    entry["window"] = window
    if "schedule" in run:
        if not isinstance(run["schedule"], str):
            raise DataError(
                f"{manifest}, run {path.stem!r}: schedule = {run['schedule']!r} must be a spec in "
                'quotes, e.g. "constant:peak=3e-4,steps=24000"'
            )
        try:
            entry["schedule"] = schedule(run["schedule"], base=path.parent)
        except ScheduleError as error:
            raise ScheduleError(f"{manifest}, run {path.stem!r}: {error}") from error
    return entry


def _check_logged(
    path: Path, plan: Schedule, step: NDArray[np.float64], lr: NDArray[np.float64]
) -> None:
    planned = plan.lr[step.astype(np.int64)]
    wrong = np.abs(lr - planned) > LR_TOLERANCE * plan.peak_lr  # NaN, an empty cell, is not wrong
    if wrong.any():
        row = int(np.argmax(wrong))
        raise cell_error(
            path,
            row,
            "lr",
            f"{lr[row]:g} is logged at step {step[row]:.0f} where the schedule gives "
            f"{planned[row]:g} ({plan.spec}); {int(wrong.sum())} of {len(step)} rows differ. "
            "Mend the spec or the log",
        )


def _from_log(
    path: Path,
    step: NDArray[np.float64],
    lr: NDArray[np.float64] | None,
    warmup: int | None,
    between: str | None,
) -> Schedule:
    if lr is None:
        raise DataError(
            f"{path} row 1: no column 'lr' and no schedule in {path.parent / 'dataset.toml'}; "
            "add one of them"
        )
    if warmup is None or between is None:
        raise UsageError(
            f"{path}: no schedule is given for this run (in {path.parent / 'dataset.toml'}); say "
            "what the log does not show with --warmup STEPS and --between hold|linear"
        )
    if np.isnan(lr).any():
        row = int(np.argmax(np.isnan(lr)))
        raise cell_error(path, row, "lr", "the cell is empty; give a schedule or fill it in")
    total = int(step[-1]) + 1
    if warmup >= total:
        raise UsageError(f"{path}: --warmup {warmup} covers all {total} steps; shorten it")
    logged = step >= warmup
    first = float(lr[logged][0])
    if not first > 0 and not (lr > 0).any():
        raise DataError(f"{path}, column 'lr': every learning rate is 0")
    # before the first point after warm-up the rate is taken to be that point's
    known_step = np.concatenate([[float(warmup)], step[logged]])
    known_lr = np.concatenate([[first], lr[logged]])
    keep = np.append(np.diff(known_step) > 0, True)
    dense = densify(known_step[keep], known_lr[keep], total, between)
    dense[:warmup] = np.linspace(0.0, first, warmup)
    return Schedule(f"csv:{path},between={between}", dense)
