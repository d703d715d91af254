"""Read a plan of runs: `plan.toml` -> one `PlannedRun` per run.

```toml
[defaults]                      # settings of every run
size = "nano"
out = "runs/{size}"             # the set a run belongs to; relative to the plan
[[run]]
name = "constant_{peak}"
peak = [1e-3, 2e-3]             # a list is an axis: one run per value
schedule = "constant:peak={peak},steps=4000,warmup=100"
[[run]]
name = "wsd_{peak}"
peak = [1e-3, 2e-3]
from = "constant_{peak}@3200"   # a branch: shares the first 3200 updates of its parent
schedule = "wsd:peak={peak},steps=4000,warmup=100,decay_fraction=0.2"
```

Keys are the settings of ``proxy train``, the reserved `name`, `from`, `out`, `schedule` and
`license`, and any other key that a template refers to.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from scaling_laws.common import (
    ProxyError,
    ScalingLawsError,
    parse_toml,
    read_text,
    shown,
    unknown_name,
)
from scaling_laws.proxy.sweep.plan_templates import Scalar, fill

__all__ = ["MAX_RUNS", "RESERVED", "Parent", "PlannedRun", "SweepPlan", "naming_run", "read_plan"]

RESERVED = ("name", "from", "out", "schedule", "license")
RUN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")  # it becomes the name of a file
MAX_RUNS = 100_000  # a mistake in an axis must not exhaust the memory


@dataclass(frozen=True)
class Parent:
    """The start of a branch: after `step` updates of the run named `run`."""

    run: str
    step: int


@dataclass(frozen=True)
class PlannedRun:
    """One run of a plan.

    Attributes:
        name: of the run, unique in the plan.
        folder: absolute path of its set.
        settings: settings of ``proxy train`` in the plan, including `schedule`.
        parent: its branch point, or None for a run from scratch.
        where: location in the plan's file, for messages.
        license: licence of the curves, written when a set is new.
    """

    name: str
    folder: Path
    settings: Mapping[str, Scalar]
    parent: Parent | None
    where: str
    license: str = "unspecified"


@dataclass(frozen=True)
class SweepPlan:
    """All runs of a plan, in the order of the file.

    Attributes:
        path: absolute path of the file.
        runs: the runs; no two have the same name.
    """

    path: Path
    runs: tuple[PlannedRun, ...]

    @property
    def base(self) -> Path:
        """The folder to which relative paths in the plan refer."""
        return self.path.parent

    @property
    def work(self) -> Path:
        """The default work folder of a sweep: checkpoints, progress, locks."""
        return self.base / ".sweep" / self.path.stem


@contextlib.contextmanager
def naming_run(run: PlannedRun) -> Iterator[None]:
    """Prefix the errors of a block with the location of the run in its plan."""
    try:
        yield
    except ScalingLawsError as error:
        raise type(error)(
            f"{run.where}: {error}",
            path=error.path,
            row=error.row,
            column=error.column,
            value=error.value,
        ) from error


def read_plan(path: Path | str, known: tuple[str, ...]) -> SweepPlan:
    """Read and expand a plan. Only the syntax is checked here; see `plan_checks` for the rest.

    Args:
        path: the TOML file.
        known: names of the settings of ``proxy train``.

    Returns:
        The plan.

    Raises:
        ProxyError: naming the file, the table and the key, if anything is malformed.
    """
    file = Path(path).absolute()
    tables = _load(file, str(path))
    defaults = tables.get("defaults", {})
    if not isinstance(defaults, dict):
        raise ProxyError(f"{path}: defaults must be a table, [defaults]", path=path)
    run_tables = tables.get("run", [])
    if not isinstance(run_tables, list) or not all(isinstance(table, dict) for table in run_tables):
        raise ProxyError(f"{path}: runs must be tables in double brackets, [[run]]", path=path)
    if not run_tables:
        raise ProxyError(f"{path} has no [[run]]; a plan needs at least one", path=path)
    settings = frozenset(known) | set(RESERVED)
    _check_values(f"{path}: [defaults]", defaults)
    runs: list[PlannedRun] = []
    used: set[str] = set()
    for number, table in enumerate(run_tables, start=1):
        where = f"{path}: [[run]] {number}"
        _check_values(where, table)
        merged = table | {key: value for key, value in defaults.items() if key not in table}
        count = math.prod(len(axis) for axis in merged.values() if isinstance(axis, list))
        if len(runs) + count > MAX_RUNS:
            raise ProxyError(
                f"{where}: its lists make {count:,} runs; a plan may have {MAX_RUNS:,}",
                path=path,
                value=count,
            )
        referenced: set[str] = set()
        for values in _expanded(merged):
            filled, keys = fill(values, where)
            referenced |= keys
            runs.append(_planned_run(filled, settings, where, file.parent))
        _check_keys(where, table, settings, referenced)
        used |= referenced
    _check_keys(f"{path}: [defaults]", defaults, settings, used)
    _check_unique(runs)
    return SweepPlan(file, tuple(runs))


def _load(file: Path, shown: str) -> dict[str, object]:
    try:
        tables = parse_toml(read_text(file))
    except OSError as error:
        raise ProxyError(f"cannot read the plan {shown}: {error.strerror}", path=file) from error
    except ValueError as error:
        raise ProxyError(f"{shown}: not valid TOML: {error}; correct it", path=file) from error
    for key in tables:
        if key not in ("defaults", "run"):
            hint = unknown_name("table", key, ("defaults", "run"))
            raise ProxyError(
                f"{shown}: {hint}; settings of all runs belong under [defaults]",
                path=file,
                value=key,
            )
    return tables


def _expanded(table: Mapping[str, object]) -> Iterator[dict[str, Scalar]]:
    """One dictionary per element of the product of a table's lists; the last key varies fastest."""
    choices = [value if isinstance(value, list) else [value] for value in table.values()]
    for values in itertools.product(*choices):
        yield dict(zip(table, values, strict=True))


def _planned_run(
    filled: dict[str, Scalar], settings: frozenset[str], where: str, base: Path
) -> PlannedRun:
    texts = {key: _string(filled, key, where) for key in ("name", "out", "schedule")}
    name = texts["name"]
    kept = {key: value for key, value in filled.items() if key in settings - set(RESERVED)}
    if not RUN_NAME.fullmatch(name):
        raise ProxyError(
            f"{where}: run name {shown(name)} must consist of up to 200 letters, digits, '_', '.' "
            "and '-', and start with a letter, a digit or '_'",
            value=name,
        )
    parent = _parent(filled["from"], where) if "from" in filled else None
    if "\0" in texts["out"]:
        raise ProxyError(f"{where}, out: {shown(texts['out'])} is not a folder", value=texts["out"])
    folder = (base / texts["out"]).absolute()
    terms = _string(filled, "license", where) if "license" in filled else "unspecified"
    settings_of_run = kept | {"schedule": texts["schedule"]}
    return PlannedRun(name, folder, settings_of_run, parent, f"{where} (run {name!r})", terms)


def _string(filled: Mapping[str, Scalar], key: str, where: str) -> str:
    if key not in filled:
        raise ProxyError(f"{where}: {key} is missing; set it there or in [defaults]")
    value = filled[key]
    if not isinstance(value, str) or not value:
        raise ProxyError(f"{where}, {key}: {value!r} must be a non-empty string", value=value)
    return value


def _parent(value: Scalar, where: str) -> Parent:
    run, sign, step = str(value).rpartition("@")
    if not sign or not run or not re.fullmatch(r"[0-9]{1,12}", step) or int(step) < 1:
        raise ProxyError(
            f"{where}, from: {value!r} must be RUN@STEP, where STEP is the number of updates that "
            "the branch shares with RUN, e.g. constant_0.001@3200",
            value=value,
        )
    return Parent(run, int(step))


def _check_values(where: str, table: Mapping[str, object]) -> None:
    """Raise for a value that is not a string, number, boolean or non-empty list of these."""
    for key, value in table.items():
        items = value if isinstance(value, list) else [value]
        if not items:
            raise ProxyError(f"{where}, {key}: an empty list makes no run; add values")
        for item in items:
            if not isinstance(item, str | int | float):
                raise ProxyError(
                    f"{where}, {key}: {item!r} is not a string, number or boolean, or a list of "
                    "these",
                    value=item,
                )
            if isinstance(item, float) and not math.isfinite(item):
                raise ProxyError(f"{where}, {key}: {item} is not a finite number", value=item)


def _check_keys(
    where: str, table: Mapping[str, object], settings: frozenset[str], used: set[str]
) -> None:
    """Raise for a key without effect: neither a setting nor used by a template."""
    for key in table:
        if key not in settings and key not in used:
            raise ProxyError(
                f"{where}, {key}: no template uses {{{key}}}, and it is an "
                f"{unknown_name('setting', key, settings)}",
                value=key,
            )


def _check_unique(runs: list[PlannedRun]) -> None:
    first: dict[str, PlannedRun] = {}
    for run in runs:
        if run.name in first:
            other = first[run.name]
            raise ProxyError(
                f"{run.where}: {other.where.rpartition(' (')[0]} makes a run of the same name; "
                'make names unique, e.g. name = "cosine_{peak}"',
                value=run.name,
            )
        first[run.name] = run
