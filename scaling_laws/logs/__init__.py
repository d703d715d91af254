"""Logs of training runs, as trainers and trackers write them. One file a format.

To add a format: write one file that ends in a `Reader`, and add it to `READERS`.
"""

from __future__ import annotations

from pathlib import Path

from scaling_laws.errors import DataError
from scaling_laws.logs.base import REPEATS, Log, Reader
from scaling_laws.logs.runs import Imported, run_of
from scaling_laws.logs.wandb_history import WANDB_HISTORY

__all__ = ["READERS", "REPEATS", "Imported", "Log", "Reader", "is_log", "read_log", "run_of"]

READERS: tuple[Reader, ...] = (WANDB_HISTORY,)


def is_log(path: Path | str) -> bool:
    """Whether some reader takes the file."""
    return any(reader.recognises(Path(path)) for reader in READERS)


def read_log(path: Path | str, *, repeats: str = "last") -> Log:
    """Read a log.

    Args:
        path: the file.
        repeats: ``last`` or ``first``: which row of a step that was logged again counts.

    Raises:
        DataError: if no reader takes the file, or it cannot be used.
        UsageError: if `repeats` is another word.
    """
    file = Path(path)
    for reader in READERS:
        if reader.recognises(file):
            return reader.read(file, repeats)
    known = "; ".join(f"{reader.name} ({reader.meaning})" for reader in READERS)
    raise DataError(f"{file}: no reader takes it; known formats: {known}")
