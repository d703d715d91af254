"""The report of a fit: one object, and text and JSON that say the same."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling_laws.inference.fitting import fit
from scaling_laws.inference.results import (
    CurveFit,
    FitRecord,
    PointFit,
    Uncertainty,
    VarianceInputs,
)
from scaling_laws.inference.results.law_file import from_document, to_document
from scaling_laws.inference.results.summary import report_of, run_table, summary

PARAMS = {"L0": 2.5, "A": 0.25, "B": 150.0, "alpha": 0.5}
RUNS = {
    "cosine": {
        "n": 40,
        "mae": 0.00212,
        "rmse": 0.0031,
        "pred_e": 0.00061,
        "worst_e": 0.0123,
        "r2": 0.99871,
        "final_error": -0.0042,
    },
    "flat": {
        "n": 12,
        "mae": 0.0034,
        "rmse": 0.0045,
        "pred_e": 0.00093,
        "worst_e": 0.0201,
        "r2": math.nan,
        "final_error": 0.00011,
    },
}
RECORD = FitRecord(
    objective=1.25e-4,
    huber_delta=1e-3,
    n_points=52,
    starts=16,
    starts_at_best=15,
    seconds=1.5,
    seed=3,
    from_step="warmup",
    runs=RUNS,
    sources={"cosine": "a.csv", "flat": "b.csv"},
    warnings=("no abrupt drop",),
    minimised="student-t:0.001,4",
    lowest=1.1e-4,
    statuses={"converged": 15, "out_of_iterations": 1},
    prior={"alpha": (-0.7, 0.14, 2.5e-6)},
    prior_source="other runs",
    condition=3.2e7,
)
UNCERTAINTY = Uncertainty("leave_one_run_out", 0.0021, 2, 0.0011, 0.0034, 1.9, 2.3, 4.0)


def drawn(count: int = 200) -> dict[str, np.ndarray]:
    """Draws in which A and B move oppositely, alpha nearly with A, and L0 alone."""
    generator = np.random.default_rng(0)
    one, other, third = generator.standard_normal((3, count))
    return {
        "L0": 2.5 + 0.01 * third,
        "A": 0.25 * np.exp(0.8 * one),
        "B": 150.0 * np.exp(-0.5 * one),
        "alpha": 0.5 * np.exp(0.02 * (one + 0.3 * other)),
    }


def example(**changes: object) -> CurveFit:
    return CurveFit(
        CurveFit.of("linear_drop", PARAMS).law,
        PARAMS,
        UNCERTAINTY,
        None,
        replace(RECORD, **changes),  # type: ignore[arg-type]
        draws=drawn(),
    )


def section(text: str, name: str) -> list[str]:
    """The lines of one section."""
    parts = re.split(r"^\[\[(\w+)\]\].*$", text, flags=re.MULTILINE)
    found = dict(zip(parts[1::2], parts[2::2], strict=True))
    return [line for line in found[name].splitlines() if line.strip()]


def numbers(line: str) -> list[float]:
    return [float(found) for found in re.findall(r"[-+]?\d+\.?\d*(?:e[-+]?\d+)?", line)]


def test_text_and_json_hold_the_same_numbers() -> None:
    report = report_of(example())
    text, found = report.text(), report.as_json()
    rows = section(text, "Parameters")[1:]
    assert [row.split()[0] for row in rows] == list(PARAMS)
    for row, parameter in zip(rows, found["parameters"], strict=True):
        value, low, high, error = numbers(row[row.index(parameter["name"]) + 6 :])[:4]
        half = 0.5 * (parameter["interval_90"][1] - parameter["interval_90"][0])
        assert value == pytest.approx(parameter["value"], abs=0.05 * half)
        assert [low, high] == pytest.approx(parameter["interval_90"], abs=0.05 * half)
        assert error == pytest.approx(parameter["standard_error"], abs=0.05 * half)
    for row, (name, run) in zip(section(text, "Runs")[1:], found["runs"].items(), strict=True):
        shown = numbers(row.replace("nan", ""))
        expected = [value for value in run.values() if value is not None]
        assert row.split()[0] == name
        assert shown == pytest.approx(expected, rel=5e-3, abs=5e-6)
    for row, pair in zip(section(text, "Correlations"), found["correlations"], strict=True):
        assert row.split()[:2] == [pair["name"] + ",", pair["other"]]
        assert float(row.split()[2]) == pytest.approx(pair["value"], abs=5e-4)
    assert section(text, "Warnings") == ["  no abrupt drop"]


def test_statistics_in_text_and_json() -> None:
    report = report_of(example())
    lines = "\n".join(section(report.text(), "Fit"))
    for words in (
        "student-t:0.001,4",
        "lowest value without the prior 0.00011",
        "0.000125",
        "52, 2",
        "from step: warmup",
        "4 searched",
        "16, of which 15 within",
        "15 converged, 1 out of iterations",
        "3.2e+07",
        "on alpha: other runs",
        "3, 1.5",
    ):
        assert words in lines, words
    found = report.as_json()["fit"]
    assert found["degrees_of_freedom"] == 48
    assert (found["prior_strength"], found["draws"], found["lowest"]) == (2.5e-6, 200, 1.1e-4)


def test_given_and_tied_parameters_are_marked_and_not_counted() -> None:
    fitted = example(fixed={"B": 150.0}, prior={})
    report = report_of(fitted)
    assert report.fit is not None
    assert (report.fit.n_parameters, report.fit.degrees_of_freedom) == (3, 49)
    by_name = {each.name: each for each in report.parameters}
    assert by_name["B"].fixed and by_name["B"].interval_90 is None
    assert "fixed: B" in report.text() and "prior" not in "\n".join(
        section(report.text(), "Fit")[4:]
    )
    params = {**CurveFit.published("multi_power", "25M").params}
    tied = CurveFit(
        CurveFit.published("multi_power", "25M").law,
        {**params, "gamma": params["beta"]},
        record=replace(RECORD, prior={}, ties={"gamma": "beta"}),
    )
    report = report_of(tied)
    assert report.fit is not None and report.fit.n_parameters == 6
    assert {each.name: each.tied_to for each in report.parameters}["gamma"] == "beta"
    assert (
        "tied: gamma = beta" in report.text()
        and "= beta" in section(report.text(), "Parameters")[6]
    )


def test_interval_widths_are_those_of_the_uncertainty() -> None:
    report = report_of(example())
    found = report.intervals
    assert found is not None
    # at full LR, and with what a decayed LR adds; the Student t quantiles of one level cancel
    assert found.point == pytest.approx(1.9 * 0.0011)
    assert found.final == pytest.approx(2.3 * 0.0011)
    assert found.point_decayed == pytest.approx(1.9 * math.hypot(0.0011, 0.0034))
    assert found.final_decayed == pytest.approx(2.3 * math.hypot(0.0011, 0.0034))
    ends = VarianceInputs(np.zeros(1), np.ones(1), np.ones(1))
    assert found.final_decayed == UNCERTAINTY.half_width(0.9, ends)[0]
    lines = section(report.text(), "Intervals")
    assert numbers(lines[0])[:2] == [0.21, 2] and "leave one run out, 2 folds" in lines[0]
    assert numbers(lines[1]) == [0.11, 0.34]
    assert numbers(lines[2]) == [90, 0.209, 0.253]
    assert numbers(lines[3])[:3] == [90, 0.679, 0.822]


def test_strong_correlations_are_found_in_logarithms_and_sorted() -> None:
    report = report_of(example())
    assert report.correlation_limit == 0.9
    pairs = [(each.name, each.other) for each in report.correlations]
    assert pairs == [("A", "B"), ("A", "alpha"), ("B", "alpha")]
    # exact in logarithms; as they are, A and B would be correlated by -0.8 only
    assert report.correlations[0].value == pytest.approx(-1.0, abs=1e-12)
    assert np.corrcoef(drawn()["A"], drawn()["B"])[0, 1] > -0.9
    alpha = np.corrcoef(np.log(drawn()["A"]), np.log(drawn()["alpha"]))[0, 1]
    assert report.correlations[1].value == pytest.approx(alpha, abs=1e-12)
    assert 0.9 < alpha < 0.99
    assert "L0," not in "\n".join(section(report.text(), "Correlations"))


def test_correlations_of_still_or_few_draws_are_not_reported() -> None:
    fitted = example()
    still = replace(fitted, draws={**fitted.draws, "B": np.full(200, 150.0)})
    pairs = [(each.name, each.other) for each in report_of(still).correlations]
    assert pairs == [("A", "alpha")]
    alone = {name: np.full(200, value) for name, value in PARAMS.items()}
    assert section(report_of(replace(fitted, draws=alone)).text(), "Correlations") == ["  none"]
    few = replace(fitted, draws={name: row[:9] for name, row in fitted.draws.items()})
    assert report_of(few).correlation_limit is None
    assert "[[Correlations]]" not in report_of(few).text()


def test_amplitude_that_some_draws_put_at_zero() -> None:
    draws = {**drawn(), "B": np.maximum(drawn()["B"] - 150.0, 0.0)}
    text = report_of(replace(example(), draws=draws)).text()
    assert "nan" not in "\n".join(section(text, "Parameters") + section(text, "Correlations"))


def test_law_with_given_parameters() -> None:
    report = report_of(CurveFit.of("linear_drop", PARAMS))
    text = report.text()
    assert "parameters were given, not fitted" in text
    assert [heading for heading in re.findall(r"\[\[(\w+)\]\]", text)] == ["Fit", "Parameters"]
    assert section(text, "Parameters")[0].split()[:2] == ["L0", "2.5"]
    found = report.as_json()
    assert found["fit"] is found["intervals"] is found["correlation_limit"] is None
    assert found["runs"] == {} and found["parameters"][0]["interval_90"] is None


def test_point_law() -> None:
    law = PointFit.published("chinchilla", "hoffmann_rounded")
    sizes, tokens = (row.ravel() for row in np.meshgrid([1e8, 1e9, 1e10], [1e9, 1e10, 1e11]))
    table = {"model_params": sizes, "tokens": tokens}
    loss = law.at(**table).value * np.exp(1e-3 * np.random.default_rng(0).standard_normal(9))
    fitted = fit("chinchilla", {**table, "loss": loss}, starts=2)
    report = report_of(fitted)
    assert fitted.uncertainty is not None and report.intervals is not None
    assert report.intervals.point == float(fitted.uncertainty.half_width(0.9))
    assert report.intervals.sigma_decay is report.intervals.final is None
    text = report.text()
    assert "leave rows out" in text and "of a row" in text and "LR" not in text
    assert report.fit is not None and report.fit.degrees_of_freedom == 4
    assert "minimised" in text and "huber:0.001" in text and "[[Correlations]]" not in text
    json.dumps(report.as_json(), allow_nan=False)


def test_law_file_of_before_there_were_draws(tmp_path: Path) -> None:
    document = to_document(example())
    document["version"] = 1
    del document["draws"]
    document["uncertainty"] = {"method": "leave_one_run_out", "log_error": 0.002, "folds": 3}
    later = "minimised lowest statuses prior prior_source condition fixed ties"
    for key in later.split():
        del document["fit"][key]
    old = from_document(document)
    report = report_of(old)
    assert report.fit is not None and report.fit.lowest is None and report.fit.draws == 0
    assert report.fit.minimised == "huber:0.001"
    assert report.intervals is not None and report.intervals.sigma_decay == 0.0
    text = summary(old)
    assert text == report.text() == summary(old)
    assert "condition" not in text and "[[Correlations]]" not in text and "None" not in text
    assert section(text, "Parameters")[3].split()[:2] == ["alpha", "0.5"]


def test_json_is_plain() -> None:
    found = report_of(example()).as_json()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["runs"]["flat"]["r2"] is None
    assert (found["law"], found["warnings"]) == ("linear_drop", ["no abrupt drop"])


def scaled(size: float) -> dict[str, dict[str, float]]:
    """The runs with errors so many times as large, and an R2 each."""
    errors = ("mae", "rmse", "pred_e", "worst_e", "final_error")
    runs = {name: {**run, "r2": 0.98} for name, run in RUNS.items()}
    return {
        name: {key: size * value if key in errors else value for key, value in run.items()}
        for name, run in runs.items()
    }


@pytest.mark.parametrize("size", [1e-9, 1e-4, 1.0, 1e3, 1e6, 1e9])
def test_table_keeps_three_digits_and_is_aligned_at_any_size(size: float) -> None:
    lines = run_table(scaled(size))
    assert len({len(line) for line in lines}) == 1
    for line, run in zip(lines[1:], scaled(size).values(), strict=True):
        shown = [float(cell) for cell in line.split()[1:]]
        expected = list(run.values())
        assert shown[:5] == pytest.approx(expected[:5], rel=5e-3)
    points = [[place for place, sign in enumerate(line) if sign == "."] for line in lines[1:]]
    assert points[0] == points[1] != []


@given(
    st.lists(st.floats(1e-12, 1e12), min_size=1, max_size=5),
)
def test_numbers_of_a_column_can_be_read_back(values: list[float]) -> None:
    runs = {f"run{place}": {**RUNS["cosine"], "mae": value} for place, value in enumerate(values)}
    shown = [float(line.split()[2]) for line in run_table(runs)[1:]]
    for read, value in zip(shown, values, strict=True):
        # those a decade and more below the largest keep fewer digits, to stay aligned
        assert abs(read - value) <= 5.1e-3 * max(value, 0.1 * max(values))


@given(st.floats(-9, 9), st.floats(1e-6, 3.0))
def test_parameters_are_written_as_well_as_they_are_known(power: float, spread: float) -> None:
    """What is shown is off by less than a twentieth of the interval's half width."""
    size = 10.0**power
    rows = {**drawn(), "A": size * np.exp(spread * np.linspace(-1.0, 1.0, 200))}
    fitted = replace(example(), params={**PARAMS, "A": size}, draws=rows)
    low, high = fitted.parameter_intervals(0.9)["A"]
    line = section(fitted.summary(), "Parameters")[2]
    shown = numbers(line[line.index("A") + 1 :])[:3]
    for read, number in zip(shown, (size, low, high), strict=True):
        assert abs(read - number) <= max(0.051 * 0.5 * (high - low), 5.1e-10)
    assert len(line.split("nats")[0]) < 85


def test_metrics_that_a_record_lacks_are_left_open() -> None:
    line = run_table({"a": {"n": 3, "mae": 0.5}})[1]
    assert line.split() == ["a", "3", "0.500", "nan", "nan", "nan", "nan", "nan"]
