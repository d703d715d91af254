"""The keys of a mapping name its runs, whatever the runs call themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scaling_laws.common import UsageError
from scaling_laws.data.runs import Run, run_list
from scaling_laws.inference import CurveFit, compare, evaluate, fit
from scaling_laws.models.schedules import schedule


def made(spec: str) -> Run:
    plan = schedule(spec)
    steps = np.arange(20, plan.steps, 10)
    loss = 2.0 + 5.0 * np.cumsum(plan.lr)[steps] ** -0.5
    return Run("train", plan, steps, loss)


RUNS = {
    "a": made("cosine:peak=1,end=0.1,steps=400,warmup=10"),
    "b": made("constant:peak=1,steps=400,warmup=10"),
}


def test_run_list_renames() -> None:
    named = run_list(RUNS)
    assert [run.name for run in named] == ["a", "b"]
    assert all(
        np.array_equal(run.loss, given.loss)
        for run, given in zip(named, RUNS.values(), strict=True)
    )
    same = run_list({"train": RUNS["a"]})
    assert same[0] is RUNS["a"]
    with pytest.raises(UsageError, match="two runs are named 'train'"):
        run_list(RUNS.values())


@pytest.mark.parametrize("runs", ["data/ladder/micro", Path("a.csv"), RUNS["a"], ["a"], {"a": 1}])
def test_other_values_are_refused(runs: Any) -> None:
    with pytest.raises(UsageError, match="must be Run objects") as caught:
        run_list(runs)
    assert caught.value.value in (runs, "a", 1)
    with pytest.raises(UsageError, match="two runs are named 'train'"):
        evaluate(CurveFit.of("power", {"L0": 1.0, "A": 1.0, "alpha": 0.5}), list(RUNS.values()))


def test_a_run_is_shown_in_short() -> None:
    assert repr(RUNS["a"]) == f"Run(train: {RUNS['a'].schedule.spec}, 38 losses at steps 20 to 390)"


def test_fit_evaluate_and_compare_take_the_keys() -> None:
    fitted = fit("power", RUNS, starts=1, draws=0, weights={"b": 2.0})
    assert set(fitted.with_points(RUNS).points.run) == {"a", "b"}
    assert fitted.record is not None and list(fitted.record.runs) == ["a", "b"]
    assert list(evaluate(fitted, RUNS).runs) == ["a", "b"]
    assert "power" in compare(["power"], RUNS, starts=1).laws
    # `fit_runs` are names, too
    assert compare(["power"], RUNS, starts=1, hold_out="rest", fit_runs=["b"]).units == 1
