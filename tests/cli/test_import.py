"""`scaling-laws import`: its report, its errors, and a set that `fit` takes."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import scaling_laws as sl
from tests.cli.calls import TRUTH, assert_refused, call, call_json, snapshot

SPECS = {
    "constant": "constant:peak=0.001,steps=296,warmup=20",  # the log shows no step after 295
    "cosine": "cosine:peak=0.001,end=0.0001,steps=400,warmup=20",
}


@pytest.fixture
def logs(tmp_path: Path) -> list[Path]:
    files = []
    noise = np.random.default_rng(0)
    for name, spec in SPECS.items():
        plan = sl.schedule(spec)
        steps = np.arange(0, plan.steps, 5)
        loss = TRUTH.predict(plan, steps.tolist()).loss * np.exp(noise.normal(0, 1e-3, steps.size))
        rows = zip(steps, plan.lr[steps], loss, strict=True)
        file = tmp_path / f"{name}.tsv"
        file.write_text(
            "global_step\tlearning_rate\tloss\n"
            + "".join(f"{s}\t{lr:.8e}\t{x:.6f}\n" for s, lr, x in rows)
        )
        files.append(file)
    return files


def test_import_then_fit(logs: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "set"
    words = ("--weight-decay", 0.1, "--title", "mine", "--license", "MIT", "--optimizer", "adamw")
    found = call_json("import", *logs, "--out", out, *words)
    assert {name: run["schedule"] for name, run in found["runs"].items()} == SPECS
    manifest = tomllib.loads((out / "dataset.toml").read_text())
    assert manifest["title"] == "mine" and manifest["runs"]["cosine"]["weight_decay"] == 0.1
    assert manifest["runs"]["cosine"]["import"]["reader"] == "tsv"
    law = tmp_path / "law.json"
    words = ("--law", "linear_drop", "--starts", 2, "--from-step", 40)  # a rate of 0 explodes
    fitted = call_json("fit", out, *words, "--out", law)
    assert fitted["runs"]["cosine"]["mae"] < 0.01
    assert str(tmp_path) not in (out / "dataset.toml").read_text()


def test_the_report_in_words(logs: list[Path], tmp_path: Path) -> None:
    shown = call("import", logs[1], "--out", tmp_path / "set", "--tokens-per-step", 4096)
    assert shown.code == 0 and shown.err == ""
    assert f"schedule  {SPECS['cosine']}" in shown.out
    assert "tokens_per_step 4096" in shown.out and "next: scaling-laws fit" in shown.out


def test_refused_and_nothing_written(logs: list[Path], tmp_path: Path) -> None:
    before = snapshot(tmp_path)
    for words, message in (
        ((tmp_path / "none.csv",), "none.csv"),
        ((*logs, "--name", "x"), "--name x: constant cosine"),
        ((logs[0], "--loss-key", "los"), "--loss-key: 'los' 'loss'"),
        ((logs[0], "--run", "other"), "--run: 'other'"),
        ((logs[0], "--format", "cvs"), "'cvs' 'csv'"),
        ((logs[0], "--schedule", "cosin:peak=1"), "'cosin' 'cosine'"),
        ((logs[0], "--steps-per-update", 0), "--steps-per-update 0 >= 1"),
        ((logs[0], "--parent", "main"), "--parent main: RUN@STEP"),
    ):
        shown = call("import", *words, "--out", tmp_path / "set")
        assert_refused(shown, message)
    assert snapshot(tmp_path) == before


def test_parquet_in_place_of_the_table(logs: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("pyarrow.parquet")
    call_json("import", *logs, "--out", tmp_path / "tables")
    found = call_json("import", *logs, "--out", tmp_path / "set", "--parquet")
    assert sorted(path.name for path in (tmp_path / "set").glob("[!.]*")) == [
        "constant.parquet",
        "cosine.parquet",
        "dataset.toml",
    ]
    assert found["files"][0] == str(tmp_path / "set" / "constant.parquet")
    runs, tables = sl.load_runs(tmp_path / "set"), sl.load_runs(tmp_path / "tables")
    assert list(runs) == list(tables) == ["constant", "cosine"]
    for name, run in runs.items():
        assert run.schedule == tables[name].schedule and run.facts == tables[name].facts
        assert run.steps.tolist() == tables[name].steps.tolist()
        assert run.loss.tolist() == tables[name].loss.tolist()
    words = ("--law", "linear_drop", "--starts", 2, "--from-step", 40, "--draws", 0)
    both = [
        call_json("fit", f"{tmp_path / kind}:cosine,constant", *words, "--out", tmp_path / "x.json")
        for kind in ("set", "tables")
    ]
    assert both[0]["params"] == both[1]["params"]
    # the same run as a CSV again: its Parquet file goes, or the set would have two curves of it
    call_json("import", logs[0], "--out", tmp_path / "set", "--overwrite")
    assert not (tmp_path / "set" / "constant.parquet").exists()
    assert (
        sl.load_runs(tmp_path / "set")["constant"].loss.tolist() == runs["constant"].loss.tolist()
    )


def test_averages_and_branches(logs: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "set"
    found = call_json("import", logs[1], "--out", out, "--average-window", 4)
    assert found["runs"]["cosine"]["window"] == 16 and found["runs"]["cosine"]["points"] == 20
    rows = logs[1].read_text().splitlines()
    branch = tmp_path / "branch.tsv"  # its last 100 steps, counted from 0
    anew = [f"{int(row.split()[0]) - 300}\t{row.split(None, 1)[1]}" for row in rows[61:]]
    branch.write_text("\n".join([rows[0], *anew]) + "\n")
    shown = call("import", branch, "--out", out, "--parent", "cosine@300")
    assert_refused(shown, "--step-offset 300")
    words = ("--parent", "cosine@300", "--step-offset", 300)
    found = call_json("import", branch, "--out", out, *words)
    assert found["runs"]["branch"]["schedule"] == SPECS["cosine"]
    assert found["runs"]["branch"]["first_step"] == 300
    runs = sl.load_runs(out)
    assert runs["branch"].schedule == runs["cosine"].schedule


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from scaling_laws.interface.cli import build_parser;"
        "build_parser().format_help();"
        "assert not {'jax', 'pandas', 'scipy', 'pyarrow', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
