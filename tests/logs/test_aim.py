"""Repositories of Aim; what the package does is tested where it is installed."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from scaling_laws.common.errors import DataError
from scaling_laws.data.logs import Match, find_reader, read_tables
from scaling_laws.data.logs.aim import AIM
from scaling_laws.data.logs.text import head_of
from tests.logs.test_tracker_readers import points

SYSTEM = "__system__cpu"


class Metric:
    """A metric as the package gives it: points in no order, counted from an hour."""

    def __init__(self, name: str, context: dict[str, Any], rows: list[tuple[int, int, float]]):
        self.name = name
        self.context = SimpleNamespace(to_dict=lambda: context)
        self.rows = rows

    def dataframe(self) -> pd.DataFrame:
        stamps = [pd.Timestamp(2026, 1, 1) + pd.Timedelta(seconds=each[0]) for each in self.rows]
        steps = [step for _, step, _ in self.rows]
        return pd.DataFrame(
            {"time": stamps, "step": steps, "value": [value for *_, value in self.rows]}
        )


class Run:
    hash = "abc123"
    name = "small"

    def metrics(self) -> Iterator[Metric]:
        yield Metric("loss", {"subset": "train"}, [(3, 20, 3.25), (1, 10, 3.5)])
        yield Metric("loss", {"rank": 1, "subset": "val"}, [(2, 10, math.nan)])
        yield Metric("step", {}, [(2, 10, 7.0)])
        yield Metric(SYSTEM, {}, [(0, 0, 50.0)])

    def __getitem__(self, key: Any) -> dict[str, Any]:
        assert key is ...
        return {"hparams": {"weight_decay": 0.1}, "seed": 3, "__system_params": {"env": "x"}}


class Unnamed(Run):
    hash = "def456"
    name = "Run: def456"

    def __getitem__(self, key: Any) -> dict[str, Any]:
        raise KeyError("No key () is present.")


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A package of the documented form, whose repositories hold what a test says."""
    held = SimpleNamespace(indexed=[Run()], every=["abc123"])

    def repo(path: str) -> SimpleNamespace:
        held.path = path
        return SimpleNamespace(
            iter_runs=lambda: iter(held.indexed), list_all_runs=lambda: held.every
        )

    held.Repo = repo
    monkeypatch.setitem(sys.modules, "aim", held)  # type: ignore[arg-type]
    return held


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("meta", "seqs"):
        (tmp_path / ".aim" / name).mkdir(parents=True)
    return tmp_path


def test_runs_of_a_repository(package: SimpleNamespace, folder: Path) -> None:
    package.indexed, package.every = [Run(), Unnamed()], ["abc123", "def456"]
    reader, (table, unnamed) = read_tables(folder)
    assert reader.name == "aim" and package.path == str(folder)
    assert (table.name, unnamed.name) == ("small", "def456")
    assert points(table, "train/loss") == [(10, 3.5), (20, 3.25)]  # in the order of time
    ((step, value),) = points(table, "loss {rank=1, subset=val}")
    assert step == 10 and math.isnan(value)
    assert points(table, "step (logged)") == [(10, 7.0)]
    assert not any(SYSTEM in key for key in table.columns)
    assert dict(table.config) == {"weight_decay": 0.1, "seed": 3} and not unnamed.config


def test_the_folder_itself_is_taken_too(package: SimpleNamespace, folder: Path) -> None:
    assert find_reader(folder / ".aim", (AIM,)) is AIM
    read_tables(folder / ".aim")
    assert package.path == str(folder)
    assert AIM.detect(head_of(folder / ".aim" / "meta")) is Match.NO


def test_runs_that_the_index_lacks_are_said(package: SimpleNamespace, folder: Path) -> None:
    package.every = ["abc123", "fff000"]
    _, (table,) = read_tables(folder)
    assert "1 runs are not in the repository's index" in table.notes[0]
    assert f"fff000; index them with aim storage --repo {folder} reindex" in table.notes[0]
    package.indexed = []
    with pytest.raises(DataError, match="2 runs are not in the repository's index"):
        read_tables(folder)


def test_refused(package: SimpleNamespace, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package.indexed, package.every = [], []
    with pytest.raises(DataError, match="no run tracked a number"):
        read_tables(folder)

    def broken(path: str) -> None:
        raise RuntimeError("Corruption: no MANIFEST")

    package.Repo = broken
    with pytest.raises(DataError, match="cannot open this repository: RuntimeError: Corruption"):
        read_tables(folder)
    with pytest.raises(DataError, match=r"not a repository of Aim"):
        read_tables(folder / ".aim" / "meta", format="aim")
    monkeypatch.setitem(sys.modules, "aim", None)
    with pytest.raises(DataError, match=r"pip install 'scaling-laws\[aim\]'"):
        read_tables(folder)


@pytest.mark.filterwarnings("ignore")
def test_a_repository_written_by_aim(tmp_path: Path) -> None:
    aim = pytest.importorskip("aim")
    repository = aim.Repo(str(tmp_path), init=True)
    run = aim.Run(repo=repository, system_tracking_interval=None)
    run.name = "small"
    run["hparams"] = {"weight_decay": 0.1}
    for step, loss in [(10, 3.5), (20, 3.4), (20, 3.25), (30, math.nan)]:
        run.track(loss, name="loss", step=step, context={"subset": "train"})
        time.sleep(0.01)
    run.track(1e-3, name="lr", step=30)
    run.close()
    del run
    repository._recreate_index()  # as `aim storage reindex` does
    del repository
    _, (table,) = read_tables(tmp_path)
    assert table.name == "small" and table.config["weight_decay"] == 0.1
    *first, (last, value) = points(table, "train/loss")
    # a step that is tracked again is replaced, not repeated
    assert first == [(10, 3.5), (20, 3.25)] and last == 30 and math.isnan(value)
    assert points(table, "lr") == [(30, 1e-3)]
