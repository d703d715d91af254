"""Logs with the common faults, each of which is identified."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import scaling_laws as sl
from scaling_laws.common.errors import DataError, UsageError
from scaling_laws.data import Options
from scaling_laws.decisions.export import verify_schedule

Array = NDArray[np.float64]
WSD = "wsd:peak=3e-4,steps=4000,warmup=200,decay_fraction=0.25"
COSINE = "cosine:peak=3e-4,end=3e-5,steps=4000,warmup=200"


def write(folder: Path, lr: Array, every: int = 10, digits: int = 6) -> Path:
    path = folder / "run.csv"
    rows = (f"{step},{lr[step]:.{digits}e}\n" for step in range(0, len(lr), every))
    path.write_text("step,lr\n" + "".join(rows), encoding="utf-8")
    return path


def rates(spec: str) -> Array:
    return sl.schedule(spec).lr


def after_restart(spec: str, at: int) -> Array:
    lr = rates(spec)
    return np.concatenate([lr[:at], lr[: len(lr) - at]])


def shifted(spec: str, by: int) -> Array:
    lr = rates(spec)
    return lr[np.clip(np.arange(len(lr)) + by, 0, len(lr) - 1)]


def second_ramp(at: int, steps: int) -> Array:
    """Multipliers of a warm-up within the run: (4000,)."""
    step = np.arange(4000)
    return np.where(step < at, 1.0, np.minimum((step - at) / steps, 1.0))


@pytest.mark.parametrize("spec", [WSD, COSINE, "constant:peak=1e-3,steps=50"])
@pytest.mark.parametrize("every", [1, 7, 100])
def test_a_faithful_log_matches(spec: str, every: int, tmp_path: Path) -> None:
    found = verify_schedule(write(tmp_path, rates(spec), every), spec)
    assert found.matches and found.fault is None and found.first_bad_step is None
    assert found.max_relative < 1e-6 and all(row.good for row in found.table)
    assert found.n_rows == len(range(0, len(rates(spec)), every))


def test_rounded_logs_match(tmp_path: Path) -> None:
    assert verify_schedule(write(tmp_path, rates(COSINE), digits=3), COSINE).matches


FAULTS: dict[str, tuple[str, Callable[[], Array], str, str]] = {
    "one step late": (WSD, lambda: shifted(WSD, -1), "off_by_one", "step before it"),
    "one step ahead": (WSD, lambda: shifted(WSD, 1), "off_by_one", "step after it"),
    "wrong peak": (COSINE, lambda: 2 * rates(COSINE), "factor", "2 times"),
    "lower peak": (WSD, lambda: 0.9 * rates(WSD), "factor", "0.9 times"),
    "multipliers": (COSINE, lambda: rates(COSINE) / 3e-4, "multiplier_logged", "multipliers"),
    "rates as multipliers": (COSINE, lambda: rates(COSINE) * 3e-4, "applied_twice", "absolute"),
    "squared": (COSINE, lambda: rates(COSINE) ** 2 / 3e-4, "applied_twice", "squared"),
    "longer warm-up": (
        WSD,
        lambda: rates(WSD.replace("warmup=200", "warmup=500")),
        "warmup",
        "instead of step 199",
    ),
    "no warm-up": (
        WSD,
        lambda: rates(WSD.replace(",warmup=200", "")),
        "warmup",
        "about step 0 instead of step 199",
    ),
    "more total steps": (
        COSINE,
        lambda: rates(COSINE.replace("steps=4000", "steps=5000"))[:4000],
        "total_steps",
        "about 5000 total steps instead of 4000",
    ),
    "fewer total steps": (
        "linear:peak=1e-3,steps=4000",
        lambda: np.append(rates("linear:peak=1e-3,steps=3000"), np.zeros(1000)),
        "total_steps",
        "instead of 4000",
    ),
    "rows past the end": (
        COSINE,
        lambda: np.append(rates(COSINE), np.zeros(100)),
        "past_end",
        "every row up to the schedule's end agrees",
    ),
    "no cooldown": (
        WSD,
        lambda: np.where(np.arange(4000) < 200, rates(WSD), 3e-4),
        "no_cooldown",
        "never began",
    ),
    "fewer steps than planned": (
        "linear:peak=1e-3,steps=4000",
        lambda: rates("linear:peak=1e-3,steps=3000"),
        "total_steps",
        "about 3000 total steps instead of 4000",
    ),
    "another end": (
        COSINE,
        lambda: rates(COSINE.replace("end=3e-5", "end=6e-5")),
        "end",
        "falls to 6e-05 instead of 3e-05",
    ),
    "no end given": (
        WSD,
        lambda: rates(WSD.replace("steps", "end=3.1e-5,steps")),
        "end",
        "falls to",
    ),
    "restart under a warm-up": (WSD, lambda: after_restart(WSD, 2000), "restarted", "step 2000"),
    "restart of a cosine": (COSINE, lambda: after_restart(COSINE, 1500), "restarted", "1500"),
    "late cooldown": (
        WSD,
        lambda: rates("wsd:peak=3e-4,steps=4300,warmup=200,decay_start=3300")[:4000],
        "cooldown_late",
        "late",
    ),
    "late cooldown, same end": (
        WSD,
        lambda: rates("wsd:peak=3e-4,steps=4000,warmup=200,decay_start=3500"),
        "cooldown_late",
        "late",
    ),
    "early cooldown": (
        WSD,
        lambda: rates("wsd:peak=3e-4,steps=4000,warmup=200,decay_start=2500"),
        "cooldown_early",
        "early",
    ),
    "held after a resume": (
        COSINE,
        lambda: np.where(np.arange(4000) < 2400, rates(COSINE), rates(COSINE)[2400]),
        "held",
        "the rate is held from step 2400",
    ),
    "held at the peak after a resume": (
        COSINE,
        lambda: np.where(np.arange(4000) < 2400, rates(COSINE), 3e-4),
        "held",
        "the rate is held from step 2400",
    ),
    "second warm-up": (
        COSINE,
        lambda: rates(COSINE) * second_ramp(2400, 300),
        "second_warmup",
        "a new warm-up of 300 steps at 2400",
    ),
    "second warm-up to a level": (
        WSD,
        lambda: rates(WSD) * second_ramp(1200, 100),
        "second_warmup",
        "a new warm-up of 100 steps at 1200",
    ),
    "shifted late": (COSINE, lambda: shifted(COSINE, -200), "shifted", "200 steps late"),
    "shifted ahead": (WSD, lambda: shifted(WSD, 60), "shifted", "60 steps ahead"),
    "resumed with an older scheduler": (
        COSINE,
        lambda: np.append(rates(COSINE)[:2000], rates(COSINE)[1700:3700]),
        "shifted",
        "300 steps late from step 2000",
    ),
    "counted in samples of half a batch": (
        COSINE,
        lambda: np.interp(
            np.maximum(np.arange(4000) / 2, np.arange(4000) - 400.0),
            np.arange(4000),
            rates(COSINE),
        ),
        "shifted",
        "400 steps late from step 800",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("every", [1, 10])
def test_faults_are_identified(name: str, every: int, tmp_path: Path) -> None:
    spec, make, fault, words = FAULTS[name]
    logged = make()
    found = verify_schedule(write(tmp_path, logged, every), spec)
    assert (found.fault, words in found.diagnosis) == (fault, True), found.diagnosis
    planned = rates(spec)
    size = max(len(logged), len(planned))  # beyond its end a schedule keeps its last rate
    planned = np.append(planned, np.full(size - len(planned), planned[-1]))[: len(logged)]
    off = np.abs(logged - planned)[::every]
    if not found.matches:
        bad = np.flatnonzero(off > 2e-3 * 3e-4)
        assert found.first_bad_step is not None
        assert bad.size == 0 or found.first_bad_step >= every * int(bad[0])
        assert any(row.step == found.first_bad_step and not row.good for row in found.table)
    assert found.max_deviation == pytest.approx(off.max(), rel=1e-4)


def test_off_by_one_within_the_tolerance_is_reported(tmp_path: Path) -> None:
    spec = "cosine:peak=3e-4,steps=20000"
    found = verify_schedule(write(tmp_path, shifted(spec, 1), 10, digits=12), spec)
    assert found.matches and found.fault == "off_by_one"
    assert (
        "within the tolerance; yet each row contains the rate of the step after" in found.diagnosis
    )


def test_a_longer_run(tmp_path: Path) -> None:
    lr = np.append(rates(WSD), np.full(100, rates(WSD)[-1]))
    found = verify_schedule(write(tmp_path, lr), WSD)
    assert not found.matches and found.fault == "longer_run" and found.first_bad_step == 4000


def test_another_schedule_altogether(tmp_path: Path) -> None:
    lr = 3e-4 * np.random.default_rng(0).uniform(size=4000)
    found = verify_schedule(write(tmp_path, lr), WSD)
    assert not found.matches and found.fault is None
    assert "no common fault explains it" in found.diagnosis


def test_rows_without_a_rate_and_other_columns_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    path.write_text("step,loss,lr\n0,,1.0\n1,x,\n2,3.0,0.5\n", encoding="utf-8")
    found = verify_schedule(path, "linear:peak=1.0,steps=4")
    assert found.matches and found.n_rows == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("step,loss\n0,1\n", "no key is recognised as the learning rate"),
        ("count,lr\n0,1\n", "no key is recognised as the step"),
        ("step,lr\n0,-1\n", "negative"),
        ("step,lr\n0,\n", "no key is recognised as the learning rate"),
        ("step,lr\n0,1e-4\n1,x\n", "line 3, column 'lr': 'x'"),
        ("step,lr\n-1,1e-4\n", "not a whole number"),
        ("step,lr\n5000,1e-4\n", "beyond the schedule's 4000 steps"),
    ],
)
def test_files_that_cannot_be_compared(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        verify_schedule(path, WSD)


@pytest.mark.parametrize("tolerance", [0.0, -1.0, 1.0, float("nan")])
def test_tolerance(tolerance: float, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="tolerance"):
        verify_schedule(write(tmp_path, rates(WSD)), WSD, tolerance=tolerance)


def case(name: str, root: Path) -> Path:
    folder = root.parent / "shared" / "cases" / name
    if not folder.is_dir():
        pytest.skip("the small logs of ../shared/cases are not beside this checkout")
    return folder


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("resume_flat", "the rate is held from step 6000"),
        ("resume_warmup", "a new warm-up of 500 steps at 6000"),
        ("ramp", "500 steps late from step 1000"),
    ],
)
def test_faults_of_public_reports(log: str, words: str, root: Path) -> None:
    path = case("verify_unnamed_faults", root) / f"{log}.csv"
    found = verify_schedule(path, "cosine:peak=3e-4,end=3e-5,steps=10000,warmup=500")
    assert words in found.diagnosis


def test_state_of_a_trainer(root: Path) -> None:
    """A run whose last step is 10 times the schedule's end, and one of its own schedule."""
    path = case("verify_trainer_state", root) / "trainer_state.json"
    with pytest.raises(DataError, match="update 99, beyond the schedule's 10 steps"):
        verify_schedule(path, "constant:peak=1e-3,steps=10")
    found = verify_schedule(path, "constant:peak=9.727e-4,steps=14534,warmup=362")
    assert found.n_rows == 145 and found.table[0].step == 99


@pytest.mark.parametrize("repeats", ["last", "first"])
def test_a_restart_in_the_log(repeats: str, tmp_path: Path) -> None:
    """The rows of a restart are resolved as in an import."""
    lr = rates(COSINE)
    path = tmp_path / "run.csv"
    steps = [*range(0, 2000, 10), *range(1500, 4000, 10)]
    values = lr[steps].copy()
    values[: 200 if repeats == "last" else 0][150:] = 1e-3  # replaced by later rows
    path.write_text("step,lr\n" + "".join(f"{s},{v}\n" for s, v in zip(steps, values, strict=True)))
    found = verify_schedule(path, COSINE, options=Options(repeats=repeats))
    assert found.matches and found.n_rows == 400
