"""Intervals from few held-out runs: as wide as these say, and no narrower than nine in ten."""

from __future__ import annotations

import numpy as np
import pytest

from scaling_laws.inference.fitting.calibration import FEW_RUNS, HeldOutErrors, calibrate
from scaling_laws.inference.results import VarianceInputs

POINTS = 30


def held(errors: np.ndarray, spread: float = 0.0) -> HeldOutErrors:
    """A run at its highest LR, its last point the end of its schedule."""
    ending = np.append(np.zeros(len(errors) - 1), 1.0)
    return HeldOutErrors(
        errors, VarianceInputs(np.full(len(errors), spread), np.zeros(len(errors)), ending)
    )


@pytest.mark.parametrize("runs", [2, 3, 6, 9])
def test_nine_in_ten_of_errors_alike_are_inside(runs: int) -> None:
    points, finals = [], []
    for seed in range(120):
        generator = np.random.default_rng(seed)
        # errors of a run move together
        every = generator.normal(0.0, 1e-3, (2 * runs + 1, 1)) * np.ones(POINTS)
        every += generator.normal(0.0, 3e-4, every.shape)
        seen = [held(row) for row in every[:runs]]
        fitted = [held(row / 1.5) for row in every[runs : 2 * runs]]
        found = calibrate("leave_one_run_out", seen, fitted, runs)
        new = held(every[-1])
        inside = np.abs(new.error) <= found.half_width(0.9, new.exposure)
        points.append(inside.mean())
        finals.append(inside[-1])
    # the standard error of 120 runs is .027; small sets have wider intervals than they need
    assert np.mean(points) >= 0.84 and np.mean(finals) >= 0.84
    assert np.mean(points) <= 0.99


def test_few_runs_that_are_better_than_their_spread_narrow_it() -> None:
    generator = np.random.default_rng(0)
    rows = [held(generator.normal(0.0, 1e-4, POINTS), spread=1e-3) for _ in range(3)]
    narrow = calibrate("leave_one_run_out", rows, rows, 3)
    rows = [held(generator.normal(0.0, 1e-3, POINTS), spread=1e-3) for _ in range(3)]
    usual = calibrate("leave_one_run_out", rows, rows, 3)
    assert 0.6 < narrow.curve_90 / usual.curve_90 < 0.95
    # Student with three runs seen and three supposed: 1.94 at most where nothing was off
    assert narrow.curve_90 < 1.95


def test_one_run_keeps_the_wider_quantile() -> None:
    rows = [held(np.full(POINTS, 1e-3), spread=1e-3)]
    alone = calibrate("leave_tail_out", rows, rows, 1)
    two = calibrate("leave_one_run_out", rows * 2, rows * 2, 2)
    assert alone.curve_90 > 1.3 * two.curve_90
    assert FEW_RUNS >= 2
