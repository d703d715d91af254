"""Put a trained run into a set: an entry in `dataset.toml`, then `RUN.csv`.

Runs of a set have the same model, text and measurement; what else decides a curve is a fact of the
set, or of the run where it differs. A run whose loss would mean something else is turned away
before the training.
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
from filelock import FileLock
from numpy.typing import NDArray

from scaling_laws.common import (
    DataError,
    OutputError,
    ProxyError,
    ScalingLawsError,
    all_or_none,
    check_writable,
    make_folder,
    write_text,
)
from scaling_laws.data import SCHEDULES_FOLDER, read_manifest
from scaling_laws.models import Schedule, reads_files, write_schedule
from scaling_laws.models import schedule as read_spec
from scaling_laws.proxy.training.dataset_facts import FIXED, OWN, SOFTWARE, former, set_facts
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
LOCK = ".dataset.lock"  # held while a run is entered in its set; several processes may write one
WHOLE = ("step", "tokens")  # columns of whole numbers


@dataclass(frozen=True)
class Destination:
    """Where a run goes.

    Attributes:
        folder: the set.
        name: of the run.
        overwrite: whether a run of that name may be replaced.
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
        """A copy of the rates, for a schedule that came from a file or an array."""
        return self.folder / SCHEDULES_FOLDER / f"{self.name}.csv"


def default_name(schedule: Schedule, seed: int = 0) -> str:
    """A run name that says what a spec says; of a ``csv:`` spec, the file's name alone.

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
    """Fail before the training if the run could not be written after it.

    Raises:
        ProxyError: if the name is no file name, the run exists, or the set's `FIXED` facts differ.
        DataError: if the set's `dataset.toml` cannot be read.
        OutputError: if the folder is no folder or cannot be written.
    """
    name, folder = destination.name, destination.folder
    if not NAME.fullmatch(name):
        raise ProxyError(
            f"run name {name!r}: use up to 200 letters, digits, '_', '.' and '-', starting with a "
            "letter, a digit or '_'; pass --name"
        )
    if not _is_folder_or_free(folder):
        return
    paths = [destination.curve, destination.manifest]
    if not _says_all(config.schedule) and _is_folder_or_free(destination.plan.parent):
        paths.append(destination.plan)
    for path in paths:
        check_writable(path)
    tables = read_manifest(destination.manifest)
    # an entry without a curve is a write that was killed
    if destination.curve.exists() and not destination.overwrite:
        raise ProxyError(
            f"{folder} has a run {name!r} already; choose another with --name or pass --overwrite"
        )
    _check_facts(destination.manifest, tables, set_facts(config))


def differing_facts(destination: Destination, config: ProxyConfig) -> dict[str, tuple[Any, Any]]:
    """Facts of the set that a run does not share: name -> (the set's, the run's).

    They are written as the run's own, and laws that use them see the run's.
    """
    tables = read_manifest(destination.manifest)
    facts = set_facts(config)
    return {
        key: (former(tables, key), facts[key])
        for key in OWN
        if tables and former(tables, key) != facts[key]
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
    """Write a run and enter it in its set, the curve last; all of it or nothing.

    Several processes may write runs of one set: a lock in its folder lets one at a time in. A
    process that is killed here leaves an entry without a curve, which counts as no run.

    Args:
        destination: where it goes; the folder is made if it does not exist.
        config: what was trained.
        curve: what came of it.
        command: the command line that trains it again, if there is one.
        license_text: of the curves, for a set that does not exist yet.
        extra: more to say of the run.

    Returns:
        The files written.

    Raises:
        ScalingLawsError: as `check_destination`, which is asked again: training takes a while.
    """
    check_destination(destination, config)
    plan = None if _says_all(config.schedule) else destination.plan
    make_folder(destination.folder if plan is None else plan.parent)
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
    with FileLock(destination.folder / LOCK):
        check_destination(destination, config)  # another process may have begun the set
        with all_or_none(files):
            destination.curve.unlink(missing_ok=True)
            if plan is not None:
                write_schedule(plan, config.schedule)
                entry["schedule"] = f"csv:{SCHEDULES_FOLDER}/{destination.name}.csv"
            write_text(
                destination.manifest,
                tomli_w.dumps(_with_run(destination, set_facts(config), entry, license_text)),
            )
            write_text(destination.curve, _table(curve))
    return files


def _with_run(
    destination: Destination, facts: dict[str, Any], entry: dict[str, Any], license_text: str
) -> dict[str, Any]:
    """The tables of a set with a run entered."""
    tables = read_manifest(destination.manifest)
    runs = dict(tables.pop("runs", {}))
    if tables:
        own = (key for key in (*OWN, *SOFTWARE) if facts[key] != former(tables, key))
        entry = entry | {key: facts[key] for key in own}
    else:
        tables = facts | {"license": license_text}
    runs[destination.name] = entry
    return tables | {"runs": dict(sorted(runs.items()))}


def finished_settings(destination: Destination) -> str | None:
    """The settings' fingerprint of a run that is there, "" if it states none; None without a run.

    Raises:
        DataError: if the set's `dataset.toml` cannot be read.
    """
    entry = read_manifest(destination.manifest).get("runs", {}).get(destination.name)
    if entry is None or not destination.curve.exists():
        return None
    return str(entry.get("settings", ""))


def read_curve(path: Path) -> dict[str, NDArray[Any]]:
    """The columns of a run's CSV as it was written, each of shape (rows,).

    Raises:
        DataError: if the file is no such table.
    """
    try:
        header, *lines = path.read_text(encoding="utf-8").splitlines()
        table = np.array([[float(value) for value in line.split(",")] for line in lines])
        named = dict(zip(header.split(","), table.T, strict=True))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is no curve of a proxy run ({error}); train it again") from error
    return {key: each.astype(np.int64) if key in WHOLE else each for key, each in named.items()}


def _check_facts(manifest: Path, tables: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Raise for the first fact on which a set and a new run disagree."""
    if not tables:
        return
    for key in FIXED:
        found = former(tables, key)
        if found is None:
            raise ProxyError(
                f"{manifest} does not state {key}, so it is no set of proxy runs; "
                "choose another folder with --out"
            )
        if found != facts[key]:
            raise ProxyError(
                f"{manifest} has {key} = {found!r} and this run has {facts[key]!r}: the "
                "curves would not compare; train with the same, or choose another folder with --out"
            )


def _is_folder_or_free(folder: Path) -> bool:
    """True for a folder, False where one can be made.

    Raises:
        OutputError: if neither is so.
    """
    if os.path.isdir(folder):  # unlike Path.is_dir, never an OSError
        return True
    if os.path.lexists(folder):
        raise OutputError(f"{folder} is a file; give the name of a folder for the set")
    parent = next(each for each in folder.absolute().parents if os.path.lexists(each))
    if not os.path.isdir(parent) or not os.access(parent, os.W_OK):
        raise OutputError(f"cannot make the folder {folder}: {parent} is not writable")
    return False


def _says_all(plan: Schedule) -> bool:
    """Whether the spec alone gives the rates; that of a file or of a search's array does not."""
    if reads_files(plan.spec):
        return False  # its path starts elsewhere, and the set should stand alone
    try:
        return read_spec(plan.spec) == plan
    except ScalingLawsError:
        return False


def _table(curve: TrainedCurve) -> str:
    """A curve as CSV: rates exact, so that they can be checked; the rest to eight digits."""
    columns = curve.columns()
    written = [
        [str(value) for value in values.tolist()]
        if name in WHOLE
        else [repr(value) if name == "lr" else f"{value:.8g}" for value in values.tolist()]
        for name, values in columns.items()
    ]
    rows = [tuple(columns), *zip(*written, strict=True)]
    return "\n".join(",".join(row) for row in rows) + "\n"
