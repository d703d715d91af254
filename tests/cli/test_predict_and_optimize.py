"""`predict` and `optimize`: their keys, their files, and that the two agree."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scaling_laws as sl
from scaling_laws.interface.cli import optimize
from scaling_laws.interface.cli.optimize import render
from tests.cli.calls import SPECS, TRUTH, assert_refused, call, call_json, untimed

LINEAR = "linear:peak=1e-3,steps=300,warmup=20"


def predict(law_file: Path, *specs: str, options: tuple[object, ...] = ()) -> list[dict[str, Any]]:
    words = [word for spec in specs for word in ("--schedule", spec)]
    found = call_json("predict", law_file, *words, *options)["schedules"]
    assert isinstance(found, list)
    return found


def test_predict_recomputed_by_hand(law_file: Path) -> None:
    p = sl.load_law(law_file).params
    for result, spec in zip(predict(law_file, *SPECS.values()), SPECS.values(), strict=True):
        assert {"spec", "final_loss", "interval_90", "steps", "loss"} <= set(result)
        lr = sl.schedule(spec).lr
        late = np.array(result["steps"]) >= 20
        steps, loss = np.array(result["steps"])[late], np.array(result["loss"])[late]
        clock = np.cumsum(lr)[steps]  # a loss at step s has seen lr[0..s], both ends included
        expected = p["L0"] + p["A"] * clock ** -p["alpha"] - p["B"] * (1e-3 - lr[steps])
        np.testing.assert_allclose(loss, expected, rtol=1e-9)
        assert result["spec"] == spec
        assert result["final_loss"] == result["loss"][-1]


def test_interval_is_around_the_final_loss(law_file: Path) -> None:
    law = sl.load_law(law_file)
    (result,) = predict(law_file, LINEAR)
    low, high = result["interval_90"]
    ends = [end[-1] for end in law.predict(LINEAR).interval(0.9)]
    assert [low, high] == pytest.approx(ends, rel=1e-12)
    assert low < result["final_loss"] < high
    # relative, and as wide up as down in log loss
    assert low * high == pytest.approx(result["final_loss"] ** 2, rel=1e-9)


def test_no_interval_without_an_uncertainty(tmp_path: Path) -> None:
    TRUTH.save(tmp_path / "law.json")
    (result,) = predict(tmp_path / "law.json", LINEAR)
    assert result["interval_90"] is None and result["notes"] == []
    text = call("predict", tmp_path / "law.json", "--schedule", LINEAR).out
    assert "no interval: " in text


@pytest.mark.parametrize(
    ("every", "steps"),
    [
        (1, list(range(300))),
        (100, [99, 199, 299]),
        (299, [0, 299]),
        (300, [299]),
        (10**12, [299]),
        (7, list(range(5, 300, 7))),
    ],
)
def test_every(law_file: Path, every: int, steps: list[int]) -> None:
    (result,) = predict(law_file, LINEAR, options=("--every", every))
    assert result["steps"] == steps
    assert len(result["loss"]) == len(steps)


@pytest.mark.parametrize("steps", [1, 21, 300, 5000])
def test_about_200_steps_by_default(law_file: Path, steps: int) -> None:
    (result,) = predict(law_file, f"constant:peak=1e-3,steps={steps}")
    assert result["steps"][-1] == steps - 1
    assert len(result["steps"]) <= 400
    assert len(result["steps"]) >= min(steps, 200)


@pytest.mark.parametrize("measured", [True, False])
def test_predicted_curves_as_csv(law_file: Path, tmp_path: Path, measured: bool) -> None:
    if not measured:
        TRUTH.save(law_file := tmp_path / "law.json")
    out = tmp_path / "curves.csv"
    results = predict(law_file, LINEAR, SPECS["wsd"], options=("--every", 50, "--out", out))
    with out.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    bands = ["low_90", "high_90"] if measured else []
    assert list(rows[0]) == ["schedule", "step", "lr", "loss", *bands]
    expected = [
        (each["spec"], step, sl.schedule(each["spec"]).lr[step], loss)
        for each in results
        for step, loss in zip(each["steps"], each["loss"], strict=True)
    ]
    assert expected == [
        (row["schedule"], int(row["step"]), float(row["lr"]), float(row["loss"])) for row in rows
    ]
    if measured:
        final = [[float(row[band]) for band in bands] for row in (rows[5], rows[11])]
        assert final == [each["interval_90"] for each in results]


def test_predict_as_text_is_sorted_and_notes_extrapolation(law_file: Path) -> None:
    far = "constant:peak=2e-3,steps=900"
    result = call("predict", law_file, "--schedule", far, "--schedule", LINEAR)
    assert (result.code, result.err) == (0, "")
    losses = {each["spec"]: each["final_loss"] for each in predict(law_file, far, LINEAR)}
    best, worst = sorted(losses, key=lambda spec: losses[spec])
    assert result.out.index(best) < result.out.index(worst)
    assert all(f"{loss:.5f}" in result.out for loss in losses.values())
    assert "note: peak LR 0.002 is outside the fitted 0.001 to 0.001" in result.out
    assert "note: 900 steps are more than the fitted 400" in result.out


def test_optimize_has_the_keys_of_the_interface(optimum: dict[str, Any], law_file: Path) -> None:
    keys = {"final_loss", "interval_90", "schedule_file", "baselines", "family", "seconds"}
    assert keys <= set(optimum)
    assert set(optimum["family"]) == {"spec", "final_loss", "gain_over_it", "suffices"}
    assert optimum["schedule_file"] == str(law_file.parent / "best.csv")
    assert optimum["interval_90"][0] < optimum["final_loss"] < optimum["interval_90"][1]


def test_optimum_is_no_worse_than_baselines_and_family(optimum: dict[str, Any]) -> None:
    assert len(optimum["baselines"]) >= 5
    assert optimum["final_loss"] <= min(optimum["baselines"].values())
    assert optimum["final_loss"] <= optimum["family"]["final_loss"]


def test_family_is_offered_where_the_free_form_gains_no_more_than_noise(
    optimum: dict[str, Any],
) -> None:
    family = optimum["family"]
    low, high = family["gain_over_it"]["interval_90"]
    assert family["gain_over_it"]["gain"] == family["final_loss"] - optimum["final_loss"]
    assert low <= family["gain_over_it"]["gain"] <= high
    assert family["suffices"] is (low <= 0 and optimum["spec"] != family["spec"])


def test_written_schedule_keeps_to_its_frame_and_loss(
    optimum: dict[str, Any], law_file: Path
) -> None:
    file = optimum["schedule_file"]
    plan = sl.schedule(f"csv:{file}")
    assert plan.steps == 300
    np.testing.assert_array_equal(plan.lr[:20], np.linspace(0, 1e-3, 20))
    assert plan.lr.max() <= 1e-3
    assert plan.lr[20:].min() >= 1e-5 * (1 - 1e-12)
    (result,) = predict(law_file, f"csv:{file}")
    assert result["final_loss"] == pytest.approx(optimum["final_loss"], rel=1e-9)


def test_specs_of_optimize_predict_the_same_loss(optimum: dict[str, Any], law_file: Path) -> None:
    family = optimum["family"]
    expected = {**optimum["baselines"], **optimum["passed_over"]}
    expected[family["spec"]] = family["final_loss"]
    expected.pop("free form", None)  # passed over where it exploits the law; it has no spec
    for result in predict(law_file, *expected):
        assert result["final_loss"] == pytest.approx(expected[result["spec"]], rel=1e-9)
        assert sl.schedule(result["spec"]).steps == 300


def test_same_seed_same_search(optimum: dict[str, Any], law_file: Path, tmp_path: Path) -> None:
    frame = ("--steps", 300, "--peak", 1e-3, "--warmup", 20, "--end-min", 1e-5)
    again = call_json("optimize", law_file, *frame, "--out", tmp_path / "best.csv", "--seed", 0)
    assert untimed({**again, "schedule_file": ""}) == untimed({**optimum, "schedule_file": ""})
    first, second = (Path(each["schedule_file"]).read_bytes() for each in (optimum, again))
    assert first == second


def test_optimize_as_text(optimum: dict[str, Any]) -> None:
    text = render(optimum)
    assert text.startswith(f"best: {optimum['final_loss']:.5f}  [")
    assert f"best of the families: {optimum['family']['final_loss']:.5f}" in text
    for spec, loss in optimum["baselines"].items():
        low, high = optimum["gains"][spec]["interval_90"]
        assert low <= loss - optimum["final_loss"] <= high
        gain = f"{loss - optimum['final_loss']:+.5f}  [{low:+.4f}, {high:+.4f}]"
        assert f"{loss:.5f}  {gain}  {spec}" in text
    assert f"wrote {optimum['schedule_file']}" in text
    for suffices in (True, False):
        shown = render({**optimum, "family": {**optimum["family"], "suffices": suffices}})
        offer = f'scaling-laws export "{optimum["family"]["spec"]}" --to TARGET'
        assert (offer in shown) is suffices
    assert "pass --out FILE.csv" in render({**optimum, "schedule_file": None})


CLOCK = ("norm_clock:124M", "--weight-decay", 0.1)
SMALL = ("--steps", 600, "--peak", 1e-3, "--warmup", 50)


def test_a_weight_decay_found_with_the_rate_is_read_back(tmp_path: Path) -> None:
    out = tmp_path / "both.csv"
    words = ("--search-weight-decay", "0.05:0.2", "--out", out)
    found = call_json("optimize", *CLOCK, *SMALL, *words)
    ends = found["weight_decay"]
    assert 0.05 <= ends["lowest"] <= ends["last"] <= ends["highest"] <= 0.2
    (again,) = call_json("predict", *CLOCK, "--schedule", f"csv:{out}")["schedules"]
    assert again["final_loss"] == pytest.approx(found["final_loss"], rel=1e-9)


def test_branches_are_written(tmp_path: Path) -> None:
    out = tmp_path / "main.csv"
    words = ("--horizons", "300,450", "--branches", "--out", out)
    found = call_json("optimize", "multi_power:25M", *SMALL, *words)
    trunk = sl.schedule(f"csv:{out}").lr
    for each in found["branches"]:
        lr = sl.schedule(f"csv:{each['schedule_file']}").lr
        assert len(lr) == each["steps"]
        np.testing.assert_array_equal(lr[: each["start"]], trunk[: each["start"]])
    text = render(found)
    assert all(f"wrote {each['schedule_file']}" in text for each in found["branches"])


@pytest.mark.parametrize(
    ("of_law", "given", "steps"), [(1000.0, None, 600), (1000.0, 500.0, 1200), (None, 2000.0, 300)]
)
def test_tokens_per_step_of_the_command_line_count_first(
    of_law: float | None, given: float | None, steps: int
) -> None:
    arguments = argparse.Namespace(steps=None, tokens=6e5, tokens_per_step=given)
    assert optimize._steps(arguments, of_law) == steps


def test_tokens_stand_for_steps() -> None:
    tokens = ("--tokens", 6e5, "--tokens-per-step", 1000, "--peak", 1e-3, "--warmup", 50)
    found = call_json("optimize", "multi_power:25M", *tokens)
    assert (found["steps"], found["tokens_per_step"]) == (600, 1000)
    assert "600 steps of 1000 tokens" in render(found)
    plain = call_json("optimize", "multi_power:25M", *SMALL)
    assert plain["final_loss"] == found["final_loss"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--steps 600 --tokens 1e6 --peak 1e-3", "--steps --tokens"),
        ("--tokens 1e6 --peak 1e-3", "--tokens --tokens-per-step"),
        ("--steps 600 --peak 1e-3 --branches", "--branches --horizons"),
        ("--steps 600 --peak 1e-3 --horizons 300 --branches --fix 5=1e-4", "--branches --fix"),
        ("--steps 600 --peak 1e-3 --horizons 300,x", "--horizons 300,x"),
        ("--steps 600 --peak 1e-3 --fix 100", "'100' STEP=LR"),
        ("--steps 600 --peak 1e-3 --search-weight-decay 0.1", "--search-weight-decay 0.1 LOW:HIGH"),
        ("--steps 600 --peak 1e-3:x", "--peak 'x'"),
        ("--steps 600 --peak 1e-4:1e-3", "several peaks"),
    ],
)
def test_options_that_do_not_fit(words: str, message: str) -> None:
    result = call("optimize", "multi_power:25M", *words.split())
    assert_refused(result, message)
