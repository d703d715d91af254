"""What writers of sets share: the manifest that a run is entered in, and where schedules go."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from scaling_laws.common import DataError

__all__ = ["PLANS", "tables_to_extend"]

PLANS = "schedules"  # folder in a set for the rates of schedules that no spec gives


def tables_to_extend(manifest: Path) -> dict[str, Any]:
    """The tables of a set that a run is to be entered in; empty without a manifest.

    Raises:
        DataError: if it cannot be read, or its runs are no tables.
    """
    if not os.path.exists(manifest):  # unlike Path.exists, never an OSError
        return {}
    try:
        tables = tomllib.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{manifest}: cannot be read as TOML: {error}; mend or move it") from error
    runs = tables.get("runs", {})
    if not isinstance(runs, dict) or not all(isinstance(each, dict) for each in runs.values()):
        raise DataError(f'{manifest}: runs must be tables, [runs."NAME"]')
    return tables
