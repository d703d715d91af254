"""`quickstart`: the whole job, each part as its own verb would do it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scaling_laws.interface.cli.quickstart import render
from tests.cli.calls import SPECS, call_json, snapshot


@pytest.fixture(scope="module")
def result(curves: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("quickstart") / "not" / "yet"  # made at the end
    words = ("quickstart", curves, "--fit", "cosine,constant", "--law", "linear_drop")
    return call_json(*words, "--from-step", 50, "--out", out)


def test_keys_and_files(result: dict[str, Any]) -> None:
    assert result["law"] == "linear_drop"
    assert result["fitted"] == ["constant", "cosine"]
    assert set(result["held_out"]) == {"runs", "mean"}
    assert set(result["held_out"]["runs"]) == {"wsd"}
    files = {kind: Path(path) for kind, path in result["files"].items()}
    assert {kind: path.name for kind, path in files.items()} == {
        "law": "law.json",
        "schedule": "schedule.csv",
        "figure": "figure.png",
    }
    assert set(snapshot(files["law"].parent)) == {path.name for path in files.values()}
    assert files["figure"].read_bytes().startswith(b"\x89PNG")


def test_predicts_the_run_it_never_saw(result: dict[str, Any], curves: Path) -> None:
    held_out = result["held_out"]["runs"]["wsd"]
    assert held_out["pred_e"] < 0.01  # the curves follow this law, but for 0.1 % of noise
    again = call_json("evaluate", result["files"]["law"], f"{curves}:wsd", "--from-step", 50)
    assert again["runs"]["wsd"] == pytest.approx(held_out, rel=1e-9)
    document = json.loads(Path(result["files"]["law"]).read_text())
    assert document["params"] == result["params"]
    assert document["fit"]["from_step"] == 50


def test_searches_in_the_frame_of_the_longest_fitted_run(result: dict[str, Any]) -> None:
    best = result["optimum"]
    assert best["final_loss"] <= min(best["baselines"].values())
    assert best["schedule_file"] == result["files"]["schedule"]
    assert "constant:peak=0.001,steps=400,warmup=20" in best["baselines"]
    spec = f"csv:{best['schedule_file']}"
    words = ("predict", result["files"]["law"], "--schedule", spec, "--schedule", SPECS["cosine"])
    found, cosine = call_json(*words)["schedules"]
    assert found["final_loss"] == pytest.approx(best["final_loss"], rel=1e-9)
    assert found["final_loss"] < cosine["final_loss"]


def test_text_has_the_four_parts(result: dict[str, Any]) -> None:
    text = render(result)
    parts = ["1. Fit to constant, cosine", "2. Held-out runs", "3. A better sch", "4. Fil"]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    for words in ("[[Parameters]]", "wsd", "best: ", *result["files"].values()):
        assert words in text
