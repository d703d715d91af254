"""Readers of what trainers print: right numbers, restarts, cut lines, and nobody else's logs."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scaling_laws.common.errors import DataError
from scaling_laws.data.logs import READERS, LogTable, Match, log_of, read_tables
from scaling_laws.data.logs.keys import known_keys
from scaling_laws.data.logs.text import head_of
from tests.logs.text_fixtures import TEXTS

NAMES = tuple(TEXTS)
quick = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def table_of_text(folder: Path, text: str, format: str | None = None) -> LogTable:
    file = folder / "train.log"
    file.write_text(text, encoding="utf-8")
    reader, (table,) = read_tables(file, format=format)
    assert format is None or reader.name == format
    return table


def rows_of(table: LogTable, key: str) -> list[tuple[float, float]]:
    assert table.step is not None
    column = table.column(key)
    steps = table.dense(table.step)[column.rows]
    return list(zip(steps.tolist(), column.values.tolist(), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_one_reader_is_sure_of_each_log(tmp_path: Path, name: str) -> None:
    file = tmp_path / "train.log"
    file.write_text(TEXTS[name], encoding="utf-8")
    head = head_of(file)
    sure = [reader.name for reader in READERS if reader.detect(head) is Match.SPECIFIC]
    assert sure == [name]


@pytest.mark.parametrize("name", NAMES)
def test_a_restart_repeats_steps_and_the_last_counts(tmp_path: Path, name: str) -> None:
    text = TEXTS[name]
    table = table_of_text(tmp_path, text + text, name)
    once = table_of_text(tmp_path, text, name)
    assert table.lines.size >= 2 * once.lines.size - 1  # a stale value may begin no new row
    assert table.step is not None and once.step is not None
    again, first = log_of(table, table.step), log_of(once, once.step)
    assert again.steps.tolist() == first.steps.tolist()
    for key, values in first.columns.items():
        assert again.columns[key].tolist() == pytest.approx(values.tolist(), nan_ok=True)


@pytest.mark.parametrize("name", NAMES)
@quick
@given(fraction=st.floats(0, 1))
def test_a_log_cut_anywhere_is_right_or_refused(tmp_path: Path, name: str, fraction: float) -> None:
    text = TEXTS[name]
    whole = table_of_text(tmp_path, text, name)
    cut = text[: round(fraction * len(text))]
    try:
        table = table_of_text(tmp_path, cut, name)
    except DataError as error:
        assert "train.log" in str(error)
        return
    for key in table.columns:
        rows = [row for row in rows_of(table, key) if not math.isnan(row[1])]
        assert set(rows) <= set(rows_of(whole, key))
    for attribute in ("step", "first_step", "lr_offset", "averaged"):
        assert getattr(table, attribute) == getattr(whole, attribute)


@pytest.mark.parametrize("name", NAMES)
def test_a_broken_line_is_left_out_and_said(tmp_path: Path, name: str) -> None:
    text = TEXTS[name]
    lines = text.splitlines(keepends=True)
    whole = table_of_text(tmp_path, text, name)
    place = int(whole.lines[-1]) - 1
    lines[place] = lines[place].rstrip("\n") + "\ufffd 7\n"
    table = table_of_text(tmp_path, "".join(lines), name)
    assert any("incomplete" in note and str(place + 1) in note for note in table.notes)
    for key in table.columns:
        assert len(rows_of(table, key)) <= len(rows_of(whole, key))
        assert set(map(str, rows_of(table, key))) <= set(map(str, rows_of(whole, key)))


@pytest.mark.parametrize("name", NAMES)
def test_garbage_is_one_clear_error(tmp_path: Path, name: str) -> None:
    for text in ("", "building the model\nno step here\n", "\x00\x01 step iter s: \x7f\n"):
        with pytest.raises(DataError, match=r"train\.log: no complete line of training was found"):
            table_of_text(tmp_path, text, name)


def test_nanogpt(tmp_path: Path) -> None:
    table = table_of_text(tmp_path, TEXTS["nanogpt"], "nanogpt")
    assert rows_of(table, "loss") == [(0, 10.9), (10, 8.25), (20, 7.5)]
    assert rows_of(table, "train loss") == [(0, 10.95), (20, 7.6)]
    assert rows_of(table, "val loss") == [(0, 10.96), (20, 7.7)]
    assert rows_of(table, "mfu")[0] == (0, -100.0)
    assert (table.step, table.first_step, table.averaged) == ("iter", 0, frozenset())
    forked = "iter 10: loss nan, time 25.10ms, mfu 30.00%, lr 3e-4\n"
    table = table_of_text(tmp_path, forked)
    assert rows_of(table, "lr") == [(10, 3e-4)]
    assert math.isnan(table.dense("loss")[0])


def test_llmc(tmp_path: Path) -> None:
    table = table_of_text(tmp_path, TEXTS["llmc"], "llmc")
    assert rows_of(table, "trl") == [(0, 10.9), (1, 9.8)]
    assert rows_of(table, "tel") == [(0, 11.0), (2, 9.5)]
    assert rows_of(table, "lr") == [(0, 0.000001), (1, 0.000002)]
    assert (table.step, table.first_step, table.lr_offset) == ("s", 0, 0)
    assert known_keys("step", table.columns) == ["s"]
    python = table_of_text(tmp_path, "s:0 tel:11.000000\ns:0 trl:10.900000\n")
    assert rows_of(python, "trl") == [(0, 10.9)] and "lr" not in python.columns


def test_llmc_printed(tmp_path: Path) -> None:
    table = table_of_text(tmp_path, TEXTS["llmc_printed"], "llmc_printed")
    assert rows_of(table, "loss") == [(1, 10.9), (2, 9.8)]
    assert rows_of(table, "lr") == [(1, 1e-6), (2, 2e-6)]
    assert (table.first_step, table.total_steps) == (1, 2)
    assert any("2 lines 'val loss' name no step" in note for note in table.notes)
    python = "step    1/10 | train loss 5.25 | norm 30.9 | lr 1.00e-04 | (30.50 ms | 9 tok/s)\n"
    table = table_of_text(tmp_path, python)
    assert rows_of(table, "train loss") == [(1, 5.25)] and rows_of(table, "lr") == [(1, 1e-4)]


def test_modded_nanogpt(tmp_path: Path) -> None:
    table = table_of_text(tmp_path, TEXTS["modded_nanogpt"], "modded_nanogpt")
    assert rows_of(table, "val_loss") == [(0, 10.825), (4, 8.125)]
    assert rows_of(table, "train_loss") == [(1, 10.75)]
    assert (table.first_step, table.total_steps) == (1, 4)
    assert len(table.notes) == 1 and table.notes[0].startswith("4 other lines are passed over: ")
    longer = TEXTS["modded_nanogpt"] + "step:5/8 val_loss:7.5000 train_time:400ms\n"
    table = table_of_text(tmp_path, longer)
    assert table.total_steps == 8
    assert "planned steps change within the file: [4, 8]" in table.notes


def test_nemo(tmp_path: Path) -> None:
    table = table_of_text(tmp_path, TEXTS["nemo"], "nemo")
    losses = [(0, 11.02), (1, 9.75), (2, 9.25), (3, 8.5)]
    assert rows_of(table, "reduced_train_loss") == losses
    assert rows_of(table, "lr") == [(0, 6e-4), (1, 5.5e-4), (2, 5e-4), (3, 4e-4)]
    assert rows_of(table, "val_loss") == [(1, 9.5), (3, 8.75)]  # stale in between
    assert (table.step, table.first_step) == ("global_step", 0)
    assert known_keys("samples", table.columns) == ["consumed_samples"]


def test_nemo_bars(tmp_path: Path) -> None:
    bar = (
        "Epoch 0: :  50%|█████     | {0}/90000 [06:19<07:13, v_num=8-06, reduced_train_loss={1}, "
        "lr=3e-5, global_step={2}, consumed_samples=1.2e+4, train_step_timing in s=49.50]"
    )
    steps = [("6", "11.50", "5.000"), ("7", "11.25", "6.000"), ("12346", "3.25", "1.23e+4")]
    text = "\r".join(bar.format(*each) for each in steps) + "[NeMo I 2026-01-01 saving]\n"
    table = table_of_text(tmp_path, text)
    assert rows_of(table, "reduced_train_loss")[:2] == [(5, 11.5), (6, 11.25)]
    assert table.columns["global_step"].rows.tolist() == [0, 1]
    assert any("1 progress bars show a shortened step" in note for note in table.notes)
    log = log_of(table, "global_step")
    assert log.steps.tolist() == [5, 6] and log.columns["lr"].tolist() == [3e-5, 3e-5]


def test_torchtitan(tmp_path: Path) -> None:
    table = table_of_text(tmp_path, TEXTS["torchtitan"], "torchtitan")
    assert rows_of(table, "loss") == [(1, 8.125), (10, 7.25)]
    assert rows_of(table, "validation_metrics/loss") == [(10, 7.5)]
    assert rows_of(table, "tps") == [(1, 10050), (10, 10060)]
    assert rows_of(table, "tflops")[0] == (1, 1314.5)
    assert (table.first_step, table.averaged) == (1, frozenset())
    assert known_keys("loss", table.columns) == ["validation_metrics/loss", "loss"]


def test_olmo_core(tmp_path: Path) -> None:
    table = table_of_text(tmp_path, TEXTS["olmo_core"], "olmo_core")
    assert rows_of(table, "train/CE loss") == [(1, 11.25), (3, 9.125)]
    assert rows_of(table, "optim/LR (group 0)") == [(1, 7.5e-5), (3, 3e-4)]
    assert rows_of(table, "throughput/total tokens") == [(1, 4194304), (3, 12582912)]
    assert (table.first_step, table.lr_offset, table.total_steps) == (1, 0, 4)
    assert any("rounded by up to 5e-05" in note for note in table.notes)
    for role, key in (("lr", "optim/LR (group 0)"), ("tokens", "throughput/total tokens")):
        assert known_keys(role, table.columns) == [key]


def test_maxtext(tmp_path: Path) -> None:
    table = table_of_text(tmp_path, TEXTS["maxtext"], "maxtext")
    assert rows_of(table, "loss") == [(0, 10.875), (1, 9.75)]
    assert rows_of(table, "eval/loss") == [(1, 9.5)]
    assert rows_of(table, "lr") == [(1, 3e-4)]
    assert rows_of(table, "Tokens/s/device") == [(0, 300.5), (1, 12000.5)]
    assert table.first_step == 0


def test_deepspeed(tmp_path: Path) -> None:
    table = table_of_text(tmp_path, TEXTS["deepspeed"], "deepspeed")
    assert rows_of(table, "loss") == [(10, 9.5), (20, 8.25)]
    assert rows_of(table, "lr_0") == [(10, 3e-4), (20, 2e-4)]
    assert rows_of(table, "lr_1") == [(10, 1e-4), (20, 5e-5)]
    assert (table.first_step, table.lr_offset) == (1, 1)
    assert known_keys("lr", table.columns) == ["lr_0", "lr_1"]
    text = "[Rank 0] step=10, skipped=0, lr=[0.0003], mom=[(0.9, 0.95)]\n"
    assert rows_of(table_of_text(tmp_path, text), "lr") == [(10, 3e-4)]


def test_megatron_beside_deepspeed_is_megatron(tmp_path: Path) -> None:
    line = " iteration       10/     100 | consumed samples: 640 | lm loss: 9.500000E+00 |\n"
    file = tmp_path / "train.log"
    file.write_text(TEXTS["deepspeed"] + line, encoding="utf-8")
    assert read_tables(file)[0].name == "megatron"


def test_lingua_is_jsonl_with_known_keys(tmp_path: Path) -> None:
    rows = [
        {"global_step": step, "acc_step": 0, "optim/lr": 1e-4 * step, "loss/out": 9.0 / step}
        | {"optim/total_tokens": 4096 * step}
        for step in (1, 2, 3)
    ]
    file = tmp_path / "metrics.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    reader, (table,) = read_tables(file)
    assert reader.name == "jsonl"
    found = {role: known_keys(role, table.columns) for role in ("step", "lr", "loss", "tokens")}
    assert found == {
        "step": ["global_step"],
        "lr": ["optim/lr"],
        "loss": ["loss/out"],
        "tokens": ["optim/total_tokens"],
    }


def test_a_long_line_that_is_not_meant_is_passed_over(tmp_path: Path) -> None:
    text = "x " * 200_000 + "\n" + TEXTS["nanogpt"]
    assert rows_of(table_of_text(tmp_path, text), "val loss") == [(0, 10.96), (20, 7.7)]
