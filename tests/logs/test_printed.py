"""Lines of trainers of one's own: every named number, and never a number under a wrong name."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling_laws.common.errors import DataError
from scaling_laws.data.logs import READERS, Match, read_tables
from scaling_laws.data.logs.printed import PRINTED
from scaling_laws.data.logs.text import head_of
from tests.logs.test_readers import quick, write
from tests.logs.test_tracker_readers import one, points
from tests.logs.text_fixtures import TEXTS

BAR = "\rTraining:  5%|###   | {0}/500 [00:10<00:20, 3.1it/s, loss={1}, lr={2}]"


@pytest.mark.parametrize(
    "line",
    [
        "step=10 loss=3.25 lr=1e-3",
        "2026-01-01 10:00:00,123 INFO trainer: step: 10 | loss: 3.2500 | lr: 1.0e-3 | tok/s: 9",
        "[12:00] \x1b[32mStep 10\x1b[0m, Loss 3.25, LR 0.001, 250 ms",
        "INFO step 10/500 loss 3.25 (dt 250ms) lr 1e-3",
        "(rank0) 'step': 10, 'loss': 3.25, 'lr': 0.001",
        '| inner | {"step": "10", "loss": "3.25", "lr": "0.001"}',
    ],
)
def test_lines(tmp_path: Path, line: str) -> None:
    file = write(tmp_path, "train.log", f"starting\n{line}\n")
    table = one(file, "printed")
    keys = {key.lower(): key for key in table.columns}
    assert points(table, keys["loss"], keys["step"]) == [(10, 3.25)]
    assert points(table, keys["lr"], keys["step"]) == [(10, 1e-3)]
    others = {"tok/s"} if "tok/s" in line else set()
    assert set(keys) == {"step", "loss", "lr"} | others and table.lines.tolist() == [2]
    assert table.total_steps == (500 if "/500" in line else None)


def test_every_named_number_is_a_key(tmp_path: Path) -> None:
    text = (
        "run: a-1\n"
        "step 10 | loss: 3.25 | lrm: 0.50 | dt: 9.5ms | tok/sec: 1,023 | at: 10:20:30 | mem: 1/2\n"
        "Step 10 | Validation bpb: 1.5\n"
        "saved to out/10\nsaved to out/20\n"
    )
    table = one(write(tmp_path, "train.log", text), "printed")
    assert points(table, "lrm", "step") == [(10, 0.5)]
    assert points(table, "tok/sec", "step") == [(10, 1023)]
    assert points(table, "validation bpb", "step") == [(10, 1.5)]
    assert not {"at", "mem", "run"} & set(table.columns)
    assert "3 other lines are passed over: 2 like 'saved to out/N'" in " ".join(table.notes)


def test_several_losses_and_tokens(tmp_path: Path) -> None:
    text = "step 10, train loss 3.25, val loss 3.5\nstep 20 | loss 3.0 | tokens: 1,048,576\n"
    table = one(write(tmp_path, "train.txt", text), "printed")
    assert points(table, "val loss", "step") == [(10, 3.5)]
    assert points(table, "tokens", "step") == [(20, 1048576)]


def test_dictionaries_as_python_prints_them(tmp_path: Path) -> None:
    text = "{'step': 10, 'loss': 3.25}\n{'step': 20, 'loss': 3.0}\n"
    table = one(write(tmp_path, "train.log", text), "printed")
    assert points(table, "loss", "step") == [(10, 3.25), (20, 3.0)]


def test_a_word_before_a_loss_belongs_to_it(tmp_path: Path) -> None:
    text = "step 10 | lm_loss 3.25 | aux loss 0.01 | z_loss 0.5\n"
    table = one(write(tmp_path, "train.log", text), "printed")
    found = {key: points(table, key, "step")[0][1] for key in table.columns if key != "step"}
    assert found["lm_loss"] == 3.25 and found["aux loss"] == 0.01 and "loss" not in found


def test_lines_of_evaluation_are_not_mixed_with_training(tmp_path: Path) -> None:
    text = "step 10 loss 3.25 lr 1e-3\n[val] step 10 loss 3.5\nINFO Eval: step=20 loss=3.4\n"
    table = one(write(tmp_path, "train.log", text), "printed")
    assert points(table, "loss", "step") == [(10, 3.25)]
    assert points(table, "val/loss", "step") == [(10, 3.5)]
    assert points(table, "eval/loss", "step") == [(20, 3.4)]
    paths = "train.py:10 step 10 loss 3.25 out/val/x\n"
    assert "loss" in one(write(tmp_path, "b.log", paths), "printed").columns


def test_a_progress_bar(tmp_path: Path) -> None:
    bars = [BAR.format(*each) for each in [(0, 3.5, 0.0), (10, 3.25, 1e-3), (10, 3.25, 1e-3)]]
    table = one(write(tmp_path, "nohup.out", "".join(bars) + "\n"), "printed")
    assert points(table, "loss", "step") == [(0, 3.5), (10, 3.25)]  # drawn twice, logged once
    assert table.total_steps == 500 and "counts of a progress bar" in " ".join(table.notes)


def test_lines_that_contradict_themselves_are_left_out(tmp_path: Path) -> None:
    text = "step 1 loss 3.5\nstep 2 loss 3.4, loss 9.9\nstep 3 loss 3.3\nstep 4 loss 3."
    table = one(write(tmp_path, "train.log", text), "printed")
    assert points(table, "loss", "step") == [(1, 3.5), (3, 3.3)]
    said = " ".join(table.notes)
    assert "1 lines give a name twice" in said and "line 4, the last, has no line end" in said
    with pytest.raises(DataError, match="no complete line of training"):
        read_tables(write(tmp_path, "b.log", "hello\n"), format="printed")


@pytest.mark.parametrize("text", ["epoch 1 loss 3.2\n", "lossy 3 step 2\n", "step 5 done in 3 s\n"])
def test_lines_without_a_step_or_a_loss_are_none(tmp_path: Path, text: str) -> None:
    assert PRINTED.detect(head_of(write(tmp_path, "a.log", text))) is Match.NO


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_known_trainers_keep_their_readers(tmp_path: Path, name: str) -> None:
    head = head_of(write(tmp_path, "train.log", TEXTS[name]))
    sure = [reader.name for reader in READERS if reader.detect(head) is Match.SPECIFIC]
    assert sure == [name]


@quick
@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.floats(0.01, 20)), min_size=1, max_size=9),
    st.integers(0, 400),
    st.sampled_from(["step={0} loss={1!r}\n", "step: {0} | loss: {1!r} | dt: 3s\n"]),
)
def test_a_file_that_ends_early_is_right_or_refused(
    tmp_path: Path, rows: list[tuple[int, float]], length: int, form: str
) -> None:
    text = "".join(form.format(*row) for row in rows)
    try:
        table = one(write(tmp_path, "a.log", text[: length % (len(text) + 1)]), "printed")
    except DataError as error:
        assert "a.log" in str(error)
        return
    found = points(table, "loss", "step")
    kept = [(float(s), x) for at, (s, x) in enumerate(rows) if at == 0 or rows[at - 1] != (s, x)]
    assert found == kept[: len(found)]
