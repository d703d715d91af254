"""Runs in Parquet files that a set's `dataset.toml` names."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scaling_laws.common.errors import DataError
from scaling_laws.data.runs import load_runs, read_run
from tests.runs.test_read import LINEAR, LOG, make_set

arrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
TOML = f'[runs.a]\nfile = "a.parquet"\nschedule = "{LINEAR}"\n'
COLUMNS: dict[str, list[Any]] = {"step": [0, 2], "lr": [1.0, 0.5], "loss": [4.0, 3.0]}


def parquet_set(folder: Path, toml: str = TOML, **columns: list[Any]) -> Path:
    make_set(folder, toml)
    parquet.write_table(arrow.table({**COLUMNS, **columns}), folder / "a.parquet")
    return folder


def test_a_set_may_hold_both_kinds(tmp_path: Path) -> None:
    parquet_set(tmp_path, TOML + f'[runs.b]\nschedule = "{LINEAR}"\n', weight=[1.0, None])
    make_set(tmp_path, b=LOG)
    with pytest.raises(DataError, match=r"a\.parquet row 2, column 'weight': nan is not >= 0"):
        load_runs(tmp_path)
    parquet_set(tmp_path, TOML + f'[runs.b]\nschedule = "{LINEAR}"\n', weight=[1.0, 2.0])
    make_set(tmp_path, a="step,lr,loss\n0,1,9\n", b=LOG)  # the entry of a names the other file
    runs = load_runs(tmp_path)
    assert list(runs) == ["a", "b"]
    for name, run in runs.items():
        assert run.name == name and run.schedule.spec == LINEAR
        assert run.steps.tolist() == [0, 2] and run.loss.tolist() == [4.0, 3.0]
    assert np.asarray(runs["a"].weight).tolist() == [1.0, 2.0]
    assert list(load_runs(f"{tmp_path}:a")) == ["a"]
    assert read_run(tmp_path / "a.parquet").loss.tolist() == [4.0, 3.0]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"loss": [4.0, -3.0]}, "row 2, column 'loss': -3 is not > 0; delete the row"),
        ({"loss": [None, 3.0]}, "row 1, column 'loss': nan is not finite"),
        ({"loss": ["x", "y"]}, "column 'loss': contains string, not numbers"),
        ({"step": [2, 0]}, "row 2, column 'step': 0 must be a whole number from 0"),
        ({"step": [0.5, 2.0]}, "row 1, column 'step': 0.5 must be a whole number from 0"),
        ({"step": [0, 9]}, "row 2, column 'step': 9 is beyond the schedule's 4 steps"),
        ({"lr": [1.0, 0.9]}, "row 2, column 'lr': 0.9 is logged at step 2"),
    ],
)
def test_refused(tmp_path: Path, columns: dict[str, list[Any]], words: str) -> None:
    with pytest.raises(DataError) as caught:
        load_runs(parquet_set(tmp_path, **columns))
    assert str(caught.value).startswith(f"{tmp_path / 'a.parquet'}") and words in str(caught.value)


def test_files_that_are_no_curve(tmp_path: Path) -> None:
    parquet_set(tmp_path)
    file = tmp_path / "a.parquet"
    parquet.write_table(arrow.table({"step": [0], "val": [1.0]}), file)
    with pytest.raises(DataError, match="no column 'loss'; the columns are 'step', 'val'; rename"):
        load_runs(tmp_path)
    parquet.write_table(arrow.table({"step": [], "loss": []}), file)
    with pytest.raises(DataError, match="the file has columns but no rows"):
        load_runs(tmp_path)
    file.write_text(LOG)
    with pytest.raises(DataError, match=r"a\.parquet: not a valid Parquet file"):
        load_runs(tmp_path)
    file.unlink()
    with pytest.raises(DataError, match=r"run 'a' is listed but a\.parquet is missing"):
        load_runs(tmp_path)
    with pytest.raises(DataError, match=r"a\.parquet: no such file"):
        load_runs(f"{tmp_path}:a")


@pytest.mark.parametrize("file", ['"../a.parquet"', '"b.parquet"', "3"])
def test_a_file_is_the_runs_own(tmp_path: Path, file: str) -> None:
    make_set(tmp_path, f"[runs.a]\nfile = {file}\n", a=LOG)
    with pytest.raises(DataError, match=r"file = .* must be 'a\.csv' or 'a\.parquet'"):
        load_runs(tmp_path)


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet_set(tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(DataError, match=r"Parquet needs pyarrow.*scaling-laws\[logs\]"):
        load_runs(tmp_path)
