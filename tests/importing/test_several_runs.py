"""Files with several runs: split, or refused with what tells the runs apart; one run stays one."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import scaling_laws as sl
from scaling_laws.common.errors import UsageError
from scaling_laws.data.importing import Options, import_logs, inspect_log
from scaling_laws.data.importing.several_runs import SeveralRunsError

SPEC = "constant:peak=1e-3,steps=1000"
PLAN = Options(schedule=SPEC)


def rows(height: float, last: int, every: int = 10, first: int = 0, **values: object) -> list[dict]:
    """A loss that falls from some height, and values that are the same in every row."""
    return [
        {**values, "step": step, "loss": round(height + 3 / (1 + step) ** 0.5, 5)}
        for step in range(first, last, every)
    ]


def write_csv(folder: Path, records: Iterable[dict], name: str = "log.csv") -> Path:
    records = list(records)
    lines = [",".join(records[0])] + [",".join(map(str, each.values())) for each in records]
    file = folder / name
    file.write_text("\n".join(lines) + "\n")
    return file


def write_json(folder: Path, records: Iterable[dict]) -> Path:
    file = folder / "log.json"
    file.write_text(json.dumps(list(records)))
    return file


def write_jsonl(folder: Path, records: Iterable[dict]) -> Path:
    file = folder / "log.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in records))
    return file


def write_parquet(folder: Path, records: Iterable[dict]) -> Path:
    arrow = pytest.importorskip("pyarrow")
    library = pytest.importorskip("pyarrow.parquet")
    file = folder / "log.parquet"
    library.write_table(arrow.Table.from_pylist(list(records)), file)
    return file


WRITERS = (write_csv, write_json, write_jsonl, write_parquet)


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("names", [("small", "large"), (1, 2)])
def test_a_run_column_in_every_table(tmp_path: Path, write, names: tuple) -> None:  # type: ignore[no-untyped-def]
    both = zip(rows(2, 200, run=names[0]), rows(3, 200, run=names[1]), strict=True)
    log = write(tmp_path, [row for pair in both for row in pair])
    reports = import_logs([log], tmp_path / "set", options=PLAN).reports
    assert [each.name for each in reports] == [str(name) for name in names]
    for report, height in zip(reports, (2, 3), strict=True):
        run = sl.read_run(tmp_path / "set" / f"{report.name}.csv")
        assert np.array_equal(run.loss, [row["loss"] for row in rows(height, 200)])


def test_runs_named_by_long_numbers(tmp_path: Path) -> None:
    names = ("2024010112345678901", "2024010112345678902", "007")
    log = write_csv(tmp_path, [row for name in names for row in rows(2, 100, run_id=name)])
    reports = import_logs([log], tmp_path / "set", options=PLAN).reports
    assert [each.name for each in reports] == list(names)


@pytest.mark.parametrize("write", WRITERS)
def test_keys_that_change_where_the_file_begins_anew_are_named(tmp_path: Path, write) -> None:  # type: ignore[no-untyped-def]
    log = write(
        tmp_path,
        rows(3, 300, model="a", width=64, seed=0) + rows(2, 500, model="b", width=128, seed=0),
    )
    with pytest.raises(SeveralRunsError, match=r"(?=.*'model')(?=.*'width')") as error:
        import_logs([log], tmp_path / "set", options=PLAN)
    assert "'seed'" not in str(error.value)
    (run,) = inspect_log(log)  # without a schedule too
    assert not run.ready and f"--run-key {error.value.keys[0]}" in run.command
    split = Options(schedule=SPEC, run_key=error.value.keys[0])
    reports = import_logs([log], tmp_path / "set", options=split).reports
    assert [each.points for each in reports] == [30, 50]


def test_runs_that_only_two_keys_tell_apart(tmp_path: Path) -> None:
    grid = [(width, peak) for width in (64, 128) for peak in (1e-3, 2e-3)]
    log = write_csv(
        tmp_path,
        [
            row
            for index, (width, peak) in enumerate(grid)
            for row in rows(2 + index / 10, 200, width=width, peak_lr=peak)
        ],
    )
    with pytest.raises(SeveralRunsError) as error:
        import_logs([log], tmp_path / "set", options=PLAN)
    assert set(error.value.keys) == {"width", "peak_lr"}
    options = Options(schedule=SPEC, run_key=",".join(error.value.keys))
    assert len(import_logs([log], tmp_path / "set", options=options).reports) == 4


def test_rows_of_runs_that_alternate(tmp_path: Path) -> None:
    both = zip(rows(2, 200, model="a"), rows(3, 200, model="b"), strict=True)
    log = write_csv(tmp_path, [row for pair in both for row in pair])
    with pytest.raises(SeveralRunsError) as error:
        import_logs([log], tmp_path / "set", options=PLAN)
    assert error.value.keys == ("model",)


def test_runs_whose_steps_never_coincide(tmp_path: Path) -> None:
    log = write_csv(tmp_path, rows(3, 300, first=10) + rows(2, 300, first=5))
    with pytest.raises(SeveralRunsError):
        import_logs([log], tmp_path / "set", options=PLAN)


def test_repeats_in_one_text_log(tmp_path: Path) -> None:
    """As a script of modded-nanogpt appends them: nothing but the losses differ."""
    seeds = np.random.default_rng(0)
    lines = [
        f"step:{step}/100 val_loss:{3 + 5 / (1 + step) + seeds.normal(0, 1e-3):.4f} train_time:9ms"
        for _ in range(20)
        for step in range(0, 101, 10)
    ]
    log = tmp_path / "log.txt"
    log.write_text("\n".join(lines) + "\n")
    (run,) = inspect_log(log)
    assert "20 parts" in run.problem and "--split-restarts" in run.command and not run.ready
    options = Options(schedule="constant:peak=1,steps=100", split_restarts=True)
    reports = import_logs([log], tmp_path / "set", options=options).reports
    assert [each.name for each in reports] == [f"log_{number}" for number in range(1, 21)]
    assert {each.points for each in reports} == {10}


def test_repeats_with_one_loss_each(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text("".join(f"step:9/9 val_loss:{3 + i / 100} train_time:9ms\n" for i in range(5)))
    (run,) = inspect_log(log)
    assert "5 losses are logged at one step" in run.problem and not run.ready
    options = Options(schedule="constant:peak=1,steps=9", split_restarts=True)
    assert len(import_logs([log], tmp_path / "set", options=options).reports) == 5


def test_anomalies_are_shown_before_a_schedule_is_given(tmp_path: Path) -> None:
    (run,) = inspect_log(write_csv(tmp_path, rows(2, 300) + rows(2.001, 500, first=250)))
    assert not run.ready and any(each.kind == "repeats" for each in run.findings)


@pytest.mark.parametrize(
    "records",
    [
        rows(2, 300) + rows(2.001, 500, first=250),  # resumed from a checkpoint
        rows(2, 300, job=1) + rows(2.001, 500, first=250, job=2),
        rows(2, 20) + rows(2.001, 500),  # started again after a few rows
        rows(2, 300) + rows(2, 300),  # written twice
        rows(2.001, 500, first=250) + rows(2, 300),  # the newest part first
        rows(2.001, 500, first=250, job=2) + rows(2, 300, job=1),
        rows(2, 500)[::-1],
        rows(2, 250, batch=8) + rows(2, 500, first=250, batch=16),
    ],
)
def test_one_run_stays_one(tmp_path: Path, records: list[dict]) -> None:
    (report,) = import_logs([write_csv(tmp_path, records)], tmp_path / "set", options=PLAN).reports
    assert report.points == len({row["step"] for row in records})


def test_a_start_from_scratch_is_one_run_on_request(tmp_path: Path) -> None:
    log = write_csv(tmp_path, rows(2, 300) + rows(2.1, 500))
    with pytest.raises(SeveralRunsError, match="--repeats last"):
        import_logs([log], tmp_path / "set", options=PLAN)
    (report,) = import_logs(
        [log], tmp_path / "set", options=Options(schedule=SPEC, repeats="last")
    ).reports
    assert report.points == 50


def test_an_unknown_run_key(tmp_path: Path) -> None:
    log = write_csv(tmp_path, rows(2, 300, model="a"))
    with pytest.raises(UsageError, match=r"modle.*model"):
        import_logs([log], tmp_path / "set", options=Options(run_key="modle"))


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.integers(10, 40), min_size=2, max_size=4), st.sampled_from((1, 10)), st.booleans()
)
def test_runs_in_a_row_are_never_one(
    tmp_path: Path, lengths: list[int], every: int, named: bool
) -> None:
    runs = [
        rows(2 + number, count * every, every, **({"model": f"m{number}"} if named else {}))
        for number, count in enumerate(lengths)
    ]
    log = write_csv(tmp_path, [row for run in runs for row in run])
    with pytest.raises(SeveralRunsError) as error:
        import_logs([log], tmp_path / "set", options=PLAN)
    assert error.value.keys == (("model",) if named else ())
    split = Options(schedule=SPEC, run_key="model" if named else None, split_restarts=not named)
    reports = import_logs([log], tmp_path / "set", options=split, overwrite=True).reports
    assert [each.points for each in reports] == lengths
