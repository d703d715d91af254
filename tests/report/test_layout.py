"""The figure of the package layout has one arrow per import between groups, and no other."""

from __future__ import annotations

from benchmarks.layout import ARROWS, BOXES, imports


def test_arrows_are_the_imports() -> None:
    pairs = imports()
    assert {(upper, lower) for upper, lower in pairs if lower != "common"} == set(ARROWS)
    assert {upper for upper, lower in pairs if lower == "common"} == set(BOXES) - {"common"}
