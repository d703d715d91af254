"""Laws of sizes and data from the command line: fit, evaluate, predict, and published numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.calls import call, call_json
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
    "predict chinchilla:besiroglu": "chinchilla needs --at model_params=...,tokens=...",
    "predict chinchilla:besiroglu --schedule cosine:peak=1,steps=9": "does not take a schedule",
    "predict chinchilla:besiroglu --at tokens": "--at tokens: 'tokens' is not name=number",
    "predict chinchilla:besiroglu --at token=1": "unknown input 'token'; did you mean 'tokens'?",
    "predict chinchilla:x --at tokens=1": "no published parameters 'x'; known: hoffmann",
    "predict multi_power:25M --at tokens=1": "multi_power needs --schedule SPEC, not --at",
    "fit runs.csv runs.csv --law chinchilla --out law.json": "takes one CSV with columns",
    "predict chinchila:besiroglu --at tokens=1": "unknown law 'chinchila'; did you mean 'chinchil",
    "predict chinchilla:hoffmann --at tokens=1,tokens=2": "tokens is given twice; keep one",
    "fit runs.csv --law chinchilla --out law.json --from-step 5": "--from-step is about runs",
    "fit runs.csv --law chinchilla --out law.json --warmup 3": "--warmup is about runs",
    "evaluate chinchilla:besiroglu none.csv": "none.csv: no such file",
}


@pytest.mark.parametrize("words", REFUSED)
def test_refused(place: Path, words: str) -> None:
    result = call(*words.split())
    assert result.code == 2 and result.out == ""
    assert REFUSED[words] in result.err and result.err.count("\n") == 1
    assert not (place / "law.json").exists()


def test_laws_tells_all_of_one() -> None:
    text = call("laws", "continual").out
    assert "needs transfer_step" in text and "Known limits" in text and "Conventions:" in text
    assert "published: multi_power:25M" in call("laws").out
    assert call("laws", "multi_powr").code == 2
