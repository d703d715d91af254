"""SQLite databases of trackers, opened for reading only."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from scaling_laws.common import DataError, check_input, open_error
from scaling_laws.data.logs.reader import Head

__all__ = ["columns_in", "columns_of", "connected"]

MAGIC = b"SQLite format 3\x00"


@contextmanager
def connected(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that cannot write.

    Raises:
        UnreadableFileError: if there is no such file.
        DataError: if it is not a database, or a query fails.
    """
    try:
        check_input(path)
    except (OSError, ValueError) as error:
        raise open_error(path, error) from None
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            yield database
    except sqlite3.Error as error:
        raise DataError(
            f"{path}: cannot be read as an SQLite database: {error}", path=path
        ) from None


def columns_of(database: sqlite3.Connection, table: str) -> set[str]:
    """The columns of a table; none if there is no such table."""
    return {row[1] for row in database.execute(f"pragma table_info({table})")}


def columns_in(head: Head, table: str) -> set[str]:
    """The columns of a database's table; none if the file is not a database. It does not raise."""
    if not head.data.startswith(MAGIC):
        return set()
    try:
        with connected(head.path) as database:
            return columns_of(database, table)
    except (DataError, OSError, ValueError):
        return set()
