"""Which reader reads a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scaling_laws.common import DataError, UsageError, find_by_name
from scaling_laws.data.logs.conventions import with_convention
from scaling_laws.data.logs.reader import LogTable, Match, Reader
from scaling_laws.data.logs.text import head_of
from scaling_laws.data.logs.unknown import describe_unknown

__all__ = ["find_reader", "read_with"]


def find_reader(path: Path, readers: Sequence[Reader], named: str | None = None) -> Reader:
    """The reader of a file: the requested one, else the one that recognises it most specifically.

    Args:
        path: a file or folder.
        readers: all readers.
        named: the requested format.

    Raises:
        UnreadableFileError: if there is no such file.
        DataError: if no reader recognises it, or several do.
        UsageError: if no reader has that name.
    """
    head = head_of(path)
    if named is not None:
        return find_by_name("format", named, readers, UsageError)
    matches = [(reader.detect(head), reader) for reader in readers]
    best = max(match for match, _ in matches)
    surest = [reader for match, reader in matches if match == best]
    if best is Match.NO:
        names = [reader.name for reader in readers]
        raise DataError(f"{path}: {describe_unknown(head, names)}", path=path)
    if len(surest) > 1:
        known = ", ".join(reader.name for reader in surest)
        raise DataError(f"{path}: it may be {known}; choose one with --format", path=path)
    return surest[0]


def read_with(reader: Reader, path: Path) -> tuple[LogTable, ...]:
    """The tables of a file, one per run.

    Raises:
        DataError: with the line of what cannot be used, or if the file contains no run.
    """
    try:
        tables = tuple(map(with_convention, reader.read(path)))
    except MemoryError:
        raise DataError(f"{path}: larger than this machine's memory", path=path) from None
    if not tables:
        raise DataError(f"{path}: the {reader.name} reader found no run in it", path=path)
    return tables
