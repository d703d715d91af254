"""`fit` and `evaluate`: their keys, their numbers recomputed, their text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scaling_laws as sl
from tests.cli.calls import SPECS, TRUTH, call, call_json, untimed

METRICS = {"n", "mae", "rmse", "pred_e", "worst_e", "r2", "final_error"}


def log(curves: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and losses as they stand in the file."""
    table = np.loadtxt(curves / f"{name}.csv", delimiter=",", skiprows=1)
    return table[:, 0].astype(int), table[:, 2]


def test_fit_has_the_keys_of_the_interface(fitted: dict[str, Any]) -> None:
    keys = {"law", "params", "objective", "n_points", "starts", "starts_at_best", "seconds", "runs"}
    assert keys <= set(fitted)
    assert (fitted["law"], fitted["n_points"], fitted["starts"]) == ("linear_drop", 60, 2)
    assert 1 <= fitted["starts_at_best"] <= 2
    assert list(fitted["runs"]) == sorted(SPECS)
    assert all(set(run) == METRICS and run["n"] == 20 for run in fitted["runs"].values())


def test_fit_recovers_the_law_behind_the_curves(fitted: dict[str, Any]) -> None:
    for name, value in TRUTH.params.items():
        assert fitted["params"][name] == pytest.approx(value, rel=0.05), name


def test_objective_is_the_huber_sum_at_the_saved_parameters(
    curves: Path, fitted: dict[str, Any], law_file: Path
) -> None:
    document = json.loads(law_file.read_text())
    assert document["params"] == fitted["params"]
    p, total = document["params"], 0.0
    for name, spec in SPECS.items():
        steps, loss = log(curves, name)
        lr = sl.schedule(spec).lr
        predicted = (
            p["L0"] + p["A"] * np.cumsum(lr)[steps] ** -p["alpha"] - p["B"] * (1e-3 - lr[steps])
        )
        r = np.abs(np.log(loss) - np.log(predicted))
        total += np.where(r <= 1e-3, r**2 / 2, 1e-3 * (r - 5e-4)).sum()
    assert fitted["objective"] == pytest.approx(total, rel=1e-6)


def test_law_file_loads_and_predicts(law_file: Path, fitted: dict[str, Any]) -> None:
    law = sl.load_law(law_file)
    assert law.law.name == "linear_drop" and law.record is not None
    assert law.record.seed == 0 and law.record.sources["wsd"].endswith("wsd.csv")
    assert law.uncertainty is not None
    assert dict(law.facts) == {"weight_decay": 0.1}
    assert law.summary() == fitted["summary"]


def test_same_seed_same_fit(curves: Path, fitted: dict[str, Any], law_file: Path) -> None:
    again = law_file.parent / "again.json"
    words = ("fit", curves, "--law", "linear_drop", "--starts", 2, "--out", again)
    assert untimed({**call_json(*words, "--seed", 0), "law_file": ""}) == untimed(
        {**fitted, "law_file": ""}
    )
    first, second = (json.loads(path.read_text()) for path in (law_file, again))
    assert untimed(first) == untimed(second)


def test_fit_of_chosen_runs_points_and_facts(curves: Path, tmp_path: Path) -> None:
    out = tmp_path / "law.json"
    result = call_json(
        *("fit", f"{curves}:wsd,cosine", "--law", "power", "--starts", 1, "--out", out),
        *("--from-step", 150, "--weight-decay", 0.3, "--model-params", 1e6),
    )
    kept = {name: int((log(curves, name)[0] >= 150).sum()) for name in ("wsd", "cosine")}
    assert {name: run["n"] for name, run in result["runs"].items()} == kept
    assert result["n_points"] == sum(kept.values()) < 40
    facts = sl.load_law(out).facts
    assert dict(facts) == {"model_params": 1e6, "weight_decay": 0.3}


def test_fit_of_logged_rates(curves: Path, tmp_path: Path, fitted: dict[str, Any]) -> None:
    for name in SPECS:
        (tmp_path / f"{name}.csv").write_text((curves / f"{name}.csv").read_text())
    words = ("fit", tmp_path, "--law", "linear_drop", "--starts", 2, "--weight-decay", 0.1)
    options = ("--warmup", 20, "--between", "linear", "--out", tmp_path / "law.json")
    result = call_json(*words, *options)
    # a point every 15 to 20 steps gives the rates almost as well as the specs do
    assert result["params"] == pytest.approx(fitted["params"], rel=0.02)
    assert result["params"] != fitted["params"]


def test_fit_as_text(curves: Path, tmp_path: Path) -> None:
    out = tmp_path / "law.json"
    result = call("fit", curves, "--law", "linear_drop", "--starts", 2, "--out", out)
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("linear_drop: L = L0")
    for words in ("[[Fit]]", "[[Parameters]]", "alpha", "[[Runs]]", "wsd", f"wrote {out}"):
        assert words in result.out


def test_evaluate_recomputed_by_hand(curves: Path, law_file: Path) -> None:
    result = call_json("evaluate", law_file, curves, "--from-step", 100)
    law = sl.load_law(law_file)
    assert set(result["runs"]) == set(SPECS)
    for name, spec in SPECS.items():
        steps, loss = log(curves, name)
        steps, loss = steps[steps >= 100], loss[steps >= 100]
        prediction = law.predict(spec, steps)
        error = prediction.loss - loss
        low, high = prediction.interval(0.9)
        inside = (low <= loss) & (loss <= high)
        expected = {
            "n": len(steps),
            "mae": np.abs(error).mean(),
            "rmse": np.sqrt((error**2).mean()),
            "pred_e": (np.abs(error) / loss).mean(),
            "worst_e": (np.abs(error) / loss).max(),
            "r2": 1 - (error**2).sum() / ((loss - loss.mean()) ** 2).sum(),
            "final_error": error[-1],
            "coverage_90": inside.mean(),
            "final_covered_90": float(inside[-1]),
        }
        assert result["runs"][name] == pytest.approx(expected, rel=1e-9)
    for key in (*METRICS, "coverage_90"):
        values = [run[key] for run in result["runs"].values()]
        assert result["mean"][key] == pytest.approx(np.mean(values), rel=1e-12)


def test_evaluate_of_the_fitted_runs_repeats_the_fit(
    curves: Path, law_file: Path, fitted: dict[str, Any]
) -> None:
    result = call_json("evaluate", law_file, curves)
    for name, run in fitted["runs"].items():
        assert {key: result["runs"][name][key] for key in run} == pytest.approx(
            run, rel=1e-3, abs=1e-6
        )  # the fit gathers events; see `numerics.pasts`


def test_evaluate_without_an_uncertainty(curves: Path, tmp_path: Path) -> None:
    TRUTH.save(tmp_path / "law.json")
    result = call_json("evaluate", tmp_path / "law.json", f"{curves}:wsd")
    assert set(result["runs"]["wsd"]) == METRICS
    assert result["mean"]["pred_e"] < 2e-3  # the noise
    text = call("evaluate", tmp_path / "law.json", f"{curves}:wsd").out
    assert "inside" not in text


def test_r2_of_a_constant_loss_is_null(tmp_path: Path, law_file: Path) -> None:
    (tmp_path / "flat.csv").write_text("step,lr,loss\n5,1e-3,3\n9,1e-3,3\n")
    words = ("evaluate", law_file, tmp_path, "--warmup", 0, "--between", "hold")
    assert call_json(*words)["runs"]["flat"]["r2"] is None


def test_evaluate_as_text(curves: Path, law_file: Path) -> None:
    result = call("evaluate", law_file, f"{curves}:wsd,cosine")
    assert (result.code, result.err) == (0, "")
    mean = call_json("evaluate", law_file, f"{curves}:wsd,cosine")["mean"]
    assert f"{mean['mae']:.5f}" in result.out
    for words in ("linear_drop", "PredE", "wsd", "cosine", "mean", "90 % intervals"):
        assert words in result.out
