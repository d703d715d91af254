"""A law that is registered by a caller or a plug-in works in every verb that names laws."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from scaling_laws.interface.report.catalogue import catalogue
from scaling_laws.models.laws import LAWS
from tests.cli.calls import assert_refused, call, call_json

NAME = "outside_power"
SPEC = "linear:peak=1e-3,steps=300,warmup=20"


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> str:
    law = dataclasses.replace(LAWS["power"], name=NAME)
    monkeypatch.setitem(LAWS._items, NAME, law)  # undone after the test
    return NAME


def test_from_list_to_prediction(outside: str, curves: Path, tmp_path: Path) -> None:
    law = tmp_path / "law.json"
    assert outside in call_json("laws")["laws"] and outside in call("laws", outside).out
    fit = call_json("fit", curves, "--law", outside, "--starts", 2, "--draws", 0, "--out", law)
    assert fit["law"] == outside
    assert call_json("predict", law, "--schedule", SPEC)["law"] == outside
    assert call_json("evaluate", law, curves)["law"] == outside
    assert call("optimize", law, "--steps", 300, "--peak", 1e-3).code == 0


def test_all_laws_include_it(outside: str, curves: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LAWS, "_items", {name: LAWS[name] for name in ("power", outside)})
    result = call_json("compare", curves, "--laws", "all", "--starts", 1, "--hold-out", "last")
    assert {outside, "power"} == set(result["laws"])
    assert f"| `{outside}` |" in catalogue()


def test_near_matches_include_it(outside: str, tmp_path: Path) -> None:
    refused = call("fit", "none", "--law", outside[:-1], "--out", tmp_path / "law.json")
    assert_refused(refused, f"{outside[:-1]!r} {outside!r}")
