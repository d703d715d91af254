"""A screen on disk: its settings and the tally so far, so that it can go on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from scaling_laws.common import DataError, UsageError, write_with
from scaling_laws.decisions.screening.reduction import Tally

__all__ = ["load_state", "save_state"]

DIGESTS = ("edges", "parameters")  # say less to a reader than the others
NAMES = tuple(each.name for each in fields(Tally))


def save_state(path: Path, settings: Mapping[str, Any], tiles: int, tally: Tally) -> None:
    """Write settings, tiles done and tally; whole or not at all."""
    arrays = {name: getattr(tally, name) for name in NAMES}
    text = json.dumps(settings, sort_keys=True)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez(file, settings=np.array(text), tiles=np.array(tiles), **arrays)

    write_with(path, write)


def load_state(path: Path, settings: Mapping[str, Any]) -> tuple[int, Tally] | None:
    """Tiles done and the tally; None if there is no file.

    Raises:
        DataError: if the file is not one of a screen.
        UsageError: if it belongs to another one.
    """
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            stored = json.loads(str(file["settings"]))
            tiles = int(file["tiles"])
            tally = Tally(*(file[name] for name in NAMES))
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise DataError(
            f"{path} is not the state of a screen ({error}); give another --state, or remove it"
        ) from error
    wanted = json.loads(json.dumps(settings, sort_keys=True))
    other = sorted(
        (name for name in {*stored, *wanted} if stored.get(name) != wanted.get(name)),
        key=lambda name: (name in DIGESTS, name),
    )
    if other:
        raise UsageError(
            f"{path} belongs to another screen: {other[0]} is {_text(stored.get(other[0]))} there "
            f"and {_text(wanted.get(other[0]))} here"
            + (f" ({', '.join(other[1:])} too)" if other[1:] else "")
            + "; give another --state, or remove it"
        )
    return tiles, tally


def _text(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
