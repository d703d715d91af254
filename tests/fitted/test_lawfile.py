"""Law files: exact round trips, clear refusals, whole or not at all."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling_laws.common.errors import LawError, LawFileError, OutputError
from scaling_laws.inference.results import (
    CurveFit,
    FitRecord,
    InputRange,
    PointFit,
    Range,
    Uncertainty,
    load_law,
)
from scaling_laws.inference.results.law_file import from_document, to_document
from scaling_laws.inference.results.state import FitState
from scaling_laws.models.laws import Law, PointLaw, get_schedule_law, point_laws, schedule_laws
from tests.helpers import draw_values

RECORD = FitRecord(
    objective=1.25e-4,
    huber_delta=1e-3,
    n_points=12,
    starts=4,
    starts_at_best=3,
    seconds=0.5,
    seed=1,
    from_step=100,
    runs={"a": {"n": 12, "mae": 0.001, "r2": math.nan, "final_error": -0.002}},
    sources={"a": "data/a.csv"},
    warnings=("beta ended on its bound",),
)


def full(law: Law, params: dict[str, float]) -> CurveFit:
    return CurveFit(
        law,
        params,
        Uncertainty.plain("leave_one_run_out", 0.0021, 3),
        Range((1e-4, 1e-3), 24000, 0.1),
        RECORD,
        {"weight_decay": 0.1},
    )


@pytest.mark.parametrize("law", schedule_laws(), ids=lambda law: law.name)
def test_round_trip_is_exact(law: Law, tmp_path: Path) -> None:
    fitted = full(law, draw_values(law, 0, 3e-4))
    again = load_law(fitted.save(tmp_path / "law.json"))
    assert again.law is law
    assert dict(again.params) == dict(fitted.params)
    assert (again.uncertainty, again.range) == (fitted.uncertainty, fitted.range)
    assert dict(again.facts) == {"weight_decay": 0.1}
    assert again.record is not None
    assert math.isnan(again.record.runs["a"].pop("r2"))  # type: ignore[attr-defined]
    assert again.record.warnings == RECORD.warnings and again.record.from_step == 100


@pytest.mark.parametrize("law", point_laws(), ids=lambda law: law.name)
def test_round_trip_of_point_laws_is_exact(law: PointLaw, tmp_path: Path) -> None:
    whole = law.expand(["web", "code"]) if law.has_wildcards else law
    params = {each.name: 0.1 + 1.0 / (3 + place) for place, each in enumerate(whole.parameters)}
    covered = InputRange({name: (0.1, 1.0 / 3.0) for name in whole.input_names})
    fitted = PointFit(
        whole, params, Uncertainty.plain("leave_rows_out", 1.0 / 7.0, 6), covered, RECORD
    )
    again = load_law(fitted.save(tmp_path / "law.json"))
    assert again.law.name == law.name and again.law.names == whole.names
    assert dict(again.params) == params
    assert (again.uncertainty, again.range) == (fitted.uncertainty, fitted.range)


@given(st.floats(min_value=5e-324, max_value=1.7e308, allow_nan=False))
def test_every_number_survives(value: float) -> None:
    fitted = CurveFit.of("power", {"L0": value, "A": 0.0, "alpha": value})
    document = json.loads(json.dumps(to_document(fitted)))
    assert dict(from_document(document).params) == dict(fitted.params)


def test_file_is_numbers_and_words_only(tmp_path: Path) -> None:
    fitted = full(
        get_schedule_law("lr_annealing"), draw_values(get_schedule_law("lr_annealing"), 0, 3e-4)
    )
    document = json.loads(fitted.save(tmp_path / "law.json").read_text())
    assert document["format"] == "scaling-laws law" and document["version"] == 3
    assert document["units"]["decay"] == "1 per optimizer step"
    assert "per optimizer step" in document["conventions"]
    assert document["fit"]["runs"]["a"]["r2"] is None


WIDTHS = {
    "method": "leave_one_run_out",
    "log_error": 1e-3,
    "folds": 3,
    "sigma_constant": 1e-3,
    "sigma_decay": 1e-3,
    "curve_90": 2.0,
    "final_90": 2.0,
    "dof": 6.0,
}
DAMAGE = {
    "not an object": (lambda d: [d], "not a law file"),
    "another format": (lambda d: {**d, "format": "x"}, "not a law file"),
    "newer": (lambda d: {**d, "version": 4}, "version 4; this program reads up to 3: update"),
    "unknown law": (lambda d: {**d, "law": "powr"}, "did you mean 'power'"),
    "missing parameter": (lambda d: {**d, "params": {"L0": 1.0, "A": 1.0}}, "'alpha' is missing"),
    "unknown parameter": (lambda d: {**d, "params": {**d["params"], "beta": 1}}, "'beta'"),
    "negative": (lambda d: {**d, "params": {**d["params"], "alpha": -1.0}}, "alpha=-1.0 must be"),
    "text": (lambda d: {**d, "params": {**d["params"], "alpha": "1"}}, "alpha is '1'"),
    "no params": (lambda d: {k: v for k, v in d.items() if k != "params"}, "damaged"),
    "uncertainty": (lambda d: {**d, "uncertainty": {"method": "x"}}, "damaged"),
    "range": (lambda d: {**d, "range": {"peak_lr": [1.0]}}, "damaged"),
    "text in the uncertainty": (
        lambda d: {**d, "uncertainty": {"method": "x", "log_error": "big", "folds": 3}},
        "uncertainty.log_error is 'big': it must be a number",
    ),
    "text in the range": (
        lambda d: {**d, "range": {"peak_lr": ["a", "b"], "steps": 3, "lowest_lr": 0.1}},
        "range.peak_lr.0 is 'a': it must be a number",
    ),
    "facts": (lambda d: {**d, "facts": {"weight_decay": "much"}}, "weight_decay is 'much'"),
    "no degrees of freedom": (lambda d: {**d, "uncertainty": {**WIDTHS, "dof": 0.0}}, "dof is 0.0"),
    **{
        f"negative {name}": (
            lambda d, name=name: {**d, "uncertainty": {**WIDTHS, name: -1e-3}},
            f"uncertainty.{name} is -0.001: it must be",
        )
        for name in WIDTHS
        if name != "method"
    },
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_files_are_refused(name: str, tmp_path: Path) -> None:
    change, words = DAMAGE[name]
    document = to_document(CurveFit.of("power", {"L0": 1.0, "A": 1.0, "alpha": 0.5}))
    path = tmp_path / "law.json"
    path.write_text(json.dumps(change(document)))
    with pytest.raises(LawFileError, match=r"law\.json") as caught:
        load_law(path)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "no such file"), ("{\n'a'", "line 2: not JSON"), ("\x00", "not JSON")],
)
def test_what_is_no_json(content: str | None, words: str, tmp_path: Path) -> None:
    path = tmp_path / "law.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(LawFileError, match=words):
        load_law(path)


OLD_UNCERTAINTY = {
    1: {"method": "leave_one_run_out", "log_error": 0.002, "folds": 3},
    2: {
        "method": "leave_one_run_out",
        "log_error": 0.002,
        "folds": 3,
        "steady": 0.001,
        "decayed": 0.004,
        "curve_90": 1.8,
        "final_90": 2.1,
        "freedom": 6.0,
    },
}


@pytest.mark.parametrize("version", OLD_UNCERTAINTY)
def test_files_of_earlier_versions_are_read(version: int, tmp_path: Path) -> None:
    law = get_schedule_law("power")
    document = to_document(full(law, {"L0": 2.0, "A": 0.5, "alpha": 0.5}))
    fit = {key: value for key, value in document["fit"].items() if "log_error" not in key}
    del fit["effective_points"]
    old = {**document, "version": version, "uncertainty": OLD_UNCERTAINTY[version], "fit": fit}
    if version == 1:
        del old["draws"]
    path = tmp_path / "law.json"
    path.write_text(json.dumps(old))
    fitted = CurveFit.load(path)
    expected = {
        1: Uncertainty.plain("leave_one_run_out", 0.002, 3),
        2: Uncertainty(
            "leave_one_run_out",
            0.002,
            3,
            sigma_constant=0.001,
            sigma_decay=0.004,
            curve_90=1.8,
            final_90=2.1,
            dof=6.0,
        ),
    }
    assert fitted.uncertainty == expected[version] and fitted.nobs == RECORD.n_points
    with pytest.raises(LawError, match="before version 3"):
        _ = fitted.aic
    # and what was read is written in the present form
    assert load_law(fitted.save(path)).uncertainty == expected[version]


def test_a_law_that_is_not_registered_is_passed(tmp_path: Path) -> None:
    law = replace(get_schedule_law("power"), name="my_power")
    path = CurveFit(law, {"L0": 2.0, "A": 0.5, "alpha": 0.5}).save(tmp_path / "law.json")
    with pytest.raises(LawFileError, match=r"register_law.*plug-in.*law=") as caught:
        load_law(path)
    assert caught.value.value == "my_power" and caught.value.path == str(path)
    assert load_law(path, law=law).law is law
    with pytest.raises(LawFileError, match="a fit of my_power, not of power"):
        load_law(path, law=get_schedule_law("power"))


def test_a_fit_of_the_other_kind_is_refused(tmp_path: Path) -> None:
    path = CurveFit.of("power", {"L0": 1, "A": 1, "alpha": 1}).save(tmp_path / "law.json")
    with pytest.raises(LawError, match="power predicts from a schedule; use CurveFit"):
        PointFit.load(path)


def test_nothing_is_left_of_a_failed_write(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="does not exist"):
        CurveFit.of("power", {"L0": 1, "A": 1, "alpha": 1}).save(tmp_path / "no" / "law.json")
    assert list(tmp_path.iterdir()) == []


ODD = st.sampled_from([None, True, "text", "1", [], {}, [1], {"a": 1}, "\x1b[2J", "\ud800"])
ODD |= st.sampled_from([-1, 0, 1, -1.5, 1e308, -1e308, 5e-324, math.nan, math.inf])
ODD |= st.sampled_from([10**400, -(2**70)])


def leaves(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Places of a document, each as the keys that lead there."""
    yield place
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*place, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves(item, (*place, index))


def with_draws() -> dict[str, Any]:
    """A law file's content with every part."""
    law = get_schedule_law("power")
    fitted = full(law, {"L0": 2.0, "A": 0.5, "alpha": 0.5})
    draws = {"L0": [2.0, 2.1, 1.9], "A": [0.5] * 3, "alpha": [0.5] * 3}
    return to_document(replace(fitted, draws=draws))


DOCUMENT = with_draws()


@given(place=st.sampled_from(list(leaves(DOCUMENT))), value=ODD, removed=st.booleans())
@settings(max_examples=300)
def test_odd_values_are_refused_or_usable(
    place: tuple[Any, ...], value: Any, removed: bool
) -> None:
    """No value anywhere leads to another exception, here or in the summary."""
    document = copy.deepcopy(DOCUMENT)
    if not place:
        document = value
    else:
        *before, last = place
        inner = document
        for key in before:
            inner = inner[key]
        if removed:
            del inner[last]
        else:
            inner[last] = value
    try:
        fitted = from_document(document)
    except LawFileError as error:
        assert str(error).isprintable()
        return
    assert isinstance(fitted, CurveFit | FitState)
    text = CurveFit(**vars(fitted)).summary()
    assert str(text)
