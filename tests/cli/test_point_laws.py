"""Laws of sizes and data from the command line: fit, evaluate, predict, and published numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.calls import assert_refused, call, call_json
from tests.fitting.test_points import CSV


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "runs.csv").write_text(CSV)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_fit_evaluate_predict(place: Path) -> None:
    options = ("--law", "chinchilla", "--starts", 8, "--out", "law.json")
    fitted = call_json("fit", "runs.csv", *options)
    assert fitted["law"] == "chinchilla" and fitted["n_points"] == 9
    assert fitted["params"]["E"] == pytest.approx(1.8, rel=1e-2)
    found = call_json("evaluate", "law.json", "runs.csv")
    assert found["runs"]["runs.csv"]["pred_e"] < 1e-3
    at = ("--at", "model_params=1e9,tokens=2e10", "--at", "model_params=1e12,tokens=2e10")
    result = call_json("predict", "law.json", *at)
    near, far = result["points"]
    low, high = near["interval_90"]
    assert low < near["loss"] < high and near["notes"] == []
    assert "outside the fitted" in far["notes"][0]
    text = call("predict", "law.json", *at).out
    assert "chinchilla: loss in nats" in text and "note: model_params 1e+12 is outside" in text


def test_published_parameters_by_name(place: Path) -> None:
    result = call_json(
        "predict", "chinchilla:hoffmann_rounded", "--at", "model_params=7e10,tokens=1.4e12"
    )
    # 1.69 + 406.4 / 7e10^.34 + 410.7 / 1.4e12^.28
    assert result["points"][0]["loss"] == pytest.approx(1.9366, abs=5e-5)
    spec = "cosine:peak=3e-4,end=3e-5,steps=24000,warmup=2160"
    result = call_json("predict", "multi_power:25M", "--schedule", spec)
    assert result["schedules"][0]["final_loss"] == pytest.approx(3.315186, abs=3e-6)


REFUSED = {
    "predict chinchilla:besiroglu": "chinchilla --at model_params=...,tokens=...",
    "predict chinchilla:besiroglu --schedule cosine:peak=1,steps=9": "chinchilla schedule --at",
    "predict chinchilla:besiroglu --at tokens": "--at tokens: 'tokens'",
    "predict chinchilla:besiroglu --at token=1": "'token' 'tokens'",
    "predict chinchilla:x --at tokens=1": "'x' hoffmann",
    "predict multi_power:25M --at tokens=1": "multi_power --schedule --at",
    "fit runs.csv runs.csv --law chinchilla --out law.json": "chinchilla CSV 2",
    "predict chinchila:besiroglu --at tokens=1": "'chinchila' 'chinchilla'",
    "predict chinchilla:hoffmann --at tokens=1,tokens=2": "--at tokens=1,tokens=2: twice",
    "fit runs:a,b --law chinchilla --out law.json": "runs:a,b chinchilla model_params CSV",
    "fit . --law chinchilla --out law.json": "chinchilla model_params CSV",
    "predict chinchilla --at tokens=1": "chinchilla:besiroglu fit published",
    "predict none.json --at tokens=1": "none.json fit",
    "fit runs.csv --law chinchilla --out law.json --from-step 5": "--from-step chinchilla table",
    "fit runs.csv --law chinchilla --out law.json --warmup 3": "--warmup chinchilla table",
    "evaluate chinchilla:besiroglu none.csv": "none.csv:",
}


@pytest.mark.parametrize("words", REFUSED)
def test_refused(place: Path, words: str) -> None:
    result = call(*words.split())
    assert_refused(result, REFUSED[words])
    assert not (place / "law.json").exists()


def test_laws_tells_all_of_one() -> None:
    text = call("laws", "continual").out
    assert "needs transfer_step" in text and "Known limits" in text and "Conventions:" in text
    assert "published: multi_power:25M" in call("laws").out
    assert call("laws", "multi_powr").code == 2
