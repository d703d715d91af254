"""Schedules from CSV files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scaling_laws.common.errors import DataError, ScalingLawsError, ScheduleError
from scaling_laws.common.tables import MAX_STEPS
from scaling_laws.models.schedules import densify, schedule


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "plan.csv"


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("step,lr\n0,0.5\n1,0.25\n", "", [0.5, 0.25]),
        ("lr,note,step\n0.5,a,0\n0.25,b,1\n", "", [0.5, 0.25]),
        ("step,lr\n0,1\n3,0.4\n", ",between=hold", [1, 1, 1, 0.4]),
        ("step,lr\n0,1\n3,0.4\n", ",between=linear", [1, 0.8, 0.6, 0.4]),
        ("step,lr\n0,1\n3,0.4\n", ",between=hold,steps=6", [1, 1, 1, 0.4, 0.4, 0.4]),
        ("step,lr\n0,1\n3,0.4\n", ",steps=5,between=linear", [1, 0.8, 0.6, 0.4, 0.4]),
        ("step,lr\n0,1\n1,0.4\n", ",steps=2", [1, 0.4]),
        ("step,lr\n0,1\n", ",between=hold,steps=3", [1, 1, 1]),
    ],
)
def test_rows_become_rates(file: Path, text: str, options: str, expected: list[float]) -> None:
    file.write_text(text)
    assert schedule(f"csv:{file}{options}").lr.tolist() == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize(
    ("text", "options", "error", "message"),
    [
        ("step,lr\n0,1\n3,0.4\n", "", ScheduleError, "between=hold or between=linear"),
        ("step,lr\n0,1\n3,0.4\n", ",between=hold,steps=3", ScheduleError, "step 3, beyond steps=3"),
        ("step,lr\n1,1\n", "", DataError, "row 2, column 'step': 1 is the first step"),
        ("step,lr\n0,1\n\n1,-0.4\n", "", DataError, "row 4, column 'lr': -0.4 is negative"),
        ("step,lr\n0,1\n1,\n", "", DataError, "row 3, column 'lr': the cell is empty"),
        ("step,lr\n0,1\n1,abc\n", "", DataError, "row 3, column 'lr': 'abc' is not a number"),
        ("step,lr\n0,1\n0,1\n", "", DataError, "row 3, column 'step': 0 does not increase"),
        ("step,lr\n0,1\n1.5,1\n", "", DataError, "row 3, column 'step': 1.5 is not a whole"),
        ("step,lr\n0,1\n1e12,1\n", ",between=hold", DataError, "row 3, column 'step': 1e+12"),
        ("step,rate\n0,1\n", "", DataError, "row 1: no column 'lr'"),
        ("step,lr\n", "", DataError, "a header but no rows"),
        ("", "", DataError, "the file is empty"),
    ],
)
def test_bad_files(
    file: Path, text: str, options: str, error: type[ScalingLawsError], message: str
) -> None:
    file.write_text(text)
    with pytest.raises(error) as caught:
        schedule(f"csv:{file}{options}")
    assert message in str(caught.value)
    assert str(file) in str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.csv: no such file"):
        schedule(f"csv:{tmp_path / 'nothing.csv'}")


def test_paths_start_from_the_base_folder(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "plan.csv").write_text("step,lr\n0,1\n")
    assert schedule("csv:sub/plan.csv", base=tmp_path).steps == 1
    assert schedule(f"csv:{tmp_path / 'sub' / 'plan.csv'}", base="elsewhere").steps == 1


def test_paths_may_hold_commas_and_equals_signs(tmp_path: Path) -> None:
    odd = tmp_path / "peak=3e-4,steps.csv"
    odd.write_text("step,lr\n0,1\n2,0\n")
    assert schedule(f"csv:{odd},between=linear").lr.tolist() == [1.0, 0.5, 0.0]


def test_longest_schedule_is_bounded(file: Path) -> None:
    file.write_text("step,lr\n0,1\n")
    with pytest.raises(ScheduleError, match=f"more than {MAX_STEPS:,} steps"):
        schedule(f"csv:{file},between=hold,steps={MAX_STEPS + 1}")


def test_densify_refuses_unknown_words() -> None:
    with pytest.raises(DataError, match="between='cubic'"):
        densify(np.array([0.0]), np.array([1.0]), 3, "cubic")
