"""Options of single logs of a batch, and schedules that are files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import scaling_laws as sl
from scaling_laws.common.errors import DataError, ScalingLawsError, UsageError
from scaling_laws.data.importing import Options, import_logs, options_of_log, read_log_options
from tests.cli.calls import assert_refused, call, call_json

ROWS = "step,loss\n" + "".join(f"{step},{4 - step / 400}\n" for step in range(0, 400, 10))


@pytest.fixture
def logs(tmp_path: Path) -> list[Path]:
    files = [tmp_path / f"{name}.csv" for name in ("a-1", "a-2", "b")]
    for file in files:
        file.write_text(ROWS)
    return files


def test_each_log_has_its_schedule(logs: list[Path], tmp_path: Path) -> None:
    options = tmp_path / "options.toml"
    options.write_text(
        '["a-*.csv"]\nschedule = "cosine:peak=1e-3,steps=400"\nweight-decay = 0.1\nwindow = 10\n'
        '["a-2.csv"]\nschedule = "linear:peak=1e-3,steps=400"\n'
    )
    words = ("--options", options, "--schedule", "constant:peak=1e-3,steps=400")
    call_json("import", *logs, "--out", tmp_path / "set", *words)
    runs = sl.load_runs(tmp_path / "set")
    kinds = {name: run.schedule.spec.partition(":")[0] for name, run in runs.items()}
    assert kinds == {"a-1": "cosine", "a-2": "linear", "b": "constant"}
    assert [runs[name].facts.get("weight_decay") for name in ("a-1", "a-2", "b")] == [
        0.1,
        0.1,
        None,
    ]
    assert [runs[name].window for name in ("a-1", "a-2", "b")] == [10, 10, 1]
    shown = call_json("inspect", *logs, *words)["runs"]
    assert ["linear" in run["command"] for run in shown] == [False, True, False]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('["c.csv"]\nwarmup = 1\n', "c.csv"),
        ('["b.csv"]\nwarmpu = 1\n', "warmpu"),
        ('["b.csv"]\nwarmup = "1"\n', "warmup"),
        ('["b.csv"]\nwarmup = -1\n', "warmup"),
        ('["b.csv"]\nschedule = 1\n', "schedule"),
        ('["b.csv"]\ndrop-spikes = 1\n', "drop-spikes"),
        ('["b.csv"]\nweight-decay = "x"\n', "weight-decay"),
        ("warmup = 1\n", "warmup"),
        ("[", "TOML"),
    ],
)
def test_refused(logs: list[Path], tmp_path: Path, text: str, named: str) -> None:
    options = tmp_path / "options.toml"
    options.write_text(text)
    for verb in ("import", "inspect"):
        refused = call(verb, *logs, "--out", tmp_path / "set", "--options", options)
        assert_refused(refused, named)
    assert not (tmp_path / "set").exists()


def test_later_tables_count_and_others_stay(tmp_path: Path) -> None:
    file = tmp_path / "options.toml"
    file.write_text('["*"]\nwarmup = 5\nlr-offset = -1\n["x.log"]\nwarmup = 7\n')
    tables = read_log_options(file)
    merged = options_of_log("logs/x.log", Options(steps=9), tables)
    assert (merged.warmup, merged.lr_offset, merged.steps) == (7, -1, 9)
    assert options_of_log("logs/y.log", Options(), tables).warmup == 5
    with pytest.raises(ScalingLawsError, match="no such file"):
        read_log_options(tmp_path / "none.toml")
    with pytest.raises(UsageError, match="z"):
        import_logs([tmp_path / "x.log"], tmp_path / "set", options_by_log={"z": {}})


@pytest.mark.parametrize("form", ["{}", "csv:{}", "{},between=hold"])
def test_a_schedule_file_is_spelt_the_same_everywhere(
    logs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    plan = sl.schedule("cosine:peak=1e-3,end=1e-4,steps=400,warmup=20")
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{step},{lr!r}\n" for step, lr in enumerate(plan.lr.tolist()))
    Path("plan.csv").write_text("step,lr\n" + rows)
    Path("run.csv").write_text(
        "step,lr,loss\n" + "".join(f"{s},{float(plan.lr[s])!r},3\n" for s in range(0, 400, 10))
    )
    spec = form.format("plan.csv")
    assert np.array_equal(sl.schedule(spec).lr, plan.lr)
    assert call_json("verify", "run.csv", "--schedule", spec)["matches"]
    call_json("import", "b.csv", "--out", "set", "--schedule", spec)
    (run,) = sl.load_runs("set").values()  # the set holds the rates, not the path
    assert np.array_equal(run.schedule.lr, plan.lr)
    assert call_json("export", spec, "--to", "csv")


def test_a_schedule_file_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ScalingLawsError, match=r"none\.csv: no such file"):
        sl.schedule(str(tmp_path / "none.csv"))
    with pytest.raises(DataError):
        (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
        sl.schedule(str(tmp_path / "bad.csv"))
