"""A sweep in this process: results, what is skipped, what fails, the table, the options."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from scaling_laws.common.pools import PoolOptions, backends
from scaling_laws.proxy.sweep.budget import makespan
from scaling_laws.proxy.sweep.run_groups import RunGroup
from scaling_laws.proxy.sweep.run_progress import (
    Reporter,
    RunProgress,
    claimed,
    read_progress,
    write_progress,
)
from scaling_laws.proxy.sweep.sweep_training import prepare_sweep
from tests.sweep.plans import call, call_json, lasting, write_plan

SMALL = """
[[run]]
name = "{kind}"
kind = "constant"
schedule = "constant:peak=2e-3,steps=20"
[[run]]
name = "branch"
from = "constant@10"
schedule = "wsd:peak=2e-3,steps=30,decay_start=10"
[[run]]
name = "branch_of_branch"
from = "branch@20"
schedule = "wsd:peak=2e-3,steps=30,decay_start=10 + constant:peak=1e-4,steps=10"
"""
LATE = """
[[run]]
name = "late"
from = "constant@15"
schedule = "wsd:peak=2e-3,steps=30,decay_start=15"
"""
QUICK = ("--no-probe", "--backend", "local")
BROKEN = """
[[run]]
name = "mad"
schedule = "constant:peak=1e9,steps=20"
[[run]]
name = "child"
from = "mad@10"
schedule = "wsd:peak=1e9,steps=20,decay_start=10"
[[run]]
name = "sane"
schedule = "constant:peak=1e-3,steps=10"
"""


def test_a_sweep_and_the_same_again(tmp_path: Path) -> None:
    plan = write_plan(tmp_path, SMALL)
    found = call_json(plan, *QUICK)
    runs = found["runs"]
    assert list(runs) == ["constant", "branch", "branch_of_branch"]
    assert {run["state"] for run in runs.values()} == {"finished"}
    assert found["backend"] == "local"
    assert found["budget"]["flops"] > 0 and found["budget"]["seconds"] is None
    assert [group["steps"] for group in found["budget"]["groups"]] == [20, 20, 20]
    entries = tomllib.loads((tmp_path / "runs" / "dataset.toml").read_text())["runs"]
    assert entries["branch"]["from"] == "constant@10"
    before = lasting(tmp_path / "runs")
    again = call_json(plan, *QUICK)
    assert {run["state"] for run in again["runs"].values()} == {"skipped"}
    assert again["budget"]["flops"] == 0
    for name, run in again["runs"].items():
        assert run["final_loss"] == pytest.approx(runs[name]["final_loss"], rel=1e-6)
    assert lasting(tmp_path / "runs") == before

    for file in (tmp_path / "runs" / "checkpoints").iterdir():
        file.unlink()  # what was branched needs them no more
    write_plan(tmp_path, SMALL + LATE)
    more = call_json(plan, *QUICK)["runs"]
    assert [run["state"] for run in more.values()] == ["skipped"] * 3 + ["finished"]
    kept = [file.name for file in (tmp_path / "runs" / "checkpoints").iterdir()]
    assert kept == ["constant@15.npz"]  # trained again for its sake
    after = lasting(tmp_path / "runs")
    assert {name: after[name] for name in before} == before

    write_plan(tmp_path, SMALL.replace("2e-3", "3e-3"))
    refused = call(plan, *QUICK)
    assert refused.code == 2 and "with other settings" in refused.err
    assert lasting(tmp_path / "runs") == after


def test_a_run_that_fails_stops_its_branches_only(tmp_path: Path) -> None:
    plan = write_plan(tmp_path, BROKEN)
    result = call(plan, *QUICK, "--json")
    runs = json.loads(result.out)["runs"]
    assert result.code == 1
    states = {name: run["state"] for name, run in runs.items()}
    assert states == {"mad": "failed", "child": "failed", "sane": "finished"}
    assert "diverged" in runs["mad"]["error"]
    assert runs["child"]["error"] == "its parent mad failed"
    assert runs["mad"]["final_loss"] is None
    table = call(plan, "--status")
    assert table.code == 0
    assert "3 runs: 1 finished, 2 failed" in table.out
    assert "child: its parent mad failed" in table.out
    text = call(plan, *QUICK)
    assert text.code == 1 and "mad failed: " in text.out and "1 skipped, 2 failed" in text.out


def test_a_dry_run_measures_and_leaves_nothing(tmp_path: Path) -> None:
    plan = write_plan(tmp_path, SMALL)
    found = call_json(plan, "--backend", "local", "--dry-run")
    assert found["budget"]["seconds"] > 0
    assert {run["state"] for run in found["runs"].values()} == {"waiting"}
    given = call_json(plan, "--dry-run", "--rate", "1e6")["budget"]
    assert given["seconds"] == pytest.approx(given["flops"] / 1e6)  # a chain: one after the other
    assert not (tmp_path / "runs").exists()
    assert "3 runs to train" in call(plan, "--dry-run", "--no-probe").out


def test_shards_train_everything_once(tmp_path: Path) -> None:
    plan = write_plan(tmp_path, SMALL + BROKEN.split("[[run]]")[3].join(["[[run]]", ""]))
    shards = [
        call_json(plan, "--dry-run", "--no-probe", "--shard", f"{i}/2")["runs"] for i in (0, 1)
    ]
    assert [list(shard) for shard in shards] == [
        ["constant", "branch", "branch_of_branch"],
        ["sane"],
    ]
    script = call_json(plan, "--script", "slurm")
    assert script["shards"] == 2 and "--array=0-1" in script["text"]
    call_json(plan, "--script", "slurm", "--shards", 1, "--out", tmp_path / "job.sh")
    assert "--array=0-0" in (tmp_path / "job.sh").read_text()


def test_progress_of_a_killed_process_is_interrupted(tmp_path: Path) -> None:
    rows = prepare_sweep(write_plan(tmp_path, BROKEN)).runs
    with claimed(tmp_path, ["mad"]):
        reporter = Reporter(tmp_path)
        reporter.update("mad", 5, 20, 3.5, 100.0)
        reporter.update("mad", 10, 20, 3.4, 100.0)  # too soon after the first to be written
        training = read_progress(tmp_path, rows)[0]
        assert (training.state, training.step, training.loss) == ("training", 5, 3.5)
    assert [each.state for each in read_progress(tmp_path, rows)] == [
        "interrupted",
        "waiting",
        "waiting",
    ]
    write_progress(tmp_path, RunProgress("mad", "finished", 20, 20))
    assert read_progress(tmp_path, rows)[0].state == "finished"


def test_a_time_on_two_workers() -> None:
    groups = [
        RunGroup(0, (), frozenset()),
        RunGroup(1, (), frozenset({0})),
        RunGroup(2, (), frozenset({0})),
    ]
    seconds = {0: 3.0, 1: 2.0, 2: 1.0}
    assert makespan(groups, seconds, 1) == 6.0
    assert makespan(groups, seconds, 2) == 5.0


# options -> what the message must say
REFUSED = {
    "--status --dry-run": "--status and --dry-run exclude each other",
    "--shard 2/2": "must be I/N",
    "--rate 0": "must be positive",
    "--shards 3": "add --script",
    "--script kubernetes": "--image NAME",
    "--backend local --workers 2": "use --backend joblib",
    "--backend joblib --workers 0": "--workers 0 must be >= 1",
    "--backend local --scheduler tcp://x:1": "--scheduler requires --backend dask",
    "--backend dask --scheduler tcp://x:1 --workers 2": "has its own",
    "--fleet 0": "--fleet 0",
    "--checkpoint-every nan": "--checkpoint-every nan",
}


@pytest.mark.parametrize("words", REFUSED)
def test_refused_options(words: str, tmp_path: Path) -> None:
    result = call(write_plan(tmp_path, SMALL), *words.split())
    assert result.code == 2 and result.out == ""
    assert REFUSED[words] in result.err
    assert not (tmp_path / "runs").exists()


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(backends, "_installed", lambda library: False)
    plan = write_plan(tmp_path, SMALL)
    for name, library in (("dask", "distributed"), ("joblib", "joblib")):
        result = call(plan, "--backend", name)
        assert result.code == 2
        assert f"needs {library}; pip install 'scaling-laws[sweep]'" in result.err
    assert backends.choose_backend(PoolOptions(), 5, on_cpu=True).name == "local"
