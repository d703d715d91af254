"""`plan`: its keys, its words, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import scaling_laws as sl
from scaling_laws.inference.fitting.identifiability import ABRUPT, abrupt_drop
from scaling_laws.interface.cli.plan import render
from tests.cli.calls import TRUTH, call, call_json

TARGET = "linear:peak=1e-3,steps=300,warmup=20"


def planned(law_file: Path, *options: object) -> dict[str, Any]:
    return call_json("plan", law_file, "--target", TARGET, *options)


def test_keys_of_the_interface(law_file: Path) -> None:
    result = planned(law_file)
    assert list(result) == ["law", "target", "now", "floor", "choices", "ranking", "notes"]
    assert result["target"]["spec"] == TARGET and result["target"]["steps"] == 300
    low, high = result["now"]["interval_90"]
    assert low < result["target"]["final_loss"] < high
    assert result["now"]["half_width_90"] == pytest.approx(0.5 * (high - low))
    assert 0 < result["floor"]["half_width_90"] <= result["now"]["half_width_90"]
    keys = ["spec", "steps", "expected_sd", "reduction"]
    keys += ["expected_interval_90", "expected_half_width_90"]
    for each in (*result["choices"], *result["ranking"]):
        assert list(each) == keys
        assert sl.schedule(each["spec"]).steps == each["steps"]
        assert each["expected_sd"] <= result["now"]["sd"]
    assert len(result["choices"]) <= 3
    left = [each["expected_sd"] for each in result["ranking"]]
    assert left == sorted(left)


def test_same_as_in_python(law_file: Path) -> None:
    found = sl.plan(sl.load_law(law_file), TARGET, runs=2)
    assert planned(law_file, "--runs", 2) == {"law": "linear_drop", **found.as_json()}


def test_interval_today_is_that_of_predict(law_file: Path) -> None:
    (known,) = call_json("predict", law_file, "--schedule", TARGET)["schedules"]
    result = planned(law_file)
    assert result["now"]["interval_90"] == pytest.approx(known["interval_90"], rel=1e-5)


def test_candidates_and_budget(law_file: Path) -> None:
    specs = [f"constant:peak=1e-3,steps={steps},warmup=20" for steps in (100, 200, 300)]
    words = [word for spec in specs for word in ("--candidate", spec)]
    every = planned(law_file, *words)
    assert {each["spec"] for each in every["ranking"]} == set(specs)
    some = planned(law_file, *words, "--step-budget", 250)
    assert {each["spec"] for each in some["ranking"]} == set(specs[:2])
    assert sum(each["steps"] for each in some["choices"]) <= 250


def test_as_text(law_file: Path) -> None:
    result = planned(law_file)
    text = call("plan", law_file, "--target", TARGET).out
    assert text == render(result) + "\n"
    lines = text.splitlines()
    assert lines[0] == f"target {TARGET}"
    assert f"predicted final loss {result['target']['final_loss']:.4f}" in lines[1]
    assert f"half width {result['now']['half_width_90']:.5f} nats" in lines[1]
    for number, each in enumerate(result["choices"], start=1):
        assert lines[2 + number].startswith(f"  {number}. [")
        assert lines[2 + number].endswith(f"{each['expected_half_width_90']:.5f}  {each['spec']}")
    assert f"each alone, best 5 of {len(result['ranking'])} (half width):" in lines
    assert [line.removeprefix("note: ") for line in lines if line.startswith("note: ")] == result[
        "notes"
    ]


def test_text_without_a_choice(law_file: Path) -> None:
    text = render({**planned(law_file), "choices": []})
    assert "\n  none\n" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "the following arguments are required: --target; see scaling-laws plan --help"),
        ("--target linea:peak=1,steps=9", "'linea'; did you mean 'linear'?"),
        (f"--target {TARGET} --runs 0", "runs=0 must be >= 1"),
        (f"--target {TARGET} --runs 1.5", "--runs: '1.5' is not a whole number"),
        (f"--target {TARGET} --step-budget 10", "step_budget=10 holds no candidate"),
        (f"--target {TARGET} --candidate constant", "constant: a spec is family:key=value"),
        (f"--target {TARGET} --model-params 0", "model_params=0.0 must be a number >= 1"),
        ("--target one_cycle:peak=1e-3,steps=300,rise_fraction=0.9", "no candidates to choose"),
    ],
)
def test_refused(law_file: Path, words: str, message: str) -> None:
    result = call("plan", law_file, *words.split())
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("scaling-laws: ") and result.err.count("\n") == 1
    assert message in result.err


def test_laws_that_were_not_fitted_are_refused(tmp_path: Path) -> None:
    TRUTH.save(tmp_path / "law.json")
    given = call("plan", tmp_path / "law.json", "--target", TARGET)
    assert given.code == 2
    assert "linear_drop has 0 draws" in given.err and "fit the law to runs" in given.err
    point = call("plan", "chinchilla:hoffmann", "--target", TARGET)
    assert point.code == 2 and "chinchilla does not take a schedule" in point.err


@pytest.mark.slow
def test_proxy_runs_from_fit_to_plan(root: Path, tmp_path: Path) -> None:
    """The shipped curves without an abrupt drop: the plan begins with one."""
    target = "linear:peak=4.5e-4,steps=4000,warmup=100"
    file = tmp_path / "law.json"
    runs = root / "data" / "proxy_nano:constant_4000,cosine_4000"
    options = ("--law", "multi_power", "--starts", 4, "--from-step", 400)
    fit = call_json("fit", runs, *options, "--out", file)
    assert any(each.startswith("no abrupt drop") for each in fit["warnings"])
    result = call_json("plan", file, "--target", target)
    first = result["choices"][0]
    assert abrupt_drop(sl.schedule(first["spec"])) >= ABRUPT
    assert result["notes"][0].startswith("no abrupt drop among the fitted runs: the first run is")
    left = [result["now"]["sd"], *(each["expected_sd"] for each in result["choices"])]
    assert left == sorted(left, reverse=True) and left[1] < 0.9 * left[0]
    # the draws say so too: each of the best few on its own is an abrupt drop
    best = [sl.schedule(each["spec"]) for each in result["ranking"][:4]]
    assert all(abrupt_drop(each) >= ABRUPT for each in best)
    assert result["ranking"][-1]["spec"].startswith("constant:")
    assert call_json("plan", file, "--target", target) == result
