"""`verify` at the terminal: keys, exit codes, and the way from an export to a checked log."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import scaling_laws as sl
from tests.cli.calls import assert_refused, call, call_json

WSD = "wsd:peak=1e-3,steps=300,warmup=20,decay_fraction=0.3"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    call("export", WSD, "--to", "csv", "--out", tmp_path / "run.csv")
    return tmp_path / "run.csv"


@pytest.fixture
def late(tmp_path: Path) -> Path:
    lr = sl.schedule(WSD).lr
    rows = "".join(f"{step},{rate}\n" for step, rate in enumerate(np.append(lr[0], lr[:-1])))
    path = tmp_path / "late.csv"
    path.write_text("step,lr\n" + rows, encoding="utf-8")
    return path


def test_match(log: Path) -> None:
    result = call_json("verify", log, "--schedule", WSD)
    keys = {"matches", "n_rows", "max_deviation", "first_bad_step", "diagnosis", "table"}
    assert keys <= set(result)
    assert result["matches"] is True and result["n_rows"] == 300 and result["max_deviation"] == 0
    assert call("verify", log, "--schedule", log).code == 0
    assert call("verify", log, "--schedule", WSD).out.startswith("matches: ")


def test_mismatch_is_a_result(late: Path) -> None:
    shown = call("verify", late, "--schedule", WSD, "--json")
    result = json.loads(shown.out)
    assert shown.code == 3
    assert result["matches"] is False and result["fault"] == "off_by_one"
    assert result["first_bad_step"] == 1
    text = call("verify", late, "--schedule", WSD)
    assert (text.code, text.err) == (3, "")
    assert text.out.startswith("does not match: ") and "<-" in text.out
    assert "at step 1\n" in text.out
    assert call("verify", late, "--schedule", WSD, "--tolerance", 0.06).code == 0


def test_log_of_a_trainer(tmp_path: Path) -> None:
    """After `export --to hf`: the Trainer's own file, without a detour over import."""
    lr = sl.schedule(WSD).lr
    rows = [
        {"step": step, "loss": 5.0, "learning_rate": lr[step - 1]} for step in range(10, 301, 10)
    ]
    path = tmp_path / "trainer_state.json"
    path.write_text(json.dumps({"global_step": 300, "max_steps": 300, "log_history": rows}))
    result = call_json("verify", path, "--schedule", WSD)
    assert result["matches"] is True and result["n_rows"] == 30
    assert result["table"][0]["step"] == 9 and "counts updates from 1" in result["remarks"][0]


def test_one_of_several_runs_and_rates(tmp_path: Path) -> None:
    lr = sl.schedule(WSD).lr
    path = tmp_path / "log.csv"
    rows = "".join(f"{step},{lr[step]},{0.1 * lr[step]},{5 - step / 99}\n" for step in range(300))
    path.write_text("step,lr-AdamW/pg1,lr-AdamW/pg2,loss\n" + rows)
    assert_refused(call("verify", path, "--schedule", WSD), "several keys may be the learning rate")
    right = call_json("verify", path, "--schedule", WSD, "--lr-key", "lr-AdamW/pg1")
    assert right["matches"] is True
    wrong = call("verify", path, "--schedule", WSD, "--lr-key", "lr-AdamW/pg2", "--json")
    assert wrong.code == 3 and json.loads(wrong.out)["fault"] == "factor"
    assert_refused(call("verify", path, "--schedule", WSD, "--run", "other"), "--run")


def test_a_file_that_begins_anew_is_several_runs(tmp_path: Path) -> None:
    lr = sl.schedule(WSD).lr
    rows = "".join(
        f"{model},{step},{factor * lr[step]},{factor + 5 - step / 99}\n"
        for model, factor in (("small", 1.0), ("large", 0.5))
        for step in range(300)
    )
    path = tmp_path / "log.csv"
    path.write_text("model,step,lr,loss\n" + rows)
    assert_refused(call("verify", path, "--schedule", WSD), "--run-key")
    words = ("verify", path, "--schedule", WSD, "--run-key", "model", "--run")
    assert call(*words, "small").code == 0
    assert call(*words, "large").code == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("missing.csv", "--schedule", WSD), "missing.csv"),
        (("missing.csv",), "--schedule"),
        (("missing.csv", "--schedule", "wsd"), "wsd family:key=value"),
        (("missing.csv", "--schedule", WSD, "--tolerance", "x"), "--tolerance 'x'"),
        (("missing.csv", "--schedule", WSD, "--tolerance", "2"), "2 between 0 and 1"),
    ],
)
def test_refused(words: tuple[str, ...], message: str) -> None:
    result = call("verify", *words)
    assert_refused(result, message)
