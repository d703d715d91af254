"""Only regular files of bounded size are read, and only in one place."""

from __future__ import annotations

import ast
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling_laws.common import (
    MAX_COLUMNS,
    DataError,
    UnreadableFileError,
    check_columns,
    open_bytes,
    open_error,
    open_text,
    parse_json,
    parse_toml,
    read_text,
)

PACKAGE = Path(__file__).resolve().parents[2] / "scaling_laws"
HERE = PACKAGE / "common" / "inputs.py"
READERS = {"read_text", "read_bytes", "loadtxt", "genfromtxt", "fromfile", "read_csv", "read_json"}
# what opens files by other means, and why that is no input
ALLOWED = {
    "common/compile_cache.py": "/proc/cpuinfo",
    "common/files.py": "files to be written",
    "data/logs/sqlite.py": "checked, then opened by SQLite",
    "data/runs/columns.py": "checked, then opened by pyarrow",
    "interface/cli/__init__.py": "a closed standard output",
    "proxy/training/corpus/token_cache.py": "arrays of the cache are memory-mapped",
}


def opened(path: Path) -> Iterator[str]:
    """Calls of a file that open another to read."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        modes = [
            argument.value
            for argument in (*node.args, *(keyword.value for keyword in node.keywords))
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
        ]
        writes = any(mode in ("w", "wb", "a", "ab", "x", "xb") for mode in modes)
        match node.func:
            case ast.Name("open") if not writes:
                yield f"line {node.lineno}: open"
            case ast.Attribute(ast.Name(owner), "open") if owner != "backend" and not writes:
                yield f"line {node.lineno}: {owner}.open"
            case ast.Attribute(ast.BinOp() | ast.Attribute() | ast.Call(), "open") if not writes:
                yield f"line {node.lineno}: .open"
            case ast.Attribute(_, name) if name in READERS | {"ParquetFile", "connect", "memmap"}:
                yield f"line {node.lineno}: .{name}"
            case ast.Attribute(_, "open_memmap"):
                yield f"line {node.lineno}: .open_memmap"


def test_nothing_else_opens_an_input() -> None:
    found = {
        f"{path.relative_to(PACKAGE)}, {call}"
        for path in PACKAGE.rglob("*.py")
        if path != HERE and str(path.relative_to(PACKAGE)) not in ALLOWED
        for call in opened(path)
    }
    assert not found, "open inputs with scaling_laws.common.open_bytes or open_text: " + "; ".join(
        sorted(found)
    )
    for name in ALLOWED:
        assert list(opened(PACKAGE / name)), f"{name} opens nothing; remove it from ALLOWED"
    assert list(opened(HERE))


def test_a_fifo_a_device_and_a_socket_are_refused(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo.csv"
    os.mkfifo(fifo)
    with pytest.raises(OSError, match="FIFO"):
        open_bytes(fifo)
    with pytest.raises(OSError, match="device"):
        open_text(os.devnull)
    with socket.socket(socket.AF_UNIX) as listener:
        place = os.open(tmp_path, os.O_RDONLY)
        try:
            listener.bind(f"/proc/self/fd/{place}/socket")
        finally:
            os.close(place)
        with pytest.raises(OSError, match="socket"):
            read_text(tmp_path / "socket")


def test_sizes_are_bounded_before_reading(tmp_path: Path) -> None:
    file = tmp_path / "sparse"
    file.touch()
    os.truncate(file, 2**40)
    with pytest.raises(OSError, match="1,099,511,627,776 bytes"):
        open_bytes(file)
    with open_bytes(file, max_bytes=None) as stream:
        assert stream.read(2) == b"\0\0"


def test_errors_name_the_file_and_the_reason(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path, reason in (
        (tmp_path / "none", "no such file"),
        (tmp_path, "is a folder"),
        (fifo, "it is a FIFO"),
        (tmp_path / "a\0b", "null"),
    ):
        with pytest.raises((OSError, ValueError)) as raised:
            open_bytes(path)
        error = open_error(path, raised.value)  # type: ignore[arg-type]
        assert isinstance(error, UnreadableFileError) and reason in str(error)
        assert error.path == str(path)


def test_columns_are_bounded() -> None:
    names = ["x"] * (MAX_COLUMNS + 1)
    check_columns("a.csv", names[1:])
    with pytest.raises(DataError, match="columns; at most") as raised:
        check_columns("a.csv", names)
    assert raised.value.value == MAX_COLUMNS + 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "deep"),
        ('{"a":' * 100_000, "deep"),
        ("1" * 5000, "digits"),
        ('{"a": {"b": 1, "b": 1}}', "'b' occurs twice"),
        ("{", "property name"),
    ],
)
def test_json_that_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_json(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = " + "[" * 5_000, "deep|Invalid"),
        (f"a = [{{b = {10**400}}}]", "TOML allows 64 bits"),
        ("a = " + "1" * 5000, "digits"),
        ("a = 1\na = 2", "overwrite"),
        (f"a = {2**63}", "64 bits"),
    ],
)
def test_toml_that_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_toml(text)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_json_reads_what_json_writes(value: object) -> None:
    assert parse_json(json.dumps(value)) == value
