"""Logs that begin after their warm-up, or show one that is stated as well: nothing is assumed."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest

import scaling_laws as sl
from scaling_laws.data.importing import InspectedRun, Options, import_logs, inspect_log
from scaling_laws.data.importing.hidden_warmups import HiddenWarmupError


def hugging_face(kind: str, steps: int, warmup: int, peak: float = 3e-4) -> np.ndarray:
    """The rates of its named schedules: the peak is reached at step `warmup`."""
    t = np.arange(steps, dtype=np.float64)
    x = (t - warmup) / (steps - warmup)
    fall = {
        "cosine": 0.5 * (1 + np.cos(np.pi * x)),
        "linear": 1 - x,
        "constant": np.ones(steps),
    }[kind]
    return peak * np.where(t < warmup, t / max(warmup, 1), fall)


def state(folder: Path, lr: np.ndarray, every: int, offset: int) -> Path:
    """A trainer_state.json whose rows log the rate of the update so many after their own."""
    done = np.arange(every, lr.size + 1, every)
    rates = np.append(lr, 0.0)[done - 1 + offset]
    rows = [
        {"step": int(step), "loss": 2 + 5 / float(step) ** 0.5, "learning_rate": float(rate)}
        for step, rate in zip(done, rates, strict=True)
    ]
    file = folder / "trainer_state.json"
    document = {"global_step": int(lr.size), "max_steps": int(lr.size), "log_history": rows}
    file.write_text(json.dumps(document))
    return file


def seen(log: Path, **options: object) -> InspectedRun:
    (run,) = inspect_log(log, options=Options(**options))  # type: ignore[arg-type]
    return run


@pytest.mark.parametrize(("warmup", "offset"), [(100, 1), (363, 0)])
def test_the_start_of_the_decay_is_suggested_and_not_taken(
    tmp_path: Path, warmup: int, offset: int
) -> None:
    log = state(tmp_path, hugging_face("cosine", 6000, warmup), 400, offset)
    run = seen(log)
    words = shlex.split(run.command)
    assert not run.ready and words[words.index("--warmup") + 1] == str(warmup)
    assert ("--lr-offset" in words) == bool(offset)
    with pytest.raises(HiddenWarmupError) as error:
        import_logs([log], tmp_path / "set")
    assert error.value.hidden is not None and not error.value.hidden.certain


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("kind", ["cosine", "linear"])
def test_a_decay_from_the_first_step_leaves_no_warm_up(
    tmp_path: Path, kind: str, offset: int
) -> None:
    lr = hugging_face(kind, 1100, 0, 3e-5)
    run = seen(state(tmp_path, lr, 200, offset))
    assert run.ready and "--warmup 0" in run.command and "--between" not in run.command
    assert np.abs(sl.schedule(run.schedule).lr - lr).max() < 1e-9 * 3e-5 + 1e-15


@pytest.mark.parametrize("kind", ["constant", "linear"])
def test_rates_that_say_nothing_leave_it_open(tmp_path: Path, kind: str) -> None:
    run = seen(state(tmp_path, hugging_face(kind, 6000, 300), 400, 0))
    assert not run.ready and run.command.endswith("--warmup STEPS")


def test_no_family_leaves_the_warm_up_open(tmp_path: Path) -> None:
    lr = 3e-4 / (1 + np.sqrt(np.arange(6000)) / 50 + 0.1 * np.sin(np.arange(6000)) ** 2)
    run = seen(state(tmp_path, lr, 400, 0))
    assert not run.ready and "--between linear --warmup STEPS" in run.command


def table(folder: Path, lr: np.ndarray, first: int, every: int = 40) -> Path:
    file = folder / "log.csv"
    steps = range(first, lr.size, every)
    file.write_text("step,lr,loss\n" + "".join(f"{s},{float(lr[s])!r},3\n" for s in steps))
    return file


@pytest.mark.parametrize("stated", [60, 80])
def test_a_stated_warm_up_does_not_override_the_one_that_is_logged(
    tmp_path: Path, stated: int
) -> None:
    lr = hugging_face("cosine", 800, 60)
    log = table(tmp_path, lr.astype(float), 0)
    import_logs([log], tmp_path / "set", options=Options(warmup=stated))
    (run,) = sl.load_runs(tmp_path / "set").values()
    assert np.abs(run.schedule.lr[:781] - lr[:781]).max() < 1e-9
    found = seen(log, warmup=stated)
    assert found.ready and "--lr-offset" not in found.command


def test_one_warm_up_for_a_batch_of_logs(tmp_path: Path) -> None:
    """Some of them show it and some do not."""
    lr = sl.schedule("cosine:peak=3e-4,end=3e-5,steps=800,warmup=60").lr
    for name, first in (("shown", 0), ("hidden", 80)):
        (tmp_path / name).mkdir()
        table(tmp_path / name, lr, first).rename(tmp_path / f"{name}.csv")
    logs = [tmp_path / "shown.csv", tmp_path / "hidden.csv"]
    import_logs(logs, tmp_path / "set", options=Options(warmup=60))
    for run in sl.load_runs(tmp_path / "set").values():
        assert np.abs(run.schedule.lr[:781] - lr[:781]).max() < 1e-9


def test_held_ends_are_said(tmp_path: Path) -> None:
    lr = 3e-4 / (1 + np.sqrt(np.arange(1001)) / 50 + 0.1 * np.sin(np.arange(1001)) ** 2)
    log = tmp_path / "log.csv"
    rows = [f"{step},{float(lr[step])!r},3\n" for step in range(100, 901, 50)]
    log.write_text("step,lr,loss\n" + "".join(rows) + "1000,,3\n")
    options = Options(warmup=20, between="linear", steps=2000)
    (report,) = import_logs([log], tmp_path / "set", options=options).reports
    said = " ".join(each.words for each in report.findings)
    for words in ("80 updates before step 100", "100 updates after step 900", "2000 updates"):
        assert words in said
