"""Text of log files: encodings, the head of a file, numbered lines."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from scaling_laws.common import (
    DataError,
    open_bytes,
    open_error,
    open_text,
    parse_json,
    read_text,
)
from scaling_laws.data.logs.reader import Head

__all__ = ["encoding_of", "has_last_end", "head_of", "json_of", "lines_of", "open_error"]

FIRST, LAST = 2**18, 2**16  # bytes of a file by which its format is recognised
COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
BLOCK = 2**22
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def encoding_of(data: bytes) -> str:
    """The encoding by the first bytes of a file; UTF-8 by default.

    UTF-16 text without a byte order mark is recognised by every other byte being zero.
    """
    if len(data) >= 4 and not data.startswith(codecs.BOM_UTF16):
        zeros = [not byte for byte in data[:4]]
        if zeros in ([False, True, False, True], [True, False, True, False]):
            return "utf-16-be" if zeros[0] else "utf-16-le"
    return next((name for mark, name in MARKS if data.startswith(mark)), "utf-8-sig")


def has_last_end(stream: BinaryIO) -> bool:
    """Whether a file's last line has an end, in whatever encoding; moves the stream."""
    size = stream.seek(0, 2)
    stream.seek(max(size - 2, 0))
    return stream.read().rstrip(b"\x00").endswith((b"\n", b"\r"))


def json_of(path: Path, what: str) -> Any:
    """The document of a JSON file; `what` names in the error what it should be, as "a table".

    Raises:
        DataError: if the file is not complete JSON or cannot be read.
    """
    try:
        return parse_json(read_text(path, encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path} line {error.lineno}: incomplete or invalid JSON ({error.msg}); was the file "
            "truncated?",
            path=path,
            row=error.lineno,
        ) from None
    except OSError as error:
        raise open_error(path, error) from None
    except ValueError as error:
        raise DataError(f"{path}: not the JSON of {what}: {error}", path=path) from None


def head_of(path: Path) -> Head:
    """The head of a file or folder, by which readers recognise it.

    Raises:
        UnreadableFileError: if there is no such file, or it cannot be read.
    """
    try:
        if path.is_dir():
            return Head(path, names=tuple(sorted(entry.name for entry in path.iterdir())))
        with open_bytes(path) as stream:
            first = stream.read(FIRST)
            size = stream.seek(0, 2)
            stream.seek(max(size - LAST, len(first)))
            last = stream.read()
    except (OSError, ValueError) as error:
        raise open_error(path, error) from None
    encoding = encoding_of(first)
    if encoding.startswith("utf-16"):
        # the tail may begin within a code unit; the first part suffices
        return Head(path, first.decode(encoding, "replace"), first)
    text = first.decode("utf-8-sig", "replace") + "\n" + last.decode("utf-8", "replace")
    return Head(path, text, first)


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of a text log with their numbers, from 1; terminal colours are removed.

    Undecodable bytes become the replacement character, so that one broken line of a long log does
    not hide the others; a reader must not use a number from a line that contains one. A carriage
    return ends a line too, as a progress bar writes it; such a piece keeps its line's number. A
    line longer than 4 MiB comes in pieces.

    Raises:
        UnreadableFileError: if the file cannot be read.
    """
    try:
        with open_bytes(path) as stream:
            encoding = encoding_of(stream.read(4))
        with open_text(path, encoding=encoding, errors="replace", newline="\n") as lines:
            number, whole = 1, True
            while line := lines.readline(BLOCK):
                whole = line.endswith("\n")
                plain = COLOURS.sub("", line) if "\x1b" in line else line
                plain = plain.rstrip("\r\n")
                if "\r" in plain:
                    for piece in plain.split("\r"):
                        yield number, piece
                else:
                    yield number, plain
                number += whole
    except (OSError, ValueError) as error:
        raise open_error(path, error) from None
