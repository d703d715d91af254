"""Put a trained run into a set: `RUN.csv` first, then the set's `dataset.toml`.

A set holds runs that differ in schedule and seed alone. Whatever else decides a curve is a fact of
the set, and a run that disagrees with it is turned away before the training.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import tomli_w

from scaling_laws import __version__
from scaling_laws.errors import DataError, OutputError, ProxyError, ScalingLawsError
from scaling_laws.files import check_writable, make_folder, write_bytes, write_text
from scaling_laws.proxy.training import BETA1, BETA2, CLIP, Curve, ProxyConfig
from scaling_laws.schedules import Schedule, reads_files, write_schedule
from scaling_laws.schedules import schedule as read_spec

__all__ = ["Destination", "check_destination", "default_name", "set_facts", "write_run"]

COLUMNS = ("step", "lr", "loss", "train_loss", "grad_norm", "param_norm")
LOSS = "validation cross-entropy of the next byte, in nats per byte, on a fixed held-out slice"
# facts that a curve depends on: runs of one set share them
SHARED = (
    "size",
    "model_params",
    "optimizer",
    "beta1",
    "beta2",
    "clip",
    "weight_decay",
    "batch",
    "context",
    "validation_tokens",
    "corpus_hash",
)
# facts that may move on while a set grows: a run states its own where it differs
SOFTWARE = ("scaling_laws", "python", "jax", "optax", "numpy")
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
PLANS = "schedules"  # folder in a set for the rates of schedules that no spec gives


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
        return self.folder / PLANS / f"{self.name}.csv"


def default_name(schedule: Schedule, seed: int = 0) -> str:
    """A run name that says what a spec says; of a ``csv:`` spec, the file's name alone.

    >>> from scaling_laws.schedules import schedule
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


def set_facts(config: ProxyConfig) -> dict[str, Any]:
    """What `dataset.toml` says of all runs that share a configuration's size, corpus and decay."""
    size, corpus = config.size, config.corpus
    windows = config.validation_windows
    facts: dict[str, Any] = {
        "title": f"Proxy runs: a byte transformer of size {size.name} on {corpus.name}",
        "source": "trained with scaling-laws proxy train; each run has its command",
        "size": size.name,
        "model_params": size.parameters,
        "optimizer": "adamw",
        "beta1": BETA1,
        "beta2": BETA2,
        "clip": CLIP,
        "weight_decay": float(config.weight_decay),
        "tokens_per_step": size.tokens_per_step,
        "batch": size.batch,
        "context": size.context,
        "validation_tokens": int(windows.shape[0] * windows.shape[1] * size.context),
        "loss": LOSS,
        "corpus": corpus.name,
        "corpus_hash": corpus.digest,
        "scaling_laws": __version__,
        "python": platform.python_version(),
        **{package: version(package) for package in ("jax", "optax", "numpy")},
    }
    if corpus.entropy_rate is not None:
        facts["entropy_rate"] = corpus.entropy_rate
    return facts


def check_destination(destination: Destination, config: ProxyConfig) -> None:
    """Fail before the training if the run could not be written after it.

    Raises:
        ProxyError: if the name is no file name, the run exists, or the set's facts differ.
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
    tables = _read(destination.manifest)
    exists = destination.curve.exists() or name in tables.get("runs", {})
    if exists and not destination.overwrite:
        raise ProxyError(
            f"{folder} has a run {name!r} already; choose another with --name or pass --overwrite"
        )
    _check_facts(destination.manifest, tables, set_facts(config))


def write_run(
    destination: Destination,
    config: ProxyConfig,
    curve: Curve,
    *,
    command: str = "",
    license_text: str = "unspecified",
) -> list[Path]:
    """Write a run and enter it in its set, the entry last; all of it or nothing.

    Args:
        destination: where it goes; the folder is made if it does not exist.
        config: what was trained.
        curve: what came of it.
        command: the command line that trains it again, if there is one.
        license_text: of the curves, for a set that does not exist yet.

    Returns:
        The files written.

    Raises:
        ScalingLawsError: as `check_destination`, which is asked again: training takes a while.
    """
    check_destination(destination, config)
    plan = None if _says_all(config.schedule) else destination.plan
    make_folder(destination.folder if plan is None else plan.parent)
    files = [path for path in (plan, destination.curve, destination.manifest) if path is not None]
    with _all_or_none(files):
        _write(destination, config, curve, plan, command, license_text)
    return files


def _write(
    destination: Destination,
    config: ProxyConfig,
    curve: Curve,
    plan: Path | None,
    command: str,
    license_text: str,
) -> None:
    entry: dict[str, Any] = {
        "schedule": config.schedule.spec,
        "seed": config.seed,
        "command": command,
        "seconds": round(curve.seconds, 1),
    }
    if plan is not None:
        write_schedule(plan, config.schedule)
        entry["schedule"] = f"csv:{PLANS}/{destination.name}.csv"
    write_text(destination.curve, _table(COLUMNS, _rows(curve)))
    tables = _read(destination.manifest)
    facts = set_facts(config)
    runs = dict(tables.pop("runs", {}))
    if tables:
        entry |= {key: facts[key] for key in SOFTWARE if facts[key] != tables.get(key)}
    else:
        tables = facts | {"license": license_text}
    runs[destination.name] = entry
    tables["runs"] = dict(sorted(runs.items()))
    write_text(destination.manifest, tomli_w.dumps(tables))


@contextlib.contextmanager
def _all_or_none(files: list[Path]) -> Iterator[None]:
    """Put files back as they were if not all of them come to be written."""
    before = {path: path.read_bytes() if path.exists() else None for path in files}
    try:
        yield
    except BaseException:  # a full disk, or Ctrl-C between two files
        for path, content in before.items():
            if content is None:
                path.unlink(missing_ok=True)
            else:
                with contextlib.suppress(OutputError):
                    write_bytes(path, content)
        raise


def _read(manifest: Path) -> dict[str, Any]:
    if not manifest.exists():
        return {}
    try:
        tables = tomllib.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{manifest}: cannot be read as TOML: {error}; mend or move it") from error
    if not isinstance(tables.get("runs", {}), dict):
        raise DataError(f'{manifest}: runs must be tables, [runs."NAME"]')
    return tables


def _check_facts(manifest: Path, tables: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Raise for the first fact on which a set and a new run disagree."""
    if not tables:
        return
    for key in SHARED:
        if key not in tables:
            raise ProxyError(
                f"{manifest} does not state {key}, so it is no set of proxy runs; "
                "choose another folder with --out"
            )
        if tables[key] != facts[key]:
            raise ProxyError(
                f"{manifest} has {key} = {tables[key]!r} and this run has {facts[key]!r}: the "
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


def _rows(curve: Curve) -> list[tuple[str, ...]]:
    return [
        (str(step), repr(float(lr)), *(f"{float(value):.8g}" for value in values))
        for step, lr, *values in zip(
            *(getattr(curve, column).tolist() for column in COLUMNS), strict=True
        )
    ]


def _table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return "\n".join(",".join(row) for row in (columns, *rows)) + "\n"
