"""Runs that load: where their schedule and facts come from, what they are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scaling_laws.common.errors import DataError, ScalingLawsError, UsageError
from scaling_laws.data.runs import Run, load_runs, read_run
from scaling_laws.models.schedules import schedule

LINEAR = "linear:peak=1.0,steps=4"  # 1, 0.75, 0.5, 0.25


def make_set(folder: Path, toml: str = "", **runs: str) -> Path:
    """A folder of runs, each given as the text of its CSV."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in runs.items():
        (folder / f"{name}.csv").write_text(text)
    if toml:
        (folder / "dataset.toml").write_text(toml)
    return folder


LOG = "step,lr,loss\n0,1,4\n2,0.5,3\n"


# --- schedules from dataset.toml ---


def test_spec_gives_the_rate_of_every_step(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set", f'[runs.a]\nschedule = "{LINEAR}"', a=LOG)
    run = load_runs(folder)["a"]
    assert run.schedule.lr.tolist() == [1.0, 0.75, 0.5, 0.25]  # beyond the last logged step too
    assert run.steps.tolist() == [0, 2]
    assert run.loss.tolist() == [4.0, 3.0]
    assert (run.name, run.source) == ("a", str(folder / "a.csv"))


@pytest.mark.parametrize(
    "log",
    [
        "step,loss\n0,4\n2,3\n",
        "step,lr,loss\n0,,4\n2,,3\n",
        "loss,note,step\n4,x,0\n3,y,2\n",
        "step,lr,loss\n0,1.0019,4\n2,0.4981,3\n",  # rounded by less than 0.2 % of the peak
    ],
)
def test_spec_does_without_exact_logged_rates(tmp_path: Path, log: str) -> None:
    folder = make_set(tmp_path, f'[runs.a]\nschedule = "{LINEAR}"', a=log)
    run = load_runs(folder)["a"]
    assert run.schedule == schedule(LINEAR)
    assert run.steps.tolist() == [0, 2] and run.loss.tolist() == [4.0, 3.0]


@pytest.mark.parametrize("peak", [1e-5, 1.0, 1e3])
@pytest.mark.parametrize("error", [-0.0021, -0.0019, 0.0019, 0.0021])
def test_tolerance_of_logged_rates_is_a_share_of_the_peak(
    tmp_path: Path, peak: float, error: float
) -> None:
    log = f"step,lr,loss\n0,{peak!r},4\n2,{(0.5 + error) * peak!r},3\n"
    folder = make_set(tmp_path, f'[runs.a]\nschedule = "linear:peak={peak!r},steps=4"', a=log)
    if abs(error) < 0.002:
        assert load_runs(folder)["a"].schedule.peak_lr == peak
    else:
        with pytest.raises(DataError) as caught:
            load_runs(folder)
        assert (caught.value.row, caught.value.column) == (3, "lr")


def test_spec_argument_goes_before_dataset_toml(tmp_path: Path) -> None:
    folder = make_set(
        tmp_path, f'[runs.a]\nschedule = "{LINEAR}"', a="step,lr,loss\n0,1,4\n2,1,3\n"
    )
    run = read_run(folder / "a.csv", spec="constant:peak=1,steps=3")
    assert run.schedule.lr.tolist() == [1.0, 1.0, 1.0]


def test_csv_specs_start_from_the_folder_of_the_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_set(
        tmp_path / "set",
        '[runs.a]\nschedule = "csv:plans/a.csv,between=linear"',
        a="step,lr,loss\n0,1,4\n1,0.75,3\n",
    )
    make_set(folder / "plans", a="step,lr\n0,1\n2,0.5\n")
    make_set(tmp_path / "plans", a="step,lr\n0,9\n2,9\n")  # not this one
    monkeypatch.chdir(tmp_path)
    assert load_runs("set")["a"].schedule.lr.tolist() == [1.0, 0.75, 0.5]


# --- schedules from logged rates ---


@pytest.mark.parametrize(
    ("rows", "warmup", "between", "expected"),
    [
        ([(0, 1.0), (3, 0.4)], 0, "hold", [1, 1, 1, 0.4]),
        ([(0, 1.0), (3, 0.4)], 0, "linear", [1, 0.8, 0.6, 0.4]),
        # warm-up is linspace(0, first rate, warmup); the first logged rate reaches back to it
        ([(5, 0.8), (7, 0.4)], 3, "hold", [0, 0.4, 0.8, 0.8, 0.8, 0.8, 0.8, 0.4]),
        ([(5, 0.8), (7, 0.4)], 3, "linear", [0, 0.4, 0.8, 0.8, 0.8, 0.8, 0.6, 0.4]),
        ([(3, 0.8), (4, 0.4)], 3, "linear", [0, 0.4, 0.8, 0.8, 0.4]),
        # rows within the warm-up do not bend it
        ([(0, 0.1), (1, 0.3), (2, 0.6), (4, 0.2)], 2, "hold", [0, 0.6, 0.6, 0.6, 0.2]),
        ([(2, 0.6)], 1, "hold", [0, 0.6, 0.6]),
        ([(2, 0.6)], 0, "linear", [0.6, 0.6, 0.6]),
    ],
)
def test_logged_rates_become_every_rate(
    tmp_path: Path,
    rows: list[tuple[int, float]],
    warmup: int,
    between: str,
    expected: list[float],
) -> None:
    text = "step,lr,loss\n" + "".join(f"{step},{lr},3\n" for step, lr in rows)
    folder = make_set(tmp_path, a=text)
    run = load_runs(folder, warmup=warmup, between=between)["a"]
    np.testing.assert_allclose(run.schedule.lr, expected, rtol=1e-15, atol=0)


def test_warmup_and_between_leave_runs_with_a_spec_alone(tmp_path: Path) -> None:
    folder = make_set(tmp_path, f'[runs.a]\nschedule = "{LINEAR}"', a=LOG, b=LOG)
    runs = load_runs(folder, warmup=1, between="hold")
    assert runs["a"].schedule == schedule(LINEAR)
    assert runs["b"].schedule.lr.tolist() == [0.0, 0.5, 0.5]


# --- facts ---

FACTS_TOML = f"""
title = "a set"
model_params = 1_000
weight_decay = 0.1
[runs.a]
schedule = "{LINEAR}"
[runs.b]
schedule = "{LINEAR}"
weight_decay = 0
tokens_per_step = 512
"""


@pytest.mark.parametrize(
    ("given", "a", "b"),
    [
        (
            None,
            {"model_params": 1000.0, "weight_decay": 0.1},
            {"model_params": 1000.0, "weight_decay": 0.0, "tokens_per_step": 512.0},
        ),
        (
            {"weight_decay": 0.3},
            {"model_params": 1000.0, "weight_decay": 0.3},
            {"model_params": 1000.0, "weight_decay": 0.3, "tokens_per_step": 512.0},
        ),
    ],
)
def test_facts_of_the_set_the_run_and_the_call(
    tmp_path: Path, given: dict[str, float] | None, a: dict[str, float], b: dict[str, float]
) -> None:
    runs = load_runs(make_set(tmp_path, FACTS_TOML, a=LOG, b=LOG), facts=given)
    assert dict(runs["a"].facts) == a
    assert dict(runs["b"].facts) == b


# --- which runs, and their names ---


@pytest.fixture
def two_sets(tmp_path: Path) -> Path:
    for name in ("x", "y"):
        make_set(tmp_path / name, c=LOG, a=LOG, **{f"only_{name}": LOG})
    return tmp_path


@pytest.mark.parametrize(
    ("selections", "names"),
    [
        (["x"], ["a", "c", "only_x"]),
        (["x:c,a"], ["c", "a"]),
        (["x: c , a,"], ["c", "a"]),
        (["x/c.csv"], ["c"]),
        (["y:only_y", "x:a"], ["only_y", "a"]),
        (["x:a", "x/c.csv"], ["a", "c"]),
        (["x", "y:a"], ["x/a", "c", "only_x", "y/a"]),
        (["x:a,c", "y:c,only_y"], ["a", "x/c", "y/c", "only_y"]),
    ],
)
def test_selections_and_names(
    two_sets: Path, monkeypatch: pytest.MonkeyPatch, selections: list[str], names: list[str]
) -> None:
    monkeypatch.chdir(two_sets)
    runs = load_runs(*selections, warmup=0, between="hold")
    assert list(runs) == names
    assert all(run.name == name for name, run in runs.items())


def test_sets_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for folder, loss in (("p", 2), ("q", 3)):
        make_set(tmp_path / folder / "set", a=f"step,lr,loss\n0,1,{loss}\n")
    runs = load_runs(tmp_path / "p" / "set", tmp_path / "q" / "set", warmup=0, between="hold")
    assert {name: run.loss[0] for name, run in runs.items()} == {"p/set/a": 2.0, "q/set/a": 3.0}


def test_sets_whose_path_holds_a_colon(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "12:30", a=LOG, b=LOG)
    assert list(load_runs(folder, warmup=0, between="hold")) == ["a", "b"]
    assert list(load_runs(f"{folder}:b", warmup=0, between="hold")) == ["b"]


# --- the value ---


def test_runs_cannot_be_changed() -> None:
    steps, loss, facts = np.array([0, 2]), np.array([4.0, 3.0]), {"weight_decay": 0.1}
    run = Run("a", schedule(LINEAR), steps, loss, facts)
    steps[0], loss[0], facts["weight_decay"] = 1, 9.0, 0.5  # the caller's are the caller's
    assert run.steps.tolist() == [0, 2] and run.loss.tolist() == [4.0, 3.0]
    assert dict(run.facts) == {"weight_decay": 0.1}
    for values in (run.steps, run.loss):
        with pytest.raises(ValueError, match="read-only"):
            values[0] = 1
    with pytest.raises(TypeError):
        run.facts["weight_decay"] = 0.5  # type: ignore[index]
    with pytest.raises(AttributeError):
        run.name = "b"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("steps", "loss", "words"),
    [
        ([], [], "must be 1-D and of equal length"),
        ([0, 1], [4.0], r"steps \(2,\) and loss \(1,\)"),
        ([[0]], [[4.0]], "must be 1-D"),
        ([0, 0], [4.0, 3.0], "must be >= 0 and increase"),
        ([-1, 0], [4.0, 3.0], "must be >= 0 and increase"),
        ([0.5, 1.0], [4.0, 3.0], "whole numbers"),
        ([0.0, np.nan], [4.0, 3.0], "whole numbers"),
        ([0, 1], [4.0, np.nan], "finite and > 0"),
        ([0, 1], [4.0, 0.0], "finite and > 0"),
        ([0, 4], [4.0, 3.0], "step 4, beyond the schedule's 4 steps"),
    ],
)
def test_impossible_runs(steps: list[float], loss: list[float], words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        Run("mine", schedule(LINEAR), np.array(steps), np.array(loss))
    assert str(caught.value).startswith("mine: ")


@pytest.mark.parametrize("window", [1, 2, 5, 20])
def test_averaged_losses_are_means_over_the_window(window: int) -> None:
    plan, steps = schedule("constant:peak=1.0,steps=12"), np.array([0, 1, 4, 7, 11])
    losses = np.random.default_rng(0).uniform(2.0, 4.0, 12)
    run = Run("a", plan, steps, np.ones(5), window=window)
    expected = [losses[max(step + 1 - window, 0) : step + 1].mean() for step in steps]
    np.testing.assert_allclose(run.averaged(losses), expected, rtol=1e-12)


def test_from_step() -> None:
    run = Run("a", schedule(LINEAR), np.array([0, 2, 3]), np.array([4.0, 3.0, 2.0]), {}, "a.csv")
    later = run.from_step(2)
    assert later.steps.tolist() == [2, 3] and later.loss.tolist() == [3.0, 2.0]
    assert later.schedule is run.schedule and later.source == "a.csv"
    assert run.from_step(0).steps.tolist() == run.steps.tolist() == [0, 2, 3]
    with pytest.raises(UsageError, match=r"'a': no point at or after step 4.* is 3"):
        run.from_step(4)


# --- the public sets ---


@pytest.mark.parametrize(
    ("name", "runs", "params", "peak"),
    [
        ("mpl_25m", 9, 25e6, 3e-4),
        ("mpl_100m", 9, 100e6, 3e-4),
        ("llama_124m_peak0.0001", 20, 123_587_328, 1e-4),
        ("llama_124m_peak0.0005", 32, 123_587_328, 5e-4),
        ("llama_124m_peak0.001", 34, 123_587_328, 1e-3),
    ],
)
def test_public_sets(shared_data: Path, name: str, runs: int, params: float, peak: float) -> None:
    loaded = load_runs(shared_data / name)  # every logged rate passes the check on the way
    assert len(loaded) == runs
    for run in loaded.values():
        assert dict(run.facts) == {"model_params": params, "weight_decay": 0.1}
        assert run.schedule.peak_lr == peak
        assert run.steps[-1] < run.schedule.steps
        logged = np.loadtxt(run.source, delimiter=",", skiprows=1, usecols=1)
        # where a rate is logged it is the spec's, to the tolerance of its rounding
        np.testing.assert_allclose(run.schedule.lr[run.steps], logged, rtol=0, atol=2e-3 * peak)


def test_a_public_run_against_a_wrong_spec(shared_data: Path) -> None:
    file = shared_data / "mpl_25m" / "cosine_24000.csv"
    with pytest.raises(ScalingLawsError, match=r"cosine_24000\.csv row \d+, column 'lr'"):
        read_run(file, spec="cosine:peak=3e-4,end=0,steps=24000,warmup=2160")
