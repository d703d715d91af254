"""Write a trained run into a set: an entry in `dataset.toml`, and `RUN.csv`.

Runs of a set share the model, the text and the measurement. Everything else that determines a curve
is a fact of the set, or of the run where it differs. A run whose loss would not be comparable is
rejected before training.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from numpy.typing import NDArray

from scaling_laws.common import (
    DataError,
    OutputError,
    ProxyError,
    ScalingLawsError,
    changed_folder,
    check_writable,
    read_text,
)
from scaling_laws.data import SCHEDULES_FOLDER, read_manifest
from scaling_laws.models import Schedule, reads_files, write_schedule
from scaling_laws.models import schedule as read_spec
from scaling_laws.proxy.training.dataset_facts import (
    FIXED,
    RUN_FACTS,
    SOFTWARE,
    set_facts,
    stated_fact,
)
from scaling_laws.proxy.training.proxy_config import ProxyConfig
from scaling_laws.proxy.training.training_loop import TrainedCurve

__all__ = [
    "Destination",
    "check_destination",
    "default_name",
    "differing_facts",
    "finished_settings",
    "read_curve",
    "write_run",
]

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
INTEGER_COLUMNS = ("step", "tokens")


@dataclass(frozen=True)
class Destination:
    """Where a run is written.

    Attributes:
        folder: the set.
        name: name of the run.
        overwrite: whether an existing run of that name may be replaced.
    """

    folder: Path
    name: str
    overwrite: bool = False

    @property
    def curve(self) -> Path:
        """The run's CSV file."""
        return self.folder / f"{self.name}.csv"

    @property
    def manifest(self) -> Path:
        """The set's description."""
        return self.folder / "dataset.toml"

    @property
    def plan(self) -> Path:
        """A copy of the learning rates, for a schedule from a file or an array."""
        return self.folder / SCHEDULES_FOLDER / f"{self.name}.csv"


def default_name(schedule: Schedule, seed: int = 0) -> str:
    """A run name made of the schedule spec; for a ``csv:`` spec, of the file name only.

    >>> from scaling_laws.models.schedules import schedule
    >>> default_name(schedule("cosine:peak=3e-4,end=3e-5,steps=4000,warmup=100"))
    'cosine_4000_peak-3e-4_end-3e-5_warmup-100'
    """
    family, _, rest = schedule.spec.partition(":")
    parts = [family.strip(), str(schedule.steps)]
    if parts[0] == "csv":
        path = re.split(r",(?=\s*(?:between|steps)\s*=)", rest)[0]
        parts.append(Path(path.strip()).stem)
    else:
        for part in filter(None, (piece.strip() for piece in rest.split(","))):
            key, _, value = (piece.strip() for piece in part.partition("="))
            if key != "steps":
                parts.append(f"{key}-{value}")
    if seed:
        parts.append(f"seed-{seed}")
    return re.sub(r"[^A-Za-z0-9_.-]", "-", "_".join(parts))[:200]


def check_destination(destination: Destination, config: ProxyConfig) -> None:
    """Raise before training if the run could not be written after it.

    Raises:
        ProxyError: if the name is not valid, the run exists, or the set's `FIXED` facts differ.
        DataError: if the set's `dataset.toml` cannot be read.
        OutputError: if the folder is a file or cannot be written.
    """
    name, folder = destination.name, destination.folder
    if not NAME.fullmatch(name):
        raise ProxyError(
            f"run name {name!r}: use up to 200 letters, digits, '_', '.' and '-', starting with a "
            "letter, a digit or '_'; pass --name",
            value=name,
        )
    if not _is_existing_folder(folder):
        return
    paths = [destination.curve, destination.manifest]
    if not _spec_is_complete(config.schedule) and _is_existing_folder(destination.plan.parent):
        paths.append(destination.plan)
    for path in paths:
        check_writable(path)
    tables = read_manifest(destination.manifest)
    # an entry without a curve results from an interrupted write
    if destination.curve.exists() and not destination.overwrite:
        raise ProxyError(
            f"{folder} already has a run {name!r}; choose another --name or pass --overwrite",
            path=destination.curve,
            value=name,
        )
    _check_facts(destination.manifest, tables, set_facts(config))


def differing_facts(destination: Destination, config: ProxyConfig) -> dict[str, tuple[Any, Any]]:
    """Facts in which a run differs from its set: name -> (value of the set, value of the run).

    They are written as facts of the run, and laws that use them get the value of the run.
    """
    tables = read_manifest(destination.manifest)
    facts = set_facts(config)
    return {
        key: (stated_fact(tables, key), facts[key])
        for key in RUN_FACTS
        if tables and stated_fact(tables, key) != facts[key]
    }


def write_run(
    destination: Destination,
    config: ProxyConfig,
    curve: TrainedCurve,
    *,
    command: str = "",
    license_text: str = "unspecified",
    extra: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write a run and add it to its set as one transaction: all files or none.

    Several processes may write runs of the same set; they wait for each other. What a process that
    is killed has not written yet, the next one that reads the set writes.

    Args:
        destination: where to write it; the folder is created if necessary.
        config: what was trained.
        curve: the result.
        command: the command line that reproduces it, if there is one.
        license_text: licence of the curves, for a new set.
        extra: further keys of the run's entry.

    Returns:
        The files written.

    Raises:
        ScalingLawsError: as `check_destination`, which is repeated here, after the training.
    """
    check_destination(destination, config)
    plan = None if _spec_is_complete(config.schedule) else destination.plan
    files = [path for path in (plan, destination.curve, destination.manifest) if path is not None]
    entry: dict[str, Any] = {
        "schedule": config.schedule.spec,
        "seed": config.seed,
        **(extra or {}),
        "command": command,
        "seconds": round(curve.seconds, 1),
    }
    if config.ramp:
        entry["batch_ramp"] = ",".join(f"{batch}@{step}" for step, batch in config.ramp)
    with changed_folder(destination.folder) as change:
        check_destination(destination, config)  # another process may have created the set meanwhile
        if plan is not None:
            change.write_with(plan, lambda staged: write_schedule(staged, config.schedule))
            entry["schedule"] = f"csv:{SCHEDULES_FOLDER}/{destination.name}.csv"
        change.write_text(destination.curve, _csv_text(curve))
        change.write_text(
            destination.manifest,
            tomli_w.dumps(_with_run(destination, set_facts(config), entry, license_text)),
        )
    return files


def _with_run(
    destination: Destination, facts: dict[str, Any], entry: dict[str, Any], license_text: str
) -> dict[str, Any]:
    """The tables of a set with a run added."""
    tables = read_manifest(destination.manifest)
    runs = dict(tables.pop("runs", {}))
    if tables:
        differing = (
            key for key in (*RUN_FACTS, *SOFTWARE) if facts[key] != stated_fact(tables, key)
        )
        entry = entry | {key: facts[key] for key in differing}
    else:
        tables = facts | {"license": license_text}
    runs[destination.name] = entry
    return tables | {"runs": dict(sorted(runs.items()))}


def finished_settings(destination: Destination) -> str | None:
    """The fingerprint of the settings of a finished run, "" if it states none; None without a run.

    Raises:
        DataError: if the set's `dataset.toml` cannot be read.
    """
    entry = read_manifest(destination.manifest).get("runs", {}).get(destination.name)
    if entry is None or not destination.curve.exists():
        return None
    return str(entry.get("settings", ""))


def read_curve(path: Path) -> dict[str, NDArray[Any]]:
    """The columns of a run's CSV file, each of shape (rows,).

    Raises:
        DataError: if the file cannot be read as such a table.
    """
    try:
        header, *lines = read_text(path).splitlines()
        table = np.array([[float(value) for value in line.split(",")] for line in lines])
        named = dict(zip(header.split(","), table.T, strict=True))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} is not a curve of a proxy run ({error}); train it again", path=path
        ) from error
    return {
        name: column.astype(np.int64) if name in INTEGER_COLUMNS else column
        for name, column in named.items()
    }


def _check_facts(manifest: Path, tables: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Raise for the first fact in which a set and a new run must not differ but do."""
    if not tables:
        return
    for key in FIXED:
        value = stated_fact(tables, key)
        if value is None:
            raise ProxyError(
                f"{manifest} does not state {key}, so it is not a set of proxy runs; "
                "choose another folder with --out",
                path=manifest,
            )
        if value != facts[key]:
            raise ProxyError(
                f"{manifest} has {key} = {value!r} and this run has {facts[key]!r}: the losses "
                "would not be comparable; use the same value, or choose another folder with --out",
                path=manifest,
                value=facts[key],
            )


def _is_existing_folder(folder: Path) -> bool:
    """True for a folder, False where one can be created.

    Raises:
        OutputError: if there is a file, or the parent folder is not writable.
    """
    if os.path.isdir(folder):  # unlike Path.is_dir, never an OSError
        return True
    if os.path.lexists(folder):
        raise OutputError(f"{folder} is a file; pass a folder for the set", path=folder)
    parent = next(path for path in folder.absolute().parents if os.path.lexists(path))
    if not os.path.isdir(parent) or not os.access(parent, os.W_OK):
        raise OutputError(f"cannot make the folder {folder}: {parent} is not writable", path=folder)
    return False


def _spec_is_complete(trained: Schedule) -> bool:
    """Whether the spec determines the learning rates; not so if they come from a file or array."""
    if reads_files(trained.spec):
        return False  # relative to another folder, and the set should be self-contained
    try:
        return read_spec(trained.spec) == trained
    except ScalingLawsError:
        return False


def _csv_text(curve: TrainedCurve) -> str:
    """A curve as CSV: learning rates exact, so that they can be verified; the rest to 8 digits."""
    columns = curve.columns()
    cells = [
        [str(value) for value in values.tolist()]
        if name in INTEGER_COLUMNS
        else [repr(value) if name == "lr" else f"{value:.8g}" for value in values.tolist()]
        for name, values in columns.items()
    ]
    rows = [tuple(columns), *zip(*cells, strict=True)]
    return "\n".join(",".join(row) for row in rows) + "\n"
