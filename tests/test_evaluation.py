"""Evaluation against a law known exactly."""

from __future__ import annotations

import numpy as np
import pytest

from scaling_laws.common.errors import UsageError
from scaling_laws.data.runs import Run
from scaling_laws.inference.results import CurveFit, Uncertainty, evaluate
from scaling_laws.models.laws import get_law
from scaling_laws.models.schedules import schedule

LAW = CurveFit(
    get_law("power"),
    {"L0": 2.0, "A": 0.5, "alpha": 0.5},
    Uncertainty.plain("leave_one_run_out", 0.01, 3),
)


def run(name: str, factor: float) -> Run:
    plan = schedule("cosine:peak=1e-3,end=1e-4,steps=500")
    steps = np.arange(100, 500, 50)
    return Run(name, plan, steps, factor * LAW.predict(plan, steps.tolist()).loss)


def test_metrics_of_known_errors() -> None:
    result = evaluate(LAW, {"high": run("high", 1.01), "far": run("far", 1.1)})
    assert result.runs["high"]["pred_e"] == pytest.approx(0.01 / 1.01, rel=1e-9)
    assert result.runs["far"]["worst_e"] == pytest.approx(0.1 / 1.1, rel=1e-9)
    assert result.runs["far"]["final_error"] < 0  # predicted below observed
    # the 90 % interval is exp(±2.35 · 0.01)
    assert result.runs["high"]["coverage_90"] == 1.0
    assert result.runs["far"]["coverage_90"] == 0.0
    assert result.mean["coverage_90"] == 0.5
    assert result.mean["abs_final_error"] > 0 > result.mean["final_error"]


def test_frame_holds_the_same_numbers() -> None:
    result = evaluate(LAW, {"high": run("high", 1.01), "far": run("far", 1.1)})
    frame = result.to_frame()
    assert list(frame.index) == ["high", "far", "mean"]
    assert frame.loc["far"].dropna().to_dict() == result.runs["far"]
    assert frame.loc["mean"].to_dict() == result.mean


def test_from_step_and_order() -> None:
    result = evaluate(LAW, [run("a", 1.0)], from_step=300)
    assert result.runs["a"]["n"] == 4
    assert result.runs["a"]["mae"] == pytest.approx(0.0, abs=1e-12)


def test_no_runs() -> None:
    with pytest.raises(UsageError, match="no runs"):
        evaluate(LAW, [])
