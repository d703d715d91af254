"""`replan`: its keys, its words, its files, restarted logs end to end, and what it refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scaling_laws as sl
from scaling_laws.interface.cli.replan import render
from tests.cli.calls import TRUTH, assert_refused, call, call_json, snapshot

PLAN = "wsd:peak=1e-3,steps=400,warmup=20,decay_fraction=0.25"
NOW = 200


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in progress: its log ends at step 199, its plan at step 400."""
    file = tmp_path_factory.mktemp("replan") / "run.csv"
    plan = sl.schedule(PLAN)
    steps = np.arange(9, NOW, 5)
    losses = TRUTH.predict(plan, steps.tolist()).loss
    rows = zip(steps, plan.lr[steps], losses, strict=True)
    file.write_text("step,lr,loss\n" + "".join(f"{s},{lr},{loss}\n" for s, lr, loss in rows))
    return file


@pytest.fixture(scope="module")
def result(log: Path, law_file: Path) -> dict[str, Any]:
    folder = log.parent
    words = ("--schedule", PLAN, "--law", law_file, "--budgets", "300,600")
    outputs = ("--out", folder / "best.csv", "--plot", folder / "replan.png")
    return call_json("replan", log, *words, *outputs)


def test_keys_of_the_interface(result: dict[str, Any]) -> None:
    keys = "run law scope params now plan best cooldowns stopping notes seconds plot"
    assert list(result) == keys.split()
    assert result["now"] == {"step": NOW, "loss": pytest.approx(3.07, abs=0.01), "lr": 1e-3}
    assert result["plan"]["spec"] == PLAN and result["plan"]["steps"] == 400
    wanted = TRUTH.predict(PLAN).final_loss
    low, high = result["plan"]["interval_90"]
    assert low < wanted < high and abs(result["plan"]["final_loss"] - wanted) < 0.01
    gain = result["plan"]["final_loss"] - result["best"]["final_loss"]
    assert result["best"]["gain"] == pytest.approx(gain)
    assert [each["steps"] for each in result["cooldowns"]] == [300, 600]
    names = ["steps", "start", "shape", "final_loss", "interval_90", "spec"]
    assert all(list(each) == names for each in result["cooldowns"])
    names = ["step", "stopped_now", "cooled_down", "interval_90", "start"]
    assert all(list(each) == names for each in result["stopping"])


def test_files(result: dict[str, Any]) -> None:
    written = sl.schedule(f"csv:{result['best']['schedule_file']}")
    assert written.steps == 400 and np.array_equal(written.lr[:NOW], sl.schedule(PLAN).lr[:NOW])
    assert Path(result["plot"]).read_bytes().startswith(b"\x89PNG")


def test_as_text(result: dict[str, Any]) -> None:
    lines = render(result).splitlines()
    assert lines[0] == "run run" and lines[1].startswith("now   step 200 of 400, loss ")
    assert lines[2].startswith(f"plan  {result['plan']['final_loss']:.4f}  [")
    assert lines[2].endswith(PLAN)
    assert lines[3].startswith(f"best  {result['best']['final_loss']:.4f}  [")
    assert any("cool down" in line for line in lines)
    assert (
        lines[-2] == f"wrote {result['best']['schedule_file']}: the best schedule, one row per step"
    )
    assert lines[-1] == f"wrote {result['plot']}"


def test_verdicts(result: dict[str, Any]) -> None:
    def words(**changes: Any) -> str:
        return render({**result, "best": {**result["best"], **changes}})

    sure = {"gain": 0.02, "gain_interval_90": [0.01, 0.03], "distinguishable": True}
    assert "gains 0.0200  [0.0100, 0.0300]  over the plan\n" in words(**sure)
    unsure = {"gain": 0.02, "gain_interval_90": [-0.01, 0.05], "distinguishable": False}
    assert "gains 0.0200  [-0.0100, 0.0500]  over the plan: not distinguishable" in words(**unsure)
    assert "no better schedule" in words(gain=0.0)
    assert "not comparable" in words(gain=None)
    assert "pass --out FILE.csv" in words(schedule_file=None)


def test_what_the_table_does_not_say(log: Path, law_file: Path) -> None:
    """Without a spec: how the logged rates go on is said, never guessed."""
    refused = call("replan", log, "--law", law_file)
    assert_refused(refused, "--warmup --between hold|linear")
    ways = ("--warmup", 20, "--between", "hold", "--law", law_file)
    ended = call("replan", log, *ways)
    assert_refused(ended, "200")
    held = call_json("replan", log, *ways, "--steps", 300, "--budgets", 300)
    assert held["plan"]["steps"] == 300
    assert any("LR 0.001 is assumed constant up to 300" in note for note in held["notes"])


def test_a_run_of_a_set(curves: Path, law_file: Path) -> None:
    found = call_json(
        "replan", f"{curves}:wsd", "--law", law_file, "--at-step", 150, "--budgets", 250
    )
    assert found["run"] == "wsd" and found["now"]["step"] == 150 and found["plan"]["steps"] == 300
    every = call("replan", curves, "--law", law_file)
    assert_refused(every, "3 runs FOLDER:name constant, cosine, wsd")


def document(plan: sl.Schedule) -> dict[str, Any]:
    """A history that was restarted: steps 60 to 119 stand twice, the second try last."""
    first, again = list(range(10, 120, 5)), list(range(60, NOW, 5))
    steps = first + again
    losses = TRUTH.predict(plan, list(range(plan.steps))).loss
    wrong = [float(losses[step]) * (1.05 if step >= 60 else 1.0) for step in first]
    config = {"scheduler": "wsd", "lr": 1e-3, "iterations": 400, "warmup_steps": 20}
    config |= {"decay_type": "linear", "wsd_fract_decay": 0.25, "wsd_final_lr_scale": 0}
    return {
        "name": "restarted",
        "config": config,
        "history": {
            "val": {"iter": steps, "val_loss": wrong + [float(losses[step]) for step in again]},
            "train": {"iter": steps, "train_lr": [float(plan.lr[step]) for step in steps]},
        },
    }


def test_restarted_history_end_to_end(tmp_path: Path, log: Path, law_file: Path) -> None:
    """The second try of repeated steps counts, and the settings give the plan."""
    file = tmp_path / "run.json"
    file.write_text(json.dumps(document(sl.schedule(PLAN))))
    words = ("--law", law_file, "--budgets", 300)
    found = call_json("replan", file, *words)
    assert found["run"] == "restarted" and found["now"]["step"] == 196
    spec = "wsd:peak=0.001,steps=400,warmup=20,decay=linear,decay_start=300"
    assert found["plan"]["spec"] == spec
    notes = " / ".join(found["notes"])
    assert "val/loss: " in notes and "(115 -> 60); 12 repeated rows resolved" in notes
    assert "the 36 logged rates after the warm-up agree" in notes
    tidy = call_json("replan", log, "--schedule", PLAN, *words)
    assert found["plan"]["final_loss"] == pytest.approx(tidy["plan"]["final_loss"], rel=2e-3)
    first = call_json("replan", file, *words, "--repeats", "first")
    assert re.search(r"12 repeated rows resolved\D*first", " / ".join(first["notes"]))
    assert first["plan"]["final_loss"] != found["plan"]["final_loss"]


@pytest.mark.slow
def test_public_restarted_log(shared_data: Path) -> None:
    """Half of a cosine run, and a law of another model size: the end lies in the interval."""
    file = shared_data / "raw" / "wandb_history_restarted_cosine.json"
    words = ("--law", "norm_clock:100M", "--at-step", 25_000, "--budgets", 50_000)
    found = call_json("replan", file, *words)
    tidy = sl.read_run(shared_data / "llama_124m_peak0.001" / "cosine_to0_50000.csv")
    low, high = found["plan"]["interval_90"]
    assert low < tidy.loss[-1] < high
    assert abs(found["plan"]["final_loss"] - tidy.loss[-1]) < 0.02


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--law LAW --law-name power", "--law --law-name"),
        ("--law LAW --schedule PLAN --budgets 300,x", "--budgets 300,x: 'x'"),
        ("--law LAW --schedule PLAN --budgets ,", "--budgets ','"),
        ("--law LAW --schedule PLAN --budgets 100", "budget=100 10 steps"),
        ("--law LAW --schedule PLAN --loss-key loss", "--loss-key run.csv"),
        ("--law LAW --schedule PLAN --repeats last", "--repeats run.csv"),
        ("--law LAW --schedule PLAN --at-step 7", "step 7"),
        ("--law LAW --schedule PLAN --end-min 1", "end_min=1.0 >= 0"),
        ("--law LAW --schedule PLAN --out none/a.csv", "folder none"),
        ("--law LAW --schedule PLAN --plot none/a.png", "folder none"),
        ("--law LAW --schedule cosine:peak=1e-3,steps=400", "run.csv step"),
        ("--law LAW --schedule linea:peak=1,steps=9", "'linea' 'linear'"),
        ("--law none.json --schedule PLAN", "none.json:"),
        ("--law-name linear_drop --schedule PLAN", "linear_drop"),
        ("--law-name norm_cloc --schedule PLAN", "'norm_cloc' 'norm_clock'"),
    ],
)
def test_refused(log: Path, law_file: Path, words: str, message: str) -> None:
    before = snapshot(log.parent)
    filled = [{"LAW": str(law_file), "PLAN": PLAN}.get(word, word) for word in words.split()]
    refused = call("replan", log, *filled)
    assert_refused(refused, message)
    assert snapshot(log.parent) == before


def test_options_of_another_kind_of_log(tmp_path: Path, curves: Path, law_file: Path) -> None:
    file = tmp_path / "run.json"
    file.write_text(json.dumps(document(sl.schedule(PLAN))))
    warmed = call("replan", file, "--law", law_file, "--warmup", 20)
    assert_refused(warmed, "--warmup run.json --schedule")
    named = call("replan", f"{curves}:wsd", "--law", law_file, "--schedule", PLAN)
    assert_refused(named, ":wsd --schedule FOLDER/name.csv")
    absent = call("replan", tmp_path / "none.json", "--law", law_file)
    assert_refused(absent, "none.json")


def test_another_plan_from_now_on(tmp_path: Path, law_file: Path) -> None:
    """Rows after the step that is looked from need not follow it."""
    plan = sl.schedule(PLAN)
    steps = np.arange(9, 400, 5)
    losses = TRUTH.predict(plan, steps.tolist()).loss
    rows = zip(steps, plan.lr[steps], losses, strict=True)
    file = tmp_path / "done.csv"
    file.write_text("step,lr,loss\n" + "".join(f"{s},{lr},{loss}\n" for s, lr, loss in rows))
    other = "constant:peak=1e-3,steps=400,warmup=20"
    words = ("replan", file, "--schedule", other, "--law", law_file)
    assert call_json(*words, "--at-step", 250)["plan"]["spec"] == other
    refused = call(*words)
    assert_refused(refused, "done.csv lr")
