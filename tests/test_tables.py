"""Numeric columns from CSV files: what is accepted, and which row and column is blamed."""

from __future__ import annotations

import math
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling_laws.common import tables
from scaling_laws.common.errors import DataError
from scaling_laws.common.tables import MAX_STEPS, cell_error, check_steps, read_columns, read_header

NAN = math.nan


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "run.csv"


ACCEPTED: dict[str, tuple[bytes, list[list[float]]]] = {
    "plain": (b"step,loss,lr\n0,3.5,1\n1,3.25,2\n", [[0, 3.5, 1], [1, 3.25, 2]]),
    "no last line end": (b"step,loss,lr\n0,3.5,1\n1,3.25,2", [[0, 3.5, 1], [1, 3.25, 2]]),
    "CRLF": (b"step,loss,lr\r\n0,3.5,1\r\n1,3.25,2\r\n", [[0, 3.5, 1], [1, 3.25, 2]]),
    "byte order mark": (b"\xef\xbb\xbfstep,loss,lr\n0,3.5,1\n", [[0, 3.5, 1]]),
    "blank lines": (b"\nstep,loss,lr\n\n0,3.5,1\n   \n\n1,3,2\n\n", [[0, 3.5, 1], [1, 3, 2]]),
    "spaces": (b" step , loss ,lr \n 0, 3.5 ,1  \n", [[0, 3.5, 1]]),
    "quotes": (b'"step","loss","lr"\n"0","3.5","1"\n', [[0, 3.5, 1]]),
    "decimal steps": (b"step,loss,lr\n0.0,3.5,1\n1e3,3,1\n", [[0, 3.5, 1], [1000, 3, 1]]),
    "other order": (b"lr,step,loss\n1,0,3.5\n", [[0, 3.5, 1]]),
    "more columns": (b'step,note,loss,lr\n0,"a, b",3.5,1\n1,x,3,2\n', [[0, 3.5, 1], [1, 3, 2]]),
    "empty optional cell": (b"step,loss,lr\n0,3.5,\n1,3, \n2,3,NaN\n", [[i, x, NAN] for i, x in
                            ((0, 3.5), (1, 3), (2, 3))]),
    "no optional column": (b"step,loss\n0,3.5\n", [[0, 3.5]]),
    "unnamed last column": (b"step,loss,lr,\n0,3.5,1,\n", [[0, 3.5, 1]]),
}  # fmt: skip


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted(file: Path, name: str) -> None:
    content, rows = ACCEPTED[name]
    file.write_bytes(content)
    found = read_columns(file, ["step", "loss"], ["lr"])
    np.testing.assert_array_equal(np.stack(list(found.values()), axis=1), rows)
    assert list(found) == ["step", "loss", "lr"][: len(rows[0])]
    assert all(column.dtype == np.float64 for column in found.values())


REFUSED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "the file is empty; it needs a header row"),
    "only blank lines": (b"\n\n  \n", "the file is empty"),
    "only a byte order mark": (b"\xef\xbb\xbf", "the file is empty"),
    "header only": (b"step,loss\n", "the file has a header but no rows"),
    "missing column": (b"step,Loss\n0,1\n", "row 1: no column 'loss'; the columns are 'step', 'L"),
    "missing, header lower down": (b"\n\nstep\n0\n", "row 3: no column 'loss'"),
    "semicolons": (b"step;loss\n0;1\n", "no column 'step'; the columns are 'step;loss'; separate"),
    "tabs": (b"step\tloss\n0\t1\n", "separate the cells with commas"),
    "duplicate column": (b"step,loss, loss\n0,1,1\n", "row 1: column 'loss' appears twice"),
    "text": (b"step,loss\n0,1\n1,abc\n", "row 3, column 'loss': 'abc' is not a number"),
    "truth": (b"step,loss\n0,True\n", "row 2, column 'loss': 'True' is not a number"),
    "hexadecimal": (b"step,loss\n0x1,1\n", "row 2, column 'step': '0x1' is not a number"),
    "null byte": (b"step,loss\n0,\x001\n", "row 2, column 'loss': '\\x001' is not a number"),
    "NaN": (b"step,loss\n0,1\n1,nan\n", "row 3, column 'loss': 'nan' is not finite"),
    "infinite": (b"step,loss\n-inf,1\n", "row 2, column 'step': '-inf' is not finite"),
    "overflow": (b"step,loss\n0,1e999\n", "row 2, column 'loss': '1e999' is not finite"),
    "infinite optional": (b"step,loss,lr\n0,1,inf\n", "row 2, column 'lr': 'inf' is not finite"),
    "text optional": (b"step,loss,lr\n0,1,1\n1,1,NA\n", "row 3, column 'lr': 'NA' is not a num"),
    "empty cell": (b"step,loss\n0,1\n1,\n", "row 3, column 'loss': the cell is empty"),
    "short row": (b"step,note,loss\n0,a,1\n1\n", "row 3, column 'note': the row ends before it"),
    "long row": (b"step,loss\n0,1\n1,1,7\n", "row 3: 3 cells under a header of 2 (1,1,7)"),
    "long first row": (b"step,loss\n0,1,7\n1,1\n", "row 2: 3 cells under a header of 2"),
    "decimal comma": (b"step,loss\n0,4,25\n1,4,1\n",
                      "row 2: 3 cells under a header of 2 (0,4,25)"),
    "after blank lines": (b"step,loss\n\n0,1\n\n  \n1,x\n", "row 6, column 'loss': 'x'"),
    "after a quoted line end": (b'step,note,loss\n0,"a\nb",1\n1,c,x\n',
                                "row 3, column 'loss': 'x'"),
    "first of two": (b"step,loss\n0,1\n1,x\ny,1\n", "row 3, column 'loss': 'x'"),
    "first across kinds": (b"step,loss\n0,inf\n1,x\n2,1,1\n", "row 2, column 'loss': 'inf'"),
    "open quote": (b'step,loss\n0,1\n"1,1\n2,1\n', "row 3, column 'loss': the row ends before it"),
    "very long cell": (b"step,loss\n0," + b"9" * 200_000 + b"\n",
                       "row 2: broken CSV (field larger"),
    "latin-1": ("step,loss,größe\n0,1,2\n".encode("latin-1"), "line 1: byte 0xf6 is not UTF-8"),
    "latin-1 below": (b"step,note,loss\n" + b"0,a,1\n" * 9000 + b"1,\xf6,1\n",
                      "line 9002: byte 0xf6"),
    "UTF-16": ("step,loss\n0,1\n".encode("utf-16"), "line 1: byte 0xff is not UTF-8 text; save"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(file: Path, name: str) -> None:
    content, message = REFUSED[name]
    file.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_columns(file, ["step", "loss"], ["lr"])
    assert str(caught.value).startswith(str(file))
    assert message in str(caught.value)
    assert len(str(caught.value)) < len(str(file)) + 250


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing.csv", "no such file"),
        (".", "is a folder, not a file"),
        ("x" * 300, "cannot be read: .*too long"),
        ("a\0b", "cannot be read: embedded null"),
    ],
)
def test_bad_paths(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(DataError, match=f"(?i){message}"):
        read_header(tmp_path / name)


def test_header(file: Path) -> None:
    file.write_text('\n step ,"loss, smoothed",lr\n')
    assert read_header(file) == ["step", "loss, smoothed", "lr"]


@pytest.mark.parametrize("chunk", [1, 2, 3, 4, 5, 100])
def test_chunks_change_nothing(file: Path, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "CHUNK_ROWS", chunk)
    lines = ["step,loss", "0,5", "", "1,4", "2,3", "  ", "3,2"]
    file.write_text("\n".join(lines))
    assert read_columns(file, ["step", "loss"])["loss"].tolist() == [5, 4, 3, 2]
    for number, bad in ((2, "x,5"), (4, "1,nan"), (5, "2"), (7, "3,")):
        file.write_text("\n".join([*lines[: number - 1], bad, *lines[number:]]))
        with pytest.raises(DataError, match=f"row {number}, column"):
            read_columns(file, ["step", "loss"])


def test_memory_goes_to_the_numbers_only(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "CHUNK_ROWS", 1000)
    rows = 100_000
    file.write_text("step,loss,note\n" + "".join(f"{i},3.25,{'x' * 90}\n" for i in range(rows)))
    numbers = rows * 2 * 8
    tracemalloc.start()
    try:
        found = read_columns(file, ["step", "loss"])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(found["step"]) == rows
    # the pieces and the table they become, and about 1 MB for a chunk's text; the file has 10 MB
    assert peak < 2 * numbers + 2_000_000 < file.stat().st_size


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_numbers_are_read_exactly(tmp_path_factory: pytest.TempPathFactory, x: list[float]) -> None:
    path = tmp_path_factory.getbasetemp() / "exact.csv"
    path.write_text("x\n" + "".join(f"{value!r}\n" for value in x))
    np.testing.assert_array_equal(read_columns(path, ["x"])["x"], x)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (["0", "1", "1"], "row 4, column 'step': 1 does not increase (the previous row has 1)"),
        (["5", "3", "4"], "row 3, column 'step': 3 does not increase (the previous row has 5)"),
        (["-3", "0"], "row 2, column 'step': -3 is negative"),
        (["0", "-1"], "row 3, column 'step': -1 is negative"),
        (["0", "0.5"], "row 3, column 'step': 0.5 is not a whole number"),
        (["0", "1", "1.0000001"], "row 4, column 'step': 1.0000001 is not a whole number"),
        (["0", "", "", "7", "7"], "row 6, column 'step': 7 does not increase"),
        (["0", "1e300"], "row 3, column 'step': 1e+300 is not below 10,000,000 steps"),
        (["4", "3", "0.5"], "row 3, column 'step': 3 does not increase"),
    ],
)
def test_steps(file: Path, steps: list[str], message: str) -> None:
    file.write_text("\n".join(["step", *steps]))
    with pytest.raises(DataError) as caught:
        check_steps(file, read_columns(file, ["step"])["step"])
    assert message in str(caught.value)


def test_good_steps_pass(file: Path) -> None:
    check_steps(file, np.array([0.0, 1.0, 7.0, MAX_STEPS - 1.0]))


def test_cell_error_counts_rows_as_a_spreadsheet_does(file: Path) -> None:
    file.write_text('\nstep,note\n0,"a\n\nb"\n\n1,c\n')
    assert str(cell_error(file, 1, "step", "odd")) == f"{file} row 5, column 'step': odd"
