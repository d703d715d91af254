"""Options of single logs of a batch, from a TOML file: a table for each path or pattern.

``["ladder/190M-*.csv"]`` followed by ``warmup = 363`` and ``schedule = "SPEC"``: the names of the
options of `import`, with ``-`` or ``_``. They override the options of the command line; of several
tables that match a log, the later one counts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from scaling_laws.common import DataError, UnreadableFileError, UsageError, unknown_name
from scaling_laws.data.importing.options import Options
from scaling_laws.data.runs import FACTS
from scaling_laws.data.runs.manifest import read_manifest

__all__ = ["OptionTables", "check_patterns", "options_of_log", "read_log_options"]

OptionTables = Mapping[str, Mapping[str, Any]]
# options that are words; True and False stand for flags, other options are whole numbers
WORDS = frozenset(
    {
        "format",
        "step_key",
        "lr_key",
        "loss_key",
        "tokens_key",
        "samples_key",
        "repeats",
        "run_key",
        "schedule",
        "between",
        "parent",
    }
)
FLAGS = frozenset({"split_restarts", "drop_spikes", "drop_skipped"})
NAMES = tuple(field.name for field in fields(Options) if field.name != "facts")


def read_log_options(path: Path | str) -> OptionTables:
    """The tables of a file of options, by pattern, with their names and types checked.

    Raises:
        UnreadableFileError: if there is no such file.
        DataError: if it is not TOML, or an option is unknown or of the wrong type.
    """
    file = Path(path)
    if not os.path.exists(file):
        raise UnreadableFileError(f"{file}: no such file", path=file)
    tables: dict[str, Mapping[str, Any]] = {}
    for pattern, table in read_manifest(file).items():
        if not isinstance(table, dict):
            raise DataError(
                f'{file}: {pattern} = {table!r} must be a table of a log: ["{pattern}"], then '
                "its options",
                path=file,
                value=table,
            )
        tables[pattern] = {
            _name(file, pattern, key): _checked(file, pattern, key, value)
            for key, value in table.items()
        }
    return tables


def _name(file: Path, pattern: str, key: str) -> str:
    name = key.replace("-", "_")
    if name not in NAMES and name not in FACTS:
        known = [other.replace("_", "-") for other in (*NAMES, *FACTS)]
        raise DataError(
            f"{file}, [{pattern!r}]: {unknown_name('option', key, known)}", path=file, value=key
        )
    return name


def _checked(file: Path, pattern: str, key: str, value: Any) -> Any:
    name = key.replace("-", "_")
    if name in WORDS:
        good, what = isinstance(value, str), "text"
    elif name in FLAGS:
        good, what = isinstance(value, bool), "true or false"
    elif name in NAMES:
        good = type(value) is int and (value >= 0 or name == "lr_offset")
        good, what = good or (name == "from_step" and value == "warmup"), "a whole number"
    else:
        good, what = type(value) in (int, float), "a number"
    if not good:
        raise DataError(
            f"{file}, [{pattern!r}]: {key} = {value!r} must be {what}", path=file, value=value
        )
    return value


def _matches(log: Path | str, pattern: str) -> bool:
    return any(fnmatchcase(name, pattern) for name in (str(log), Path(log).name))


def check_patterns(tables: OptionTables, logs: Sequence[Path | str]) -> None:
    """Refuse a table that no log matches.

    Raises:
        UsageError: naming it.
    """
    for pattern in tables:
        if not any(_matches(log, pattern) for log in logs):
            raise UsageError(
                f"options for {pattern!r}: no log has this name; the logs are "
                f"{', '.join(map(str, logs))[:200]}",
                value=pattern,
            )


def options_of_log(log: Path | str, options: Options, tables: OptionTables) -> Options:
    """The options of one log of a batch.

    Args:
        log: its path.
        options: of all logs.
        tables: see `read_log_options`.
    """
    values: dict[str, Any] = {}
    for pattern, table in tables.items():
        if _matches(log, pattern):
            values |= table
    facts = {name: float(values.pop(name)) for name in list(values) if name not in NAMES}
    return replace(options, **values, facts={**options.facts, **facts})
