"""The stored state of a screen, from which it resumes: settings and reducer state."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from scaling_laws.common import DataError, UsageError, open_bytes, write_with
from scaling_laws.decisions.screening.reduction import ReducerState

__all__ = ["StateFile", "load_state", "save_state"]

DIGESTS = ("edges", "parameters")  # less informative in messages than the other settings
# in the order of the fields of `ReducerState`; the file format does not change with the code
KEYS = (
    "value",
    "slot",
    "arm_value",
    "arm_slot",
    "draw_value",
    "draw_slot",
    "counts",
    "refused",
)


@dataclass(frozen=True, eq=False)
class StateFile:
    """The file that stores a screen.

    Attributes:
        path: of the file.
        settings: that a stored screen must have.
        writes: whether this process writes it; one process of a cluster does.
    """

    path: Path
    settings: Mapping[str, Any]
    writes: bool

    def load(self, like: ReducerState, tiles: int) -> tuple[int, ReducerState | None]:
        """Completed tiles and the reducer state; 0 and None if there is no file.

        Args:
            like: a state of the same shapes.
            tiles: number of tiles of the screen.

        Raises:
            DataError: if the file is not the state of a screen.
            UsageError: if it belongs to a screen with other settings.
        """
        stored = load_state(self.path, self.settings)
        if stored is None:
            return 0, None
        kinds = [
            [(leaf.shape, leaf.dtype) for leaf in vars(state).values()]
            for state in (stored[1], like)
        ]
        if kinds[0] != kinds[1] or not 0 <= stored[0] <= tiles:
            raise DataError(
                f"{self.path}: the stored state is damaged; give another --state, or remove it",
                path=self.path,
            )
        return stored

    def save(self, tiles: int, reducer: ReducerState) -> None:
        """Write the completed tiles and the reducer state."""
        if self.writes:
            save_state(self.path, self.settings, tiles, reducer)


def save_state(path: Path, settings: Mapping[str, Any], tiles: int, reducer: ReducerState) -> None:
    """Write settings, completed tiles and the reducer state atomically."""
    arrays = {
        key: getattr(reducer, field.name)
        for key, field in zip(KEYS, fields(ReducerState), strict=True)
    }
    text = json.dumps(settings, sort_keys=True)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez(file, settings=np.array(text), tiles=np.array(tiles), **arrays)

    write_with(path, write)


def load_state(path: Path, settings: Mapping[str, Any]) -> tuple[int, ReducerState] | None:
    """Completed tiles and the reducer state; None if there is no file.

    Raises:
        DataError: if the file is not the state of a screen.
        UsageError: if it belongs to a screen with other settings.
    """
    if not path.exists():
        return None
    try:
        with open_bytes(path) as raw, np.load(raw, allow_pickle=False) as file:
            stored = json.loads(str(file["settings"]))
            tiles = int(file["tiles"])
            reducer = ReducerState(*(file[key] for key in KEYS))
    except Exception as error:  # a damaged archive raises many kinds of exceptions
        raise DataError(
            f"{path} is not the state of a screen ({error}); give another --state, or remove it"
        ) from error
    current = json.loads(json.dumps(settings, sort_keys=True))
    differing = sorted(
        (name for name in {*stored, *current} if stored.get(name) != current.get(name)),
        key=lambda name: (name in DIGESTS, name),
    )
    if differing:
        first, *others = differing
        raise UsageError(
            f"{path} belongs to another screen: {first} is {_text(stored.get(first))} there and "
            f"{_text(current.get(first))} here"
            + (f" ({', '.join(others)} too)" if others else "")
            + "; give another --state, or remove it"
        )
    return tiles, reducer


def _text(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
