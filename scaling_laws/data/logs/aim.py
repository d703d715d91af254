"""Repositories of Aim, folders with ``.aim`` in them, read through the `aim` package itself.

Aim keeps its points in RocksDB, so the package is needed: pip install 'scaling-laws[aim]'. Each
metric has a name and a context; the usual context, ``{"subset": "train"}``, goes before the name,
``train/loss``, and any other after it, ``loss {rank=0}``. A step that is tracked again replaces
its point, so a restarted run has no repeats; without a given step, calls are counted. Rows are read
in the order of time. Runs that are not in the repository's index, because Aim's interface never
opened them, cannot be read by the package, and are reported. Source: Aim's docs of the SDK (`Repo`,
`Run`, `Metric.dataframe`), repositories written by Aim 3.29.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scaling_laws.common import DataError, optional
from scaling_laws.data.logs.reader import Head, LogTable, Match, Reader, table_of

__all__ = ["AIM"]

FOLDER = ".aim"
SYSTEM = "__system"  # load of the machine


def detect(head: Head) -> Match:
    """By the repository's folder, or what is in it."""
    inside = head.path.name == FOLDER and {"meta", "seqs"} <= set(head.names)
    return Match.SPECIFIC if FOLDER in head.names or inside else Match.NO


def read(path: Path) -> tuple[LogTable, ...]:
    """Read every run of a repository that tracked a number.

    Raises:
        DataError: if Aim cannot open it, or its index lacks all runs.
        MissingLibraryError: if the package is not installed.
    """
    aim = optional("aim", "repositories of Aim need the package aim", "aim")
    root = path.absolute()
    root = root.parent if root.name == FOLDER else root
    if not (root / FOLDER).is_dir():
        raise DataError(
            f"{path}: not a repository of Aim: it contains no folder {FOLDER}", path=path
        )
    try:
        repository = aim.Repo(str(root))
        runs = {run.hash: run for run in repository.iter_runs()}
        missing = sorted(set(repository.list_all_runs()) - set(runs))
        notes = [_not_indexed(root, missing)] if missing else []
        tables = [_table(run, path, notes) for run in runs.values()]
    except DataError:
        raise
    except Exception as error:  # the package raises whatever its parts raise
        raise DataError(
            f"{path}: Aim cannot open this repository: {type(error).__name__}: {error}", path=path
        ) from None
    nonempty = tuple(table for table in tables if table.columns)
    if not nonempty:
        reason = _not_indexed(root, missing) if missing else "no run tracked a number"
        raise DataError(f"{path}: {reason}", path=path)
    return nonempty


def _not_indexed(root: Path, missing: list[str]) -> str:
    return (
        f"{len(missing)} runs are not in the repository's index and cannot be read: "
        f"{', '.join(missing[:4])}{', ...' if len(missing) > 4 else ''}; index them with "
        f"aim storage --repo {shlex.quote(str(root))} reindex"
    )


def _table(run: Any, source: Path, notes: list[str]) -> LogTable:
    """One row per point, in the order of time."""
    points: list[tuple[Any, dict[str, Any]]] = []
    for metric in run.metrics():
        if metric.name.startswith(SYSTEM):
            continue
        key = _key(metric.name, metric.context.to_dict())
        # a metric with the name of the tracker's counter
        key = "step (logged)" if key == "step" else key
        frame = metric.dataframe()
        columns = (frame[name].tolist() for name in ("time", "step", "value"))
        points += [
            (time, {"step": step, key: value}) for time, step, value in zip(*columns, strict=True)
        ]
    points.sort(key=lambda point: point[0])
    # a run without a name is named by its hash
    name = str(run.name or run.hash).removeprefix("Run: ")
    return table_of(
        name,
        str(source),
        [record for _, record in points],
        unit="point",
        step="step",
        notes=tuple(notes),
        config=_settings(run),
    )


def _key(name: str, context: Mapping[str, Any]) -> str:
    if not context:
        return name
    if list(context) == ["subset"]:
        return f"{context['subset']}/{name}"
    return f"{name} {{{', '.join(f'{key}={value}' for key, value in sorted(context.items()))}}}"


def _settings(run: Any) -> dict[str, Any]:
    """Settings; those under `hparams`, as in Aim's docs, without that prefix."""
    try:
        stated = dict(run[...])
    except KeyError:  # none was set
        return {}
    stated.pop("__system_params", None)
    hyperparameters = stated.pop("hparams", None)
    return {**stated, **hyperparameters} if isinstance(hyperparameters, dict) else stated


AIM = Reader(
    name="aim",
    meaning="a repository of Aim, a folder with .aim in it",
    detect=detect,
    read=read,
)
