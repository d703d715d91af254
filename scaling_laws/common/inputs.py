"""The only place where the package opens a file to read: regular files, of bounded size.

A FIFO or a device may never end, so neither is opened. Functions raise the built-in `OSError`, as
`open` does; `open_error` turns it into an error of the package.
"""

from __future__ import annotations

import errno
import io
import json
import os
import stat
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from scaling_laws.common.errors import DataError, ScalingLawsError, UnreadableFileError

__all__ = [
    "MAX_COLUMNS",
    "MAX_DOCUMENT_BYTES",
    "MAX_INPUT_BYTES",
    "check_columns",
    "check_input",
    "open_bytes",
    "open_error",
    "open_text",
    "parse_json",
    "parse_toml",
    "read_text",
    "unique_keys",
]

MAX_INPUT_BYTES = 2**34  # 16 GiB: of files that are read piece by piece
MAX_DOCUMENT_BYTES = 2**30  # 1 GiB: of files that are parsed as a whole
MAX_COLUMNS = 20_000  # of a table
KINDS = (
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def check_input(path: Path | str, max_bytes: int | None = MAX_INPUT_BYTES) -> None:
    """Check that a file may be read, for a library that opens it by its name.

    Raises:
        OSError: as `open_bytes`.
    """
    _check(os.stat(path), path, max_bytes)


def open_bytes(path: Path | str, max_bytes: int | None = MAX_INPUT_BYTES) -> io.BufferedReader:
    """Open a file to read bytes.

    Args:
        path: of a regular file, or of a link to one.
        max_bytes: largest size allowed; None for any.

    Raises:
        OSError: if it does not exist, is a folder, a FIFO, a device or a socket, is larger than
            `max_bytes`, or cannot be opened.
        ValueError: if the path contains a null character.
    """
    check_input(path, max_bytes)  # before it is opened: opening a device may have effects
    # without blocking, in case another file took its place meanwhile
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
    try:
        _check(os.fstat(descriptor), path, max_bytes)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def open_text(
    path: Path | str,
    *,
    encoding: str = "utf-8",
    errors: str | None = None,
    newline: str | None = None,
    max_bytes: int | None = MAX_INPUT_BYTES,
) -> TextIO:
    """Open a file to read text; see `open_bytes` and, for the other arguments, the built-in `open`.

    Raises:
        OSError: as `open_bytes`.
    """
    return io.TextIOWrapper(open_bytes(path, max_bytes), encoding, errors, newline)


def read_text(
    path: Path | str, *, encoding: str = "utf-8", max_bytes: int = MAX_DOCUMENT_BYTES
) -> str:
    """The text of a file, with Unix line breaks.

    Raises:
        OSError: as `open_bytes`.
        UnicodeDecodeError: if it is not text in that encoding.
    """
    with open_text(path, encoding=encoding, max_bytes=max_bytes) as stream:
        return stream.read()


def open_error(path: Path | str, error: OSError | ValueError) -> ScalingLawsError:
    """The error to raise for a file that cannot be opened or read; one of the package's is kept."""
    if isinstance(error, ScalingLawsError):
        return error
    if isinstance(error, FileNotFoundError):
        return UnreadableFileError(f"{path}: no such file", path=path)
    if isinstance(error, IsADirectoryError):
        return UnreadableFileError(f"{path} is a folder, not a file", path=path)
    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
    return UnreadableFileError(f"{path}: cannot be read: {reason}", path=path)


def check_columns(path: Path | str, names: Sequence[str], row: int = 1) -> None:
    """Check the number of columns of a table before its rows are read.

    Raises:
        DataError: if there are more than `MAX_COLUMNS`.
    """
    if len(names) > MAX_COLUMNS:
        raise DataError(
            f"{path} row {row}: {len(names):,} columns; at most {MAX_COLUMNS:,} are read: keep "
            "those with steps, losses and learning rates",
            path=path,
            row=row,
            value=len(names),
        )


def parse_json(text: str) -> Any:
    """The value of a JSON document, in which a key occurs once per object.

    Raises:
        json.JSONDecodeError: if it is not JSON.
        ValueError: if a key is repeated, a number has thousands of digits, or the document is
            nested too deeply.

    >>> parse_json('{"a": 1, "a": 2}')
    Traceback (most recent call last):
    ...
    ValueError: the key 'a' occurs twice in one object
    """
    try:
        return json.loads(text, object_pairs_hook=unique_keys)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these pairs, for `json.loads`.

    Raises:
        ValueError: if a key is repeated.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {repeated[:60]!r} occurs twice in one object")
    return found


def parse_toml(text: str) -> dict[str, Any]:
    """The tables of a TOML document.

    Raises:
        ValueError: if it is not TOML, an integer has more than 64 bits, or the document is nested
            too deeply.
    """
    try:
        tables = tomllib.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    _check_integers(tables)
    return tables


def _check_integers(value: Any) -> None:
    """Raise for an integer that TOML does not allow; `tomllib` reads any."""
    if isinstance(value, dict):
        for item in value.values():
            _check_integers(item)
    elif isinstance(value, list):
        for item in value:
            _check_integers(item)
    elif isinstance(value, int) and value.bit_length() > 63:
        digits = value.bit_length() * 3 // 10
        raise ValueError(f"an integer of about {digits:,} digits; TOML allows 64 bits")


def _check(status: os.stat_result, path: Path | str, max_bytes: int | None) -> None:
    mode = status.st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    for is_kind, name in KINDS:
        if is_kind(mode):
            raise OSError(
                errno.EINVAL, f"it is {name}, not a regular file; write it to a file", str(path)
            )
    if max_bytes is not None and status.st_size > max_bytes:
        raise OSError(
            errno.EFBIG,
            f"it has {status.st_size:,} bytes; at most {max_bytes:,} are read",
            str(path),
        )
