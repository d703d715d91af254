"""Joined specs: one schedule after another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scaling_laws.common.errors import DataError, ScheduleError
from scaling_laws.common.tables import MAX_STEPS
from scaling_laws.models.schedules import Schedule, reads_files, schedule

FIRST = "cosine:peak=3e-4,end=3e-5,steps=100,warmup=5"
SECOND = "cosine:peak=1.5e-4,steps=50,warmup=20,warmup_from=3e-5"


@pytest.mark.parametrize("plus", [" + ", "+", "  +", "+\n"])
def test_parts_follow_each_other(plus: str) -> None:
    spec = FIRST + plus + SECOND
    plan = schedule(f" {spec} ")
    np.testing.assert_array_equal(plan.lr, [*schedule(FIRST).lr, *schedule(SECOND).lr])
    assert plan.spec == spec
    assert plan.joins == (100,)
    assert plan.lr[100] == 3e-5  # the warm-up starts where the first cosine ended
    assert plan.warmup == 5  # that of the first part
    assert plan.peak_lr == 3e-4


def test_three_parts_and_none() -> None:
    plan = schedule(" + ".join(["linear:peak=1,steps=2", "constant:peak=1,steps=3"] * 2))
    assert plan.joins == (2, 5, 7)
    assert plan.lr.tolist() == [1.0, 0.5, 1.0, 1.0, 1.0] * 2
    assert schedule(FIRST).joins == ()


@pytest.mark.parametrize("peak", ["1e+3", "+1000", "1.0e+03"])
def test_plus_sign_of_a_number(peak: str) -> None:
    assert schedule(f"constant:peak={peak},steps=2").lr.tolist() == [1e3, 1e3]
    assert schedule(f"linear:peak={peak},steps=2+constant:peak=1,steps=1").joins == (2,)


def test_plus_sign_in_a_path(tmp_path: Path) -> None:
    (tmp_path / "a + b+c.csv").write_text("step,lr\n0,1\n")
    assert schedule("csv:a + b+c.csv", base=tmp_path).lr.tolist() == [1.0]
    plan = schedule("csv:a + b+c.csv,between=hold,steps=2 + csv:a + b+c.csv", base=tmp_path)
    assert plan.lr.tolist() == [1.0, 1.0, 1.0]
    assert plan.joins == (2,)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (f"{FIRST} + cosin:peak=1", "part 2 of 2 (cosin:peak=1): unknown schedule family 'cosin'"),
        ("linear:peak=1 + " + FIRST, "part 1 of 2 (linear:peak=1): steps missing"),
        (f"{FIRST}+linear:peak=x,steps=4", "part 2 of 2 (linear:peak=x,steps=4): peak=x: is not"),
        (f"+ {FIRST}", "part 1 of 2 (): unknown schedule family ''"),
        (f"{FIRST} +", "warmup=5 +: is not a number"),
        ("linear:peak=1,steps=0+" + FIRST, "part 1 of 2 (linear:peak=1,steps=0): steps=0: a"),
    ],
)
def test_errors_name_the_part(spec: str, message: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        schedule(spec)
    assert message in str(caught.value)


def test_bad_file_of_a_part_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"part 2 of 2 \(csv:none\.csv\): .*none\.csv: no such file"
    ):
        schedule(f"{FIRST} + csv:none.csv", base=tmp_path)


def test_all_parts_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scaling_laws.models.schedules.MAX_STEPS", 100)
    with pytest.raises(ScheduleError, match="150 is more than 100 steps"):
        schedule(f"{FIRST} + {SECOND}")
    assert MAX_STEPS > 100


@pytest.mark.parametrize("joins", [(0,), (3,), (2, 1), (1, 1), (-1,)])
def test_joins_lie_within_the_schedule(joins: tuple[int, ...]) -> None:
    with pytest.raises(ScheduleError, match=r"must increase within 1\.\.2"):
        Schedule("mine", np.ones(3), joins)
    assert Schedule("mine", np.ones(3), (1, 2)) == Schedule("mine", np.ones(3))


@pytest.mark.parametrize(
    ("spec", "reads"),
    [
        ("cosine:peak=1,steps=9", False),
        ("csv:a.csv", True),
        ("refined:trace=a.csv,peak=1,steps=9", True),
        ("cosine:peak=1,steps=9 + csv:a.csv", True),
        ("cosine:peak=1e+3,steps=9 + linear:peak=1,steps=9", False),
    ],
)
def test_which_specs_read_files(spec: str, reads: bool) -> None:
    assert reads_files(spec) == reads
