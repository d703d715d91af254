"""The keys of a mapping name its runs, whatever the runs call themselves."""

from __future__ import annotations

import numpy as np
import pytest

from scaling_laws.common import UsageError
from scaling_laws.data.runs import Run, run_list
from scaling_laws.inference import compare, evaluate, fit
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


def test_fit_evaluate_and_compare_take_the_keys() -> None:
    fitted = fit("power", RUNS, starts=1, draws=0, weights={"b": 2.0})
    assert fitted.record is not None and list(fitted.record.runs) == ["a", "b"]
    assert list(evaluate(fitted, RUNS).runs) == ["a", "b"]
    assert "power" in compare(["power"], RUNS, starts=1).laws
    # `fit_runs` are names, too
    assert compare(["power"], RUNS, starts=1, hold_out="rest", fit_runs=["b"]).units == 1
