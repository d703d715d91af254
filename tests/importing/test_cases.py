"""Public logs that were once read wrongly: small inputs beside the project, each read in place."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest

import scaling_laws as sl
from scaling_laws.common.errors import ScalingLawsError
from scaling_laws.data.importing import InspectedRun, Options, RunReport, import_logs, inspect_log
from scaling_laws.data.importing.several_runs import SeveralRunsError
from scaling_laws.data.logs import read_tables


@pytest.fixture(scope="module")
def cases(root: Path) -> Path:
    folder = root.parent / "shared" / "cases"
    if not folder.is_dir():
        pytest.skip("the small logs of ../shared/cases are not beside this checkout")
    return folder


def imported(folder: Path, log: Path, **options: object) -> tuple[sl.Run, RunReport]:
    found = import_logs([log], folder / "set", options=Options(**options))  # type: ignore[arg-type]
    (run,) = sl.load_runs(folder / "set").values()
    return run, found.reports[0]


def seen(log: Path, **options: object) -> InspectedRun:
    (run,) = inspect_log(log, options=Options(**options))  # type: ignore[arg-type]
    return run


def test_csv_runs_merged(cases: Path, tmp_path: Path) -> None:
    log = cases / "csv_runs_merged" / "log.csv"
    spec = "cosine:peak=2e-3,end=2e-4,steps=2001,warmup=50"
    for options in (Options(), Options(schedule=spec)):
        with pytest.raises(SeveralRunsError) as error:
            import_logs([log], tmp_path / "set", options=options)
        assert all(key in str(error.value) for key in ("model", "'N'", "peak_lr", "total_steps"))
        assert error.value.keys == ("model",)
    assert "--run-key model" in seen(log).command and not seen(log).ready
    options = Options(run_key="model", schedule=spec)
    reports = import_logs([log], tmp_path / "set", options=options).reports
    assert [(each.name, each.points) for each in reports] == [("a_25m", 7), ("b_90m", 15)]


def test_jsonl_run_name(cases: Path, tmp_path: Path) -> None:
    runs = {}
    for name, options in (("log.jsonl", Options(warmup=0)), ("same_as_csv.csv", Options())):
        import_logs([cases / "jsonl_run_name" / name], tmp_path / name, options=options)
        runs[name] = sl.load_runs(tmp_path / name)
    assert list(runs["log.jsonl"]) == list(runs["same_as_csv.csv"]) == ["large", "small"]
    for name, run in runs["log.jsonl"].items():
        other = runs["same_as_csv.csv"][name]
        assert run.steps.tolist() == other.steps[1:].tolist()
        assert np.abs(run.loss - other.loss[1:]).max() < 1e-9


def test_hf_warmup_hidden_zeroed(cases: Path) -> None:
    run = seen(cases / "hf_warmup_hidden_zeroed" / "trainer_state.json")
    assert not run.ready and "--warmup 0" not in run.command
    assert shlex.split(run.command)[-2:] == ["--warmup", "300"] and "step 300" in run.problem


def test_hf_ready_command_holds_ends(cases: Path, tmp_path: Path) -> None:
    log = cases / "hf_ready_command_holds_ends" / "trainer_state.json"
    run = seen(log)
    assert run.ready and run.schedule == "linear:peak=3e-05,steps=1100" and run.points == 5
    for words in ("--loss-key loss", "--lr-offset 1", "--warmup 0"):
        assert words in run.command
    _, report = imported(tmp_path, log, loss_key="eval_loss", warmup=0, between="linear")
    said = " ".join(each.words for each in report.findings)
    assert "199 updates before step 199" in said and "100 updates after step 999" in said


def test_warmup_given_and_shown(cases: Path) -> None:
    log = cases / "warmup_given_and_shown" / "log.csv"
    plain, stated = seen(log), seen(log, warmup=60)
    assert stated.ready and "--lr-offset" not in stated.command and not stated.problem
    assert stated.schedule_from == plain.schedule_from
    assert any("--warmup 60 is ignored" in each.words for each in stated.findings)


def test_llmc_rounding_tie(cases: Path) -> None:
    run = seen(cases / "llmc_rounding_tie" / "main.log")
    found = sl.schedule(run.schedule)
    true = sl.schedule("cosine:peak=6e-4,steps=19560,warmup=700,warmup_from=8.571e-7")
    assert run.ready and np.abs(found.lr - true.lr).max() < 1e-9


def test_llmc_val_after_last_update(cases: Path, tmp_path: Path) -> None:
    log = cases / "llmc_val_after_last_update" / "main.log"
    spec = "cosine:peak=6e-4,steps=200,warmup=20,warmup_from=3e-5"
    run, _ = imported(tmp_path, log, loss_key="tel")
    assert run.steps.tolist() == [49, 99, 149, 199]
    assert np.abs(run.schedule.lr - sl.schedule(spec).lr).max() < 1e-9
    assert seen(log, loss_key="tel", schedule=spec).ready


def test_neox_generic(cases: Path, tmp_path: Path) -> None:
    log = cases / "neox_generic" / "train.log"
    (table,) = read_tables(log)[1]
    assert (table.step, table.first_step, table.total_steps) == ("iteration", 1, 1000)
    run, report = imported(tmp_path, log, loss_key="lm_loss", warmup=10)
    assert (run.steps[0], run.steps[-1], run.loss[0], report.window) == (9, 999, 9.738699, 10)
    other = seen(log, loss_key="lm_loss validation")
    assert "--warmup 10" in other.command and not other.ready


def test_nanochat_lrm(cases: Path, tmp_path: Path) -> None:
    log = cases / "nanochat_lrm" / "train.log"
    keys = {key.name for key in seen(log).keys}
    assert {"loss", "lrm", "validation bpb", "dt", "tok/sec", "epoch"} <= keys
    run, report = imported(tmp_path, log, lr_key="lrm", between="linear")
    assert report.keys["lr"] == "lrm" and run.schedule.peak_lr == 1.0
    spec = "constant:peak=1,steps=1001"
    again, _ = imported(tmp_path / "b", log, loss_key="validation bpb", schedule=spec)
    assert again.steps.tolist() == [249, 499, 749, 999]


def test_modded_extra_fields(cases: Path, tmp_path: Path) -> None:
    folder = cases / "modded_extra_fields"
    (table,) = read_tables(folder / "a.txt")[1]
    assert table.columns["train_loss"].rows.size == 40 and not table.notes
    spec = "constant:peak=1e-3,steps=1000"
    run, _ = imported(tmp_path, folder / "b.txt", schedule=spec)
    assert run.steps.tolist() == list(range(124, 1000, 125)) and run.loss[0] == 4.61848


def test_olmo_lr_group0(cases: Path) -> None:
    run = seen(
        cases / "olmo_lr_group0" / "log.csv", loss_key="eval/c4_en-validation/CrossEntropyLoss"
    )
    assert run.ready and "cosine from 0.001 at step 60" in run.schedule_from
    assert {key.role for key in run.keys} == {"step", "loss", "lr", "tokens"}


def test_no_ready_command_of_any_case_fails(cases: Path, tmp_path: Path) -> None:
    from scaling_laws.interface.cli import main

    ready = 0
    for log in sorted(path for path in cases.rglob("*") if path.is_file()):
        if log.suffix == ".md" or log.parent.name.startswith("verify"):
            continue
        try:
            runs = inspect_log(log, out=str(tmp_path / str(ready)))
        except ScalingLawsError:
            continue
        for run in runs:
            if run.ready:
                assert main([*shlex.split(run.command)[1:], "--json"]) == 0, run.command
                ready += 1
    assert ready
