"""The manifest of a data set, `dataset.toml`: its one reader, and the entry of each run."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scaling_laws.common import (
    MAX_STEPS,
    DataError,
    ScheduleError,
    complete_change,
    open_error,
    parse_toml,
    read_text,
)
from scaling_laws.models import FACTS, Schedule, is_fact, schedule

__all__ = ["MANIFEST", "SCHEDULES_FOLDER", "ManifestEntry", "manifest_entry", "read_manifest"]

MANIFEST = "dataset.toml"
SCHEDULES_FOLDER = "schedules"  # subfolder for the learning rates of schedules without a spec


@dataclass(frozen=True, eq=False)
class ManifestEntry:
    """What a manifest states about one run; its own values take precedence over the set's.

    Attributes:
        schedule: parsed from its spec, if it has one.
        facts: numbers that laws use, of those in `FACTS`.
        window: number of steps averaged by each logged loss.
    """

    schedule: Schedule | None = None
    facts: dict[str, float] = field(default_factory=dict)
    window: int = 1


def read_manifest(manifest: Path) -> dict[str, Any]:
    """The tables of a manifest; empty if the file does not exist.

    A change of the set whose process was killed is completed first.

    Raises:
        OutputError: if such a change cannot be completed.
        UnreadableFileError: if it cannot be read.
        DataError: if it is not valid TOML, or a run is not a table.
    """
    complete_change(manifest.parent)
    if not os.path.exists(manifest):  # unlike Path.exists, never raises OSError
        return {}
    try:
        tables = parse_toml(read_text(manifest, encoding="utf-8"))
    except OSError as error:
        raise open_error(manifest, error) from error
    except ValueError as error:
        raise DataError(f"{manifest}: not valid TOML: {error}", path=manifest) from error
    runs = tables.get("runs", {})
    if not isinstance(runs, dict):
        raise DataError(
            f'{manifest}: runs = {runs!r} must be tables, [runs."NAME"]', path=manifest, value=runs
        )
    for name, run in runs.items():
        if not isinstance(run, dict):
            raise DataError(
                f"{manifest}, run {name!r}: {run!r} must be a table; "
                f'write [runs."{name}"] and its keys below',
                path=manifest,
                column=name,
                value=run,
            )
    return tables


def manifest_entry(file: Path) -> ManifestEntry:
    """The entry of a run in the manifest beside its file; defaults if there is none.

    Raises:
        DataError: if the manifest, or a value of the entry, cannot be used.
        ScheduleError: if the spec of its schedule is malformed.
    """
    manifest = file.parent / MANIFEST
    tables = read_manifest(manifest)
    run = tables.get("runs", {}).get(file.stem, {})

    def error(key: str, value: Any, requirement: str) -> DataError:
        where = f"{manifest}, run {file.stem!r}" if key in run else str(manifest)
        message = f"{where}: {key} = {value!r} must be {requirement}"
        return DataError(message, path=manifest, column=key, value=value)

    facts = {}
    for fact, smallest in FACTS.items():
        value = run.get(fact, tables.get(fact))
        if value is None:
            continue
        if not is_fact(fact, value):
            raise error(fact, value, f"a number >= {smallest:g}")
        facts[fact] = float(value)
    window = run.get("window", tables.get("window", 1))
    if not isinstance(window, int) or isinstance(window, bool) or not 1 <= window <= MAX_STEPS:
        raise error("window", window, f"a whole number of steps from 1 to {MAX_STEPS:,}")
    spec = run.get("schedule")
    if spec is None:
        return ManifestEntry(None, facts, window)
    if not isinstance(spec, str):
        raise error("schedule", spec, 'a spec in quotes, e.g. "constant:peak=3e-4,steps=24000"')
    try:
        return ManifestEntry(schedule(spec, base=file.parent), facts, window)
    except ScheduleError as cause:
        raise ScheduleError(
            f"{manifest}, run {file.stem!r}: {cause}", path=manifest, column="schedule", value=spec
        ) from cause
