"""Readers of files: the right rows, or one error that names the line; never wrong rows."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scaling_laws.common.errors import DataError, UsageError
from scaling_laws.data.logs import READERS, Head, Match, read_tables

MEGATRON = (
    " [2026-01-01 10:00:00] iteration {0:8d}/    5000 | consumed samples: {1:12d} | "
    "elapsed time per iteration (ms): 100.0 | learning rate: {2:.6E} | global batch size:   256 | "
    "lm loss: {3:.6E} | loss scale: 1.0 | grad norm: 0.500 | number of skipped iterations:   0 | "
    "number of nan iterations:   0 |\n"
)
quick = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def megatron_line(step: int, loss: float = 3.0) -> str:
    return MEGATRON.format(step, 256 * step, 3e-4, loss)


def write(folder: Path, name: str, content: str | bytes) -> Path:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def columns(file: Path) -> dict[str, list[float]]:
    _, (table,) = read_tables(file)
    return {
        key: table.dense(key).tolist()
        for key in table.columns
        if table.columns[key].parse_error is None
    }


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "step,loss\n0,3.5\n10,3.25\n"),
        ("a.csv", "step;loss\r\n0;3.5\r\n10;3.25\r\n"),
        ("a.csv", '"step","loss"\n"0","3.5"\n\n"10","3.25"\n'),
        ("a.tsv", "step\tloss\n0\t3.5\n10\t3.25\n"),
        ("a.jsonl", '{"step": 0, "loss": 3.5}\n\n{"step": 10, "loss": 3.25}\n'),
        ("a.txt", '{"step": 0, "loss": 3.5}\n{"step": 10, "loss": 3.25}'),
    ],
)
def test_tables(tmp_path: Path, name: str, text: str) -> None:
    assert columns(write(tmp_path, name, text)) == {"step": [0.0, 10.0], "loss": [3.5, 3.25]}


def test_encodings(tmp_path: Path) -> None:
    text = "step,loss\n0,3.5\n10,3.25\n"
    wanted = {"step": [0.0, 10.0], "loss": [3.5, 3.25]}
    for encoding in ("utf-8-sig", "utf-16"):
        assert columns(write(tmp_path, "a.csv", text.encode(encoding))) == wanted
    with pytest.raises(DataError, match=r"a\.csv line 2: .*not UTF-8 text"):
        read_tables(write(tmp_path, "a.csv", b"step,loss\n0,\xff3\n"))


def test_nothing_and_nan_are_not_the_same(tmp_path: Path) -> None:
    texts = {
        "a.csv": "step,loss,lr\n0,nan,1e-3\n1,,2e-3\n2,3.5,null\n",
        "a.jsonl": '{"step":0,"loss":NaN,"lr":1e-3}\n{"step":1,"lr":2e-3}\n'
        '{"step":2,"loss":3.5,"lr":null}\n',
    }
    for name, text in texts.items():
        _, (table,) = read_tables(write(tmp_path, name, text))
        loss = table.columns["loss"]
        assert loss.rows.tolist() == [0, 2]
        assert math.isnan(loss.values[0]) and loss.values[1] == 3.5
        assert table.columns["lr"].rows.tolist() == [0, 1]


def test_parquet(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = arrow.table({"step": [0, 1, 2], "loss": [3.5, None, math.nan], "note": ["a", "b", "c"]})
    parquet.write_table(table, tmp_path / "a.parquet")
    _, (read,) = read_tables(tmp_path / "a.parquet")
    assert sorted(read.columns) == ["loss", "step"]
    assert read.columns["loss"].rows.tolist() == [0, 2]
    cut = (tmp_path / "a.parquet").read_bytes()[:-7]
    with pytest.raises(DataError, match="not a valid Parquet file"):
        read_tables(write(tmp_path, "b.parquet", cut))


def test_parquet_without_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(DataError, match=r"pip install 'scaling-laws\[logs\]'"):
        read_tables(write(tmp_path, "a.parquet", b"PAR1"))


def test_megatron(tmp_path: Path) -> None:
    text = "building model\n" + "".join(megatron_line(10 * each) for each in range(1, 4))
    text += (
        " validation loss at iteration 30 | lm loss value: 2.500000E+00 | lm loss PPL: 1.2E+01 |\n"
    )
    text += "\x1b[32m" + megatron_line(20, math.nan)
    _, (table,) = read_tables(write(tmp_path, "train.log", text))
    assert table.dense("iteration").tolist() == [10, 20, 30, 30, 20]
    assert table.dense("lm loss")[:3].tolist() == [3.0, 3.0, 3.0]
    assert table.columns["lm loss"].rows.tolist() == [0, 1, 2, 4]
    assert table.columns["lm loss validation"].values.tolist() == [2.5]
    assert (table.first_step, table.lr_offset, table.total_steps) == (1, 1, 5000)
    assert "lm loss" in table.averaged and table.lines.tolist() == [2, 3, 4, 5, 6]


@quick
@given(st.integers(0, 3 * len(megatron_line(1))))
def test_truncated_megatron_is_right_or_refused(tmp_path: Path, length: int) -> None:
    lines = [megatron_line(step, 3.0 + step / 7) for step in (1, 2, 3)]
    _check_megatron(tmp_path, "".join(lines)[:length])


@quick
@given(st.lists(st.tuples(st.integers(0, 900), st.integers(1, 300)), max_size=4))
def test_interleaved_megatron_is_right_or_refused(
    tmp_path: Path, moves: list[tuple[int, int]]
) -> None:
    lines = [megatron_line(step, 3.0 + step / 7) for step in (1, 2, 3)]
    text = "".join(lines)
    for at, length in moves:
        piece = text[at : at + length]
        text = text[:at] + text[at + length :]
        middle = len(text) // 2
        text = text[:middle] + piece + text[middle:]
    whole = [step for step in (1, 2, 3) if lines[step - 1] in text.splitlines(keepends=True)]
    try:
        _, (table,) = read_tables(write(tmp_path, "a.log", text), format="megatron")
    except DataError as error:
        assert "a.log" in str(error) and not whole
        return
    found = (
        set(zip(table.dense("iteration"), table.dense("lm loss").round(4), strict=True))
        if ("lm loss" in table.columns)
        else set()
    )
    assert found >= {(float(step), round(3.0 + step / 7, 4)) for step in whole}


def _check_megatron(folder: Path, text: str) -> None:
    try:
        _, (table,) = read_tables(write(folder, "a.log", text), format="megatron")
    except DataError as error:
        assert "a.log" in str(error)
        return
    if "lm loss" in table.columns:  # a line cut between two keys has lost its loss
        loss = table.columns["lm loss"]
        steps = table.dense("iteration")[loss.rows]
        np.testing.assert_allclose(loss.values, 3.0 + steps / 7, atol=1e-5)


@quick
@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.floats(0.01, 20.0)), min_size=2, max_size=20),
    st.integers(0, 10**6),
    st.sampled_from(["csv", "jsonl"]),
)
def test_truncated_tables_are_right_or_refused(
    tmp_path: Path, rows: list[tuple[int, float]], length: int, kind: str
) -> None:
    if kind == "csv":
        text = "step,loss\n" + "".join(f"{step},{loss!r}\n" for step, loss in rows)
    else:
        text = "".join(json.dumps({"step": step, "loss": loss}) + "\n" for step, loss in rows)
    text = text[: length % (len(text) + 1)]
    try:
        _, (table,) = read_tables(write(tmp_path, f"a.{kind}", text))
    except DataError:
        return
    steps = table.dense("step").tolist() if "step" in table.columns else []
    assert steps == [float(step) for step, _ in rows[: len(steps)]]
    if "loss" in table.columns and len(steps) > 1:
        assert table.dense("loss").tolist() == [loss for _, loss in rows[: len(steps)]]


@quick
@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(tmp_path: Path, content: bytes) -> None:
    for name in ("a.csv", "a.tsv", "a.jsonl", "a.json", "a.log"):
        try:
            read_tables(write(tmp_path, name, content))
        except DataError as error:
            assert name in str(error)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "", "the file is empty"),
        ("a.csv", "step,loss\n", "a header but no rows"),
        ("a.csv", "0,3.5\n1,3.4\n", r"line 1: numbers \(0, 3\.5\) where column names"),
        ("a.csv", "step,step\n0,1\n", "column 'step' appears twice"),
        ("a.csv", "step,loss\n0,3.5\n1\n2,3.4\n", "line 3: 1 cells under a header of 2"),
        ("a.csv", "step,loss\n0,3.5\n1,3.4,7\n", "line 3: 3 cells under a header of 2"),
        ("a.jsonl", '{"step": 0}\noops\n{"step": 1}\n', "line 2: not JSON .*'oops'"),
        ("a.jsonl", "[1]\n", "line 1: .* is not a JSON object"),
        ("a.log", "nothing here\n", "no reader recognises it"),
    ],
)
def test_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_tables(write(tmp_path, name, text))


def test_words_in_a_column_are_an_error_on_use_only(tmp_path: Path) -> None:
    _, (table,) = read_tables(write(tmp_path, "a.csv", "step,when\n0,noon\n1,night\n"))
    with pytest.raises(DataError, match="line 2, column 'when': 'noon' is not a number"):
        table.dense("when")


def test_huge_lines(tmp_path: Path) -> None:
    huge = "x" * 5_000_000 + "\n" + megatron_line(1) + megatron_line(2)
    _, (table,) = read_tables(write(tmp_path, "a.log", huge + "y" * 5_000_000), format="megatron")
    assert table.dense("iteration").tolist() == [1, 2] and table.lines.tolist() == [2, 3]


def test_the_surest_reader_reads_and_a_named_one_is_obeyed(tmp_path: Path) -> None:
    file = write(tmp_path, "train.csv", megatron_line(1))
    reader, _ = read_tables(file)
    assert reader.name == "megatron"  # its marks beat the ending
    with pytest.raises(DataError, match="no row"):
        read_tables(file, format="csv")
    with pytest.raises(UsageError, match="unknown format 'megatronn'; did you mean 'megatron'"):
        read_tables(file, format="megatronn")


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_detection_never_raises(reader: object, tmp_path: Path) -> None:
    heads = [Head(tmp_path), Head(tmp_path / "a", "{", b"{"), Head(tmp_path / "b", "\x00\n" * 9)]
    for head in heads:
        assert reader.detect(head) in Match  # type: ignore[attr-defined]


def test_many_lines(tmp_path: Path) -> None:
    rows = "".join(f"{step},{3.5 - 1e-5 * step:.6f}\n" for step in range(100_000))
    _, (table,) = read_tables(write(tmp_path, "a.csv", "step,loss\n" + rows))
    assert np.array_equal(table.dense("step"), np.arange(100_000))
