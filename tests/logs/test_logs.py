"""Logs: restarts, the keys of loss and rate, schedules confirmed or refused."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scaling_laws as sl
from scaling_laws.common.errors import DataError, ScalingLawsError, UsageError
from scaling_laws.data.logs import READERS, TrainingLog, is_log, log_of, read_log, run_of, table_of
from scaling_laws.data.logs.configs import facts_of, spec_of
from scaling_laws.data.logs.repeated import resolve

CONFIG = {
    "scheduler": "cos",
    "lr": 1e-3,
    "iterations": 1000,
    "warmup_steps": 50,
    "cos_final_lr": 0.0,
    "weight_decay": 0.05,
}
SPEC = "cosine:peak=0.001,steps=1000,warmup=50"


def history(steps: list[int], **changes: Any) -> dict[str, Any]:
    """A document of one run in the grouped layout."""
    plan = sl.schedule(SPEC)
    return {
        "name": "a run",
        "config": CONFIG,
        "summary": {"parameters": 1234},
        "history": {
            "val": {"iter": steps, "val_loss": [3.0 - 1e-3 * step for step in steps]},
            "train": {
                "iter": steps,
                "train_loss": [3.1 - 1e-3 * step for step in steps],
                "train_lr": [float(plan.lr[step]) for step in steps],
            },
            "wa": {"iter": [], "val_loss_wa": []},
        },
    } | changes


def write(folder: Path, document: Any) -> Path:
    file = folder / "run.json"
    file.write_text(json.dumps(document))
    return file


def assemble(rows: list[tuple[int, Any]], repeats: str = "last") -> TrainingLog:
    """A log of one key from steps and values in the order of a file."""
    records = [{"step": step, "loss": value} for step, value in rows]
    return log_of(table_of("run", "file", records), "step", repeats)


def read(folder: Path, document: Any, **options: Any) -> TrainingLog:
    return read_log(write(folder, document), **options)


@pytest.mark.parametrize(
    ("name", "tidy"),
    [
        ("wandb_history_restarted_cosine", "cosine_to0_50000"),
        ("wandb_history_restarted_wsd", "wsd_linear_0.4_50000"),
    ],
)
def test_restarted_logs_equal_the_tidy_set(shared_data: Path, name: str, tidy: str) -> None:
    log = read_log(shared_data / "raw" / f"{name}.json")
    assert any("val/loss: the step decreases" in each for each in log.diagnostics)
    imported = run_of(log)
    wanted = sl.read_run(shared_data / "llama_124m_peak0.001" / f"{tidy}.csv")
    run = imported.run.from_step(int(wanted.steps[0]))
    assert run.steps.tolist() == wanted.steps.tolist()
    np.testing.assert_allclose(run.loss, wanted.loss, atol=6e-6)  # the tidy set has five decimals
    after = run.schedule.warmup
    np.testing.assert_allclose(run.schedule.lr[after:], wanted.schedule.lr[after:], atol=2e-7)
    assert run.facts["weight_decay"] == 0.1 and run.facts["model_params"] == 123_587_328
    assert any(each.startswith("loss: val/loss; --loss-key") for each in imported.notes)


def test_which_of_repeated_rows_counts(shared_data: Path) -> None:
    file = shared_data / "raw" / "wandb_history_restarted_cosine.json"
    steps, last = read_log(file).series("val/loss")
    same, first = read_log(file, repeats="first").series("val/loss")
    assert steps.tolist() == same.tolist()
    differ = steps[last != first].tolist()
    assert differ == [200, 400, 600, 8200, 8400]  # where two attempts of a restart disagree


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 10**6), st.floats(0.1, 9.0)),
        min_size=1,
        max_size=40,
        unique_by=lambda row: row[0],
    ),
    st.randoms(use_true_random=False),
)
def test_shuffled_rows_give_the_same_log(rows: list[tuple[int, float]], generator: Any) -> None:
    shuffled = list(rows)
    generator.shuffle(shuffled)
    one, other = assemble(rows), assemble(shuffled)
    assert one.steps.tolist() == other.steps.tolist() == sorted(row[0] for row in rows)
    assert one.columns["loss"].tolist() == other.columns["loss"].tolist()


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.floats(0.1, 9.0)), min_size=1, max_size=60))
def test_every_step_once_with_its_last_or_first_value(rows: list[tuple[int, float]]) -> None:
    last, first = assemble(rows), assemble(rows, "first")
    assert dict(zip(last.steps.tolist(), last.columns["loss"].tolist(), strict=True)) == dict(rows)
    assert dict(zip(first.steps.tolist(), first.columns["loss"].tolist(), strict=True)) == dict(
        reversed(rows)
    )
    increasing = all(other[0] > one[0] for one, other in itertools.pairwise(rows))
    assert (not last.diagnostics) == increasing


def test_restart_is_said() -> None:
    rows = [(0, 4.0), (10, 3.0), (20, 2.5), (10, 3.25), (20, 2.5), (30, 2.0)]
    log = assemble(rows)
    assert log.columns["loss"].tolist() == [4.0, 3.25, 2.5, 2.0]
    (words,) = log.diagnostics
    assert words == (
        "loss: the step decreases 1x (20 -> 10); 2 repeated rows resolved by the last row of "
        "a step in the file (1 differ from it, by up to 0.25)"
    )


def test_rows_without_a_number_are_left_out_and_said() -> None:
    log = assemble([(0, 1.0), (1, None), (2, float("nan"))])
    assert log.steps.tolist() == [0] and log.diagnostics[0].startswith("loss: 1 of 2 rows are not")


def test_mean_of_repeated_rows() -> None:
    log = assemble([(0, 4.0), (1, 3.0), (1, 2.0)], "mean")
    assert log.columns["loss"].tolist() == [4.0, 2.5] and "by their mean" in log.diagnostics[0]


def test_keys_of_other_rows(tmp_path: Path) -> None:
    """The flat layout: rows lack what was logged at other calls; `_step` counts calls."""
    document = {
        "name": "flat",
        "history": {
            "_step": {"0": 0, "1": 1, "2": 2, "3": 3},
            "iter": {"0": 10, "1": 10, "2": 20, "3": 20},
            "train/loss": {"0": 3.0, "2": 2.5},
            "lr": {"1": 1e-3, "3": 1e-3},
            "note": {"1": "hello"},
        },
    }
    log = read(tmp_path, document)
    assert log.steps.tolist() == [10, 20] and sorted(log.columns) == ["lr", "train/loss"]
    imported = run_of(log, spec="constant:peak=1e-3,steps=30")
    assert imported.run.loss.tolist() == [3.0, 2.5]
    assert "loss: train/loss" in imported.notes


def test_schedule_from_settings_is_confirmed(tmp_path: Path) -> None:
    imported = run_of(read(tmp_path, history(list(range(0, 1000, 50)))))
    assert imported.run.schedule.spec == SPEC
    assert dict(imported.run.facts) == {"weight_decay": 0.05, "model_params": 1234.0}
    assert any("the 19 logged rates after the warm-up agree" in each for each in imported.notes)
    given = run_of(read(tmp_path, history([100, 200])), facts={"weight_decay": 0.2})
    assert given.run.facts["weight_decay"] == 0.2


def test_points_past_the_schedule_are_left_out(tmp_path: Path) -> None:
    document = history([100, 200, 300])
    document["history"]["val"] = {"iter": [100, 999, 1000], "val_loss": [3.0, 2.0, 1.9]}
    imported = run_of(read(tmp_path, document))
    assert imported.run.steps.tolist() == [100, 999]
    assert any(each.startswith("1 points at or after step 1000") for each in imported.notes)


def test_the_loss_is_chosen_or_asked_for(tmp_path: Path) -> None:
    log = read(tmp_path, history([100, 200]))
    assert run_of(log).run.loss[0] == pytest.approx(2.9)
    assert run_of(log, key="train/loss").run.loss[0] == pytest.approx(3.0)
    with pytest.raises(UsageError, match="unknown key 'trainloss'; did you mean 'train/loss'"):
        run_of(log, key="trainloss")


def bad_rate() -> dict[str, Any]:
    document = history([100, 200, 300])
    document["history"]["train"]["train_lr"][1] = 5e-4
    return document


def without(part: str) -> dict[str, Any]:
    document = history([100, 200, 300])
    del document["history"]["train"][part]
    return document


@pytest.mark.parametrize(
    ("document", "spec", "message"),
    [
        (bad_rate(), None, "train/lr, step 200: 0.0005 is logged where the schedule, from the log"),
        (bad_rate(), SPEC, "1 of 3 points differ; correct --schedule"),
        (without("train_lr"), None, "no learning rate is logged that would confirm it; pass"),
        (history([100, 200], config={}), None, "do not specify its schedule; pass"),
        (history([10, 20]), None, "no learning rate is logged after the warm-up that would"),
        (history([]), SPEC, "no number is logged at any step"),
        ({"history": {}}, SPEC, "no run history: a JSON object with a key 'history'"),
        ([1, 2], SPEC, "no run history"),
        ({"history": {"loss": 3}}, SPEC, "history, 'loss': int is neither a table nor a column"),
        ({"history": {"loss": {"0": 3.0}}}, SPEC, "no key is recognised as the step"),
        ({"history": {"val": {"at": [1], "loss": [2.0]}}}, SPEC, "none of its columns is known as"),
        ({"history": {"val": {"iter": [1.5], "a": [2.0]}}}, SPEC, "step 1.5 is not a whole number"),
        ({"history": {"val": {"iter": [1], "acc": [2.0]}}}, SPEC, "no key is recognised as a loss"),
        ({"history": {"val": {"iter": [9], "loss": [-2.0]}}}, SPEC, "step 9: -2 is not > 0"),
        ({"history": {"val": {"iter": [5000], "loss": [2.0]}}}, SPEC, "no val/loss is logged with"),
    ],
)
def test_refused(tmp_path: Path, document: Any, spec: str | None, message: str) -> None:
    with pytest.raises(ScalingLawsError) as error:
        run_of(read(tmp_path, document), spec=spec)
    assert message in str(error.value) and "run.json" in str(error.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_log(tmp_path / "none.json")
    broken = tmp_path / "broken.json"
    broken.write_text('{"history": \n oops')
    with pytest.raises(DataError, match=r"broken\.json line 2: not JSON"):
        read_log(broken)
    (tmp_path / "run.log").write_text("hello\n")
    with pytest.raises(
        DataError,
        match=r"no reader recognises it; the first line is 'hello'\. .* --format: csv, tsv",
    ):
        read_log(tmp_path / "run.log")
    with pytest.raises(UsageError, match="repeats='median'"):
        read_log(write(tmp_path, history([1, 1])), repeats="median")
    assert is_log("a.json") and not is_log("a.csv")
    assert len({reader.name for reader in READERS}) == len(READERS)


def test_settings_of_other_trainers_mean_nothing() -> None:
    assert spec_of({}) is None and facts_of({"weight_decay": "0.1"}) == {}
    assert spec_of({**CONFIG, "scheduler": "linear"}) is None
    assert spec_of({**CONFIG, "lr": True}) is None
    wsd = {**CONFIG, "scheduler": "wsd", "wsd_fract_decay": 0.2, "wsd_final_lr_scale": 0.1}
    assert spec_of(wsd) is None  # no shape of the cooldown
    found = spec_of({**wsd, "decay_type": "sqrt"})
    assert found == "wsd:peak=0.001,end=0.0001,steps=1000,warmup=50,decay=1-sqrt,decay_start=800"
    level = {**wsd, "decay_type": "linear", "wsd_fract_decay": 0}
    assert spec_of(level) == "constant:peak=0.001,steps=1000,warmup=50"


def test_a_log_is_a_table_over_increasing_steps() -> None:
    with pytest.raises(DataError, match="non-empty and increasing"):
        TrainingLog("run", "file", np.array([1, 1]), {})
    with pytest.raises(DataError, match="column 'loss'"):
        TrainingLog("run", "file", np.array([1, 2]), {"loss": np.array([1.0])})
    with pytest.raises(DataError, match="unknown key 'los'; did you mean 'loss'"):
        TrainingLog("run", "file", np.array([1]), {"loss": np.array([1.0])}).series("los")


@pytest.mark.parametrize(
    ("steps", "losses", "anew"),
    [
        ([0, 10, 20, 0, 10, 20], [3.5, 3.4, 3.3, 4.5, 4.4, 4.3], 1),  # two runs
        ([0, 10, 0, 10, 0, 10], [3.5, 3.4, 3.3, 3.2, 3.1, 3.0], 2),  # counted within epochs
        ([0, 10, 0, 10], [3.5, 3.4, 3.5, 3.4], 0),  # the same rows twice
        ([0, 10, 20, 10, 20], [3.5, 3.4, 3.3, 3.4, 3.2], 0),  # a restart
    ],
)
def test_files_that_begin_anew(steps: list[int], losses: list[float], anew: int) -> None:
    _, _, said = resolve(np.array(steps), np.array(losses), "last")
    assert said.restarts == anew
    assert (f"returns to its first step {anew}x" in said.describe("loss")) == bool(anew)
