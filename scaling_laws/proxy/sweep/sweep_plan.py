"""Read a plan of runs: `plan.toml` -> one row a run.

```toml
[defaults]                      # settings of every run
size = "nano"
out = "runs/{size}"             # the set a run goes to; relative to the plan
[[run]]
name = "constant_{peak}"
peak = [1e-3, 2e-3]             # a list is an axis: one run for each of its values
schedule = "constant:peak={peak},steps=4000,warmup=100"
[[run]]
name = "wsd_{peak}"
peak = [1e-3, 2e-3]
from = "constant_{peak}@3200"   # a branch: the first 3200 updates are the parent's
schedule = "wsd:peak={peak},steps=4000,warmup=100,decay_fraction=0.2"
```

Keys are the settings of ``proxy train``, the reserved `name`, `from`, `out`, `schedule` and
`license`, and any other word that a template uses.
"""

from __future__ import annotations

import itertools
import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from scaling_laws.common import ProxyError, unknown_name
from scaling_laws.proxy.sweep.plan_templates import Scalar, fill

__all__ = ["MAX_ROWS", "RESERVED", "Parent", "PlannedRun", "SweepPlan", "read_plan"]

RESERVED = ("name", "from", "out", "schedule", "license")
MAX_ROWS = 100_000  # a slip in an axis should not fill the memory


@dataclass(frozen=True)
class Parent:
    """Where a branch begins: after `step` updates of the run of that name."""

    run: str
    step: int


@dataclass(frozen=True)
class PlannedRun:
    """One run of a plan.

    Attributes:
        name: of the run, unique in the plan.
        folder: absolute path of the set it goes to.
        settings: those of ``proxy train`` that the plan gives, `schedule` among them.
        parent: where it branches off, or None for a run from scratch.
        where: the place in the plan's file, for messages.
        license: of the curves, written when a set is new.
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
        rows: one a run; no two have the same name.
    """

    path: Path
    rows: tuple[PlannedRun, ...]

    @property
    def base(self) -> Path:
        """The folder that relative paths of the plan start from."""
        return self.path.parent

    @property
    def work(self) -> Path:
        """The default folder of what a sweep keeps: checkpoints, progress, locks."""
        return self.base / ".sweep" / self.path.stem


def read_plan(path: Path | str, known: tuple[str, ...]) -> SweepPlan:
    """Read and expand a plan. Only the text is checked; see `checks` for what it means.

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
        raise ProxyError(f"{path}: defaults must be a table, [defaults]")
    runs = tables.get("run", [])
    if not isinstance(runs, list) or not all(isinstance(each, dict) for each in runs):
        raise ProxyError(f"{path}: runs are tables in double brackets, [[run]]")
    if not runs:
        raise ProxyError(f"{path} has no [[run]]; a plan needs one or more")
    settings = frozenset(known) | set(RESERVED)
    _check_values(f"{path}: [defaults]", defaults)
    rows: list[PlannedRun] = []
    used: set[str] = set()
    for number, table in enumerate(runs, start=1):
        where = f"{path}: [[run]] {number}"
        _check_values(where, table)
        merged = table | {key: value for key, value in defaults.items() if key not in table}
        count = math.prod(len(each) for each in merged.values() if _is_axis(each))
        if len(rows) + count > MAX_ROWS:
            raise ProxyError(f"{where}: its lists make {count:,} runs; at most {MAX_ROWS:,} a plan")
        asked: set[str] = set()
        for values in _expanded(merged):
            filled, words = fill(values, where)
            asked |= words
            rows.append(_row(filled, settings, where, file.parent))
        _check_keys(where, table, settings, asked)
        used |= asked
    _check_keys(f"{path}: [defaults]", defaults, settings, used)
    _check_unique(rows)
    return SweepPlan(file, tuple(rows))


def _load(file: Path, shown: str) -> dict[str, object]:
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProxyError(f"cannot read the plan {shown}: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ProxyError(f"{shown}: cannot be read as TOML: {error}; mend it") from error
    for key in tables:
        if key not in ("defaults", "run"):
            hint = unknown_name("table", key, ("defaults", "run"))
            raise ProxyError(f"{shown}: {hint}; settings of all runs go below [defaults]")
    return tables


def _is_axis(value: object) -> bool:
    return isinstance(value, list)


def _expanded(table: Mapping[str, object]) -> Iterator[dict[str, Scalar]]:
    """One dictionary for each member of the product of a table's lists, the last key fastest."""
    choices = [value if isinstance(value, list) else [value] for value in table.values()]
    for values in itertools.product(*choices):
        yield dict(zip(table, values, strict=True))


def _row(filled: dict[str, Scalar], settings: frozenset[str], where: str, base: Path) -> PlannedRun:
    texts = {key: _string(filled, key, where) for key in ("name", "out", "schedule")}
    name = texts["name"]
    kept = {key: value for key, value in filled.items() if key in settings - set(RESERVED)}
    parent = _parent(filled["from"], where) if "from" in filled else None
    folder = (base / texts["out"]).absolute()
    terms = _string(filled, "license", where) if "license" in filled else "unspecified"
    settings_of_row = kept | {"schedule": texts["schedule"]}
    return PlannedRun(name, folder, settings_of_row, parent, f"{where} (run {name!r})", terms)


def _string(filled: Mapping[str, Scalar], key: str, where: str) -> str:
    if key not in filled:
        raise ProxyError(f"{where}: {key} is missing; give it there or in [defaults]")
    value = filled[key]
    if not isinstance(value, str) or not value:
        raise ProxyError(f"{where}, {key}: {value!r} must be a text")
    return value


def _parent(value: Scalar, where: str) -> Parent:
    run, sign, step = str(value).rpartition("@")
    if not sign or not run or not re.fullmatch(r"[0-9][0-9_]*", step) or int(step) < 1:
        raise ProxyError(
            f"{where}, from: {value!r} must be RUN@STEP, the updates of the run that the branch "
            "shares, e.g. constant_0.001@3200"
        )
    return Parent(run, int(step))


def _check_values(where: str, table: Mapping[str, object]) -> None:
    """Raise for a value that is no text, number, truth value or non-empty list of those."""
    for key, value in table.items():
        items = value if isinstance(value, list) else [value]
        if not items:
            raise ProxyError(f"{where}, {key}: an empty list makes no run; give it values")
        for item in items:
            if not isinstance(item, str | int | float):
                raise ProxyError(
                    f"{where}, {key}: {item!r} is no text, number or truth value, nor a list of "
                    "such"
                )
            if isinstance(item, float) and not math.isfinite(item):
                raise ProxyError(f"{where}, {key}: {item} is not a finite number")


def _check_keys(
    where: str, table: Mapping[str, object], settings: frozenset[str], used: set[str]
) -> None:
    """Raise for a key that does nothing: no setting, and in no template."""
    for key in table:
        if key not in settings and key not in used:
            raise ProxyError(
                f"{where}, {key}: no template uses {{{key}}}, and it is an "
                f"{unknown_name('setting', key, settings)}"
            )


def _check_unique(rows: list[PlannedRun]) -> None:
    first: dict[str, PlannedRun] = {}
    for row in rows:
        if row.name in first:
            other = first[row.name]
            raise ProxyError(
                f"{row.where}: {other.where.rpartition(' (')[0]} makes a run of this name too; "
                'put what differs into the name, e.g. name = "cosine_{peak}"'
            )
        first[row.name] = row
