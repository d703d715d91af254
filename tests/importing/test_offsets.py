"""Rates logged an update late or early: what is exact is said, what cannot be seen is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import scaling_laws as sl
from scaling_laws.common.errors import DataError, UsageError
from scaling_laws.data.importing import InspectedRun, Options, import_logs, inspect_log

COSINE = "cosine:peak=0.0003,end=3e-05,steps=1000,warmup=100"
WSD = "wsd:peak=0.001,steps=1500,warmup=50,decay=linear,decay_start=1200"
RESTARTS = "cosine_restarts:peak=0.0003,steps=1000,end=3e-05,cycle=300,warmup=100"


def hugging_face(steps: int, warmup: int) -> np.ndarray:
    """Its cosine: the ramp reaches the peak where the decay begins."""
    t = np.arange(steps)
    fall = 0.5 * 6e-4 * (1 + np.cos(np.pi * (t - warmup) / (steps - warmup)))
    return np.where(t < warmup, 6e-4 * t / warmup, fall)


def log_of(folder: Path, lr: np.ndarray, offset: int, every: int = 10, first: int = 0) -> Path:
    """Rows that log the rate of the update so many after their own."""
    steps = np.arange(first, lr.size - 1, every)
    rows = zip(steps, lr[np.clip(steps + offset, 0, lr.size - 1)], strict=True)
    file = folder / "run.csv"
    file.write_text("step,lr,loss\n" + "".join(f"{step},{rate:.8g},3\n" for step, rate in rows))
    return file


def words(run: InspectedRun) -> str:
    return " ".join(each.words for each in run.findings if each.kind == "lr_offset")


@pytest.mark.parametrize(
    ("spec", "every", "first"),
    [
        (COSINE, 10, 10),
        pytest.param(COSINE, 1, 0, marks=pytest.mark.slow),
        pytest.param(WSD, 10, 0, marks=pytest.mark.slow),
        pytest.param(RESTARTS, 10, 10, marks=pytest.mark.slow),
    ],
)
def test_a_rate_logged_late_fits_one_offset_only(
    tmp_path: Path, spec: str, every: int, first: int
) -> None:
    plan = sl.schedule(spec)
    log = log_of(tmp_path, plan.lr, -1, every, first)
    with pytest.raises(UsageError, match=r"agrees to its printed digits with --lr-offset -1 \("):
        import_logs([log], tmp_path / "set")
    (run,) = inspect_log(log)
    assert "--lr-offset -1" in run.problem and "--lr-offset 1" not in run.problem
    assert run.ready and run.command.endswith("--lr-offset -1")
    found = import_logs([log], tmp_path / "set", options=Options(lr_offset=-1))
    last = found.reports[0].last_step
    (written,) = sl.load_runs(tmp_path / "set").values()
    np.testing.assert_allclose(written.schedule.lr[:last], plan.lr[:last], rtol=0, atol=1e-12)
    # what was told to hold between the rows does not hide it
    stated_length = import_logs(
        [log], tmp_path / "stated_length", options=Options(between="linear")
    )
    assert any("--lr-offset -1" in each.words for each in stated_length.reports[0].findings)


@pytest.mark.parametrize(
    ("lr", "words_of_it"),
    [
        (sl.schedule(COSINE).lr, f"with --lr-offset 1, as {COSINE}; "),
        (sl.schedule(WSD).lr, f"with --lr-offset 1, as {WSD}; "),
        (hugging_face(1000, 100), "with --lr-offset 1, as cosine from 0.0006 at step 100 to 0 at"),
    ],
)
def test_a_rate_logged_early_fits_both(tmp_path: Path, lr: np.ndarray, words_of_it: str) -> None:
    (run,) = inspect_log(log_of(tmp_path, lr, 1))
    assert "agree exactly both with --lr-offset 0" in words(run) and words_of_it in words(run)
    assert "the latter has rounder numbers: pass --lr-offset 1 if the trainer logs" in words(run)
    assert "--lr-offset" not in run.command and run.ready  # said, not done


@pytest.mark.parametrize("spec", [COSINE, WSD, RESTARTS])
def test_nothing_is_said_of_a_right_log(tmp_path: Path, spec: str) -> None:
    lr = sl.schedule(spec).lr
    for every, first in ((10, 10), (1, 0)):
        (run,) = inspect_log(log_of(tmp_path, lr, 0, every, first))
        assert not words(run) and run.ready and not run.problem


def test_nothing_is_said_of_a_ramp_that_meets_its_decay(tmp_path: Path) -> None:
    (run,) = inspect_log(log_of(tmp_path, hugging_face(2991, 300), 0))
    assert not words(run)


def test_the_planned_end_counts_for_more_than_round_numbers(tmp_path: Path) -> None:
    lr = hugging_face(1337, 123)
    log = log_of(tmp_path, lr, 1)
    assert not words(inspect_log(log)[0])  # no number is round either way
    (run,) = inspect_log(log, options=Options(steps=1337))
    assert "only the latter ends at the 1337 steps that were planned: pass --lr-offset 1" in (
        words(run)
    )
    (right,) = inspect_log(log_of(tmp_path, lr, 0), options=Options(steps=1337))
    assert not words(right)


def test_a_given_schedule_shows_the_offset(tmp_path: Path) -> None:
    plan = sl.schedule(COSINE)
    for offset in (1, -1):
        log = log_of(tmp_path, plan.lr, offset)
        with pytest.raises(DataError, match=f"to every digit with --lr-offset {offset}: pass it"):
            import_logs([log], tmp_path / "set", options=Options(schedule=COSINE))
        (run,) = inspect_log(log, options=Options(schedule=COSINE, lr_offset=offset))
        assert run.ready and "agree with the schedule to every digit" not in words(run)
    # a fall so slow that the tolerance of a set does not see it
    slow = sl.schedule("linear:peak=0.0003,steps=5000")
    log = log_of(tmp_path, slow.lr, 1)
    (run,) = inspect_log(log, options=Options(schedule=slow.spec))
    assert "to every digit with --lr-offset 1" in words(run) and run.ready
    (run,) = inspect_log(log_of(tmp_path, slow.lr, 0), options=Options(schedule=slow.spec))
    assert not words(run)
