"""`scaling-laws inspect`: the command that it prints runs as it is printed."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

import scaling_laws as sl
from scaling_laws.interface.cli import main
from tests.cli.calls import assert_refused, call, call_json, snapshot

SPEC = "cosine:peak=0.001,end=0.0001,steps=400,warmup=20"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Two losses, a restart, a name that a shell would split."""
    plan = sl.schedule(SPEC)
    steps = [*range(0, 250, 10), *range(200, 400, 10)]
    rows = "".join(f"{s},{plan.lr[s]:.6e},{4 - s / 400},{4.1 - s / 400}\n" for s in steps)
    file = tmp_path / "my run.csv"
    file.write_text("iteration,lr,val_loss,train_loss\n" + rows)
    return file


def test_the_printed_command_runs(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = snapshot(tmp_path)
    shown = call("inspect", log)
    assert shown.code == 0 and shown.err == "" and snapshot(tmp_path) == before
    command = shown.out.rstrip().splitlines()[-1]
    program, *words = shlex.split(command)
    assert program == "scaling-laws" and main(words) == 0
    (run,) = sl.load_runs(tmp_path / "runs").values()
    assert run.schedule.spec == SPEC and run.loss[0] == 4.0
    assert max(map(len, shown.out.splitlines()[1:-1])) <= 80


def test_what_is_found(log: Path) -> None:
    (run,) = call_json("inspect", log)["runs"]
    assert run["reader"] == "csv" and run["ready"] and run["schedule"] == SPEC
    roles = {key["name"]: key["role"] for key in run["keys"]}
    assert roles == {"iteration": "step", "lr": "lr", "val_loss": "loss", "train_loss": "loss?"}
    assert any(each["kind"] == "repeats" and each["changed"] for each in run["findings"])
    assert "--loss-key val_loss" in run["command"]


def test_options_carry_into_the_command(log: Path) -> None:
    words = ("--loss-key", "train_loss", "--window", 10, "--weight-decay", 0.1, "--out", "a set")
    (run,) = call_json("inspect", log, *words)["runs"]
    for part in ("--loss-key train_loss", "--window 10", "--weight-decay 0.1", "--out 'a set'"):
        assert part in run["command"]


def test_a_missing_schedule_is_said(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("step,loss\n0,4\n10,3\n")
    shown = call("inspect", file)
    assert shown.code == 0 and "after the problem above is solved" in shown.out
    assert "learning rate" in " ".join(shown.out.split())
    refused = call("inspect", tmp_path / "none")
    assert_refused(refused, "none")


def test_several_keys_for_a_role_are_said(log: Path) -> None:
    shown = " ".join(call("inspect", log).out.split())
    assert "the loss: val_loss, train_loss; the command uses val_loss" in shown


def test_one_bad_file_does_not_hide_the_others(log: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.log"
    empty.write_text("")
    shown = call("inspect", empty, log)
    assert shown.code == 2 and "scaling-laws import" in shown.out
    assert "empty.log: " in " ".join(shown.out.split())
    assert call("inspect", log, log).code == 0
    alone = call("inspect", empty)
    assert_refused(alone, "empty.log")


def test_whole_keys_the_likely_ones_first(tmp_path: Path) -> None:
    key = "eval/a_corpus_with_a_long_name-validation/CrossEntropyLoss"
    file = tmp_path / "a.csv"
    header = ",".join([*(f"gpu/{index}" for index in range(40)), key, "my_lr", "step"])
    rows = "".join(f"{'1,' * 40}{4 - s / 400},1e-3,{s}\n" for s in range(0, 400, 10))
    file.write_text(f"{header}\n{rows}")
    (run,) = call_json("inspect", file)["runs"]
    assert [each["name"] for each in run["keys"]][:3] == ["step", key, "my_lr"]
    shown = call("inspect", file).out
    assert key in shown and "--loss-key KEY" in shown
    (run,) = call_json("inspect", file, "--loss-key", key)["runs"]
    assert not run["ready"] and "my_lr" in run["problem"]
