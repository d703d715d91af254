"""Logs that hold something else than one run: refused with the place and the mend."""

from __future__ import annotations

from pathlib import Path

import pytest

import scaling_laws as sl
from scaling_laws.common.errors import DataError, UsageError
from scaling_laws.data.importing import Options, import_logs, inspect_log

PLAN = sl.schedule("cosine:peak=0.001,end=0.0001,steps=400,warmup=20")


def rows(first: int = 0, last: int = 400, factor: float = 1.0, start: int = 0) -> str:
    steps = range(first, last, 10)
    return "".join(f"{s - start},{factor * PLAN.lr[s]:.6e},{4 - s / 400:.4f}\n" for s in steps)


def write(folder: Path, text: str, header: str = "step,lr,loss\n") -> Path:
    file = folder / "log.csv"
    file.write_text(header + text)
    return file


@pytest.mark.parametrize("text", [rows() + rows(factor=0.5), rows(0, 200) + rows(200, start=200)])
def test_two_runs_or_epochs_in_one_file(tmp_path: Path, text: str) -> None:
    with pytest.raises(
        UsageError, match=r"(returns to its first step 1x|begins anew) .* split the file"
    ):
        import_logs([write(tmp_path, text)], tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_a_restart_from_nothing_is_one_run(tmp_path: Path) -> None:
    found = import_logs([write(tmp_path, rows(0, 100) + rows())], tmp_path / "set")
    assert found.reports[0].points == 40


@pytest.mark.parametrize(
    ("text", "column"),
    [
        (rows() + "mean,,3\n", "line 42, column 'step': 'mean'"),
        (rows() + "400,oops,3\n", "line 42, column 'lr': 'oops'"),
        (rows() + "400,0.0001,three\n", "line 42, column 'loss': 'three'"),
    ],
)
def test_a_cell_that_is_no_number_is_named(tmp_path: Path, text: str, column: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(DataError, match=column):
        import_logs([file], tmp_path / "set")
    if "'lr'" in column:  # the rates are not needed where the schedule is given
        given = Options(schedule="constant:peak=0.001,steps=500")
        import_logs([file], tmp_path / "set", options=given)


def test_rates_printed_too_coarsely(tmp_path: Path) -> None:
    text = "".join(f"{s},{PLAN.lr[s]:.5f},{4 - s / 400:.4f}\n" for s in range(0, 400, 10))
    fine = write(tmp_path, text)
    import_logs([fine], tmp_path / "fine", options=Options(between="linear"))
    few = "".join(f"{s},{PLAN.lr[s]:.3f},{4 - s / 400:.4f}\n" for s in range(0, 400, 10))
    with pytest.raises(UsageError, match=r"may be off by 0.5 of the peak, .* --schedule SPEC"):
        import_logs([write(tmp_path, few)], tmp_path / "set", options=Options(between="linear"))


def test_runs_of_one_chart_are_not_joined(tmp_path: Path) -> None:
    text = "".join(f"{s},3.5,3.4,{PLAN.lr[s]:.6e}\n" for s in range(0, 400, 10))
    header = "Step,big - loss,small - loss,big - lr\n"
    file = write(tmp_path, text, header)
    with pytest.raises(UsageError, match=r"contains 2 runs \(big, small\).*--run"):
        import_logs([file], tmp_path / "set", join=True)
    import_logs([file], tmp_path / "set", join=True, runs=["big"])


def test_few_evaluations_are_not_proposed(tmp_path: Path) -> None:
    text = "".join(
        f"{s},{PLAN.lr[s]:.6e},{4 - s / 400:.4f},{3 if s == 200 else ''}\n"
        for s in range(0, 400, 10)
    )
    (seen,) = inspect_log(write(tmp_path, text, "step,lr,loss,val_loss\n"))
    assert seen.ready and "--loss-key loss" in seen.command


def test_notes_of_the_file_are_shown_where_nothing_can_be_imported(tmp_path: Path) -> None:
    text = "".join(f"{s},3.5\n" for s in range(0, 400, 10))
    (seen,) = inspect_log(write(tmp_path, text, "Step,big - loss\n"))
    assert not seen.ready and any("--join" in each.words for each in seen.findings)
