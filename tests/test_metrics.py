"""Error measures against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from scaling_laws.inference.metrics import mean_metrics, metrics


def test_every_measure_by_hand() -> None:
    observed = np.array([4.0, 2.0, 3.0, 1.0])
    predicted = np.array([4.4, 2.0, 2.7, 0.8])  # errors 0.4, 0, -0.3, -0.2
    found = metrics(observed, predicted)
    assert found == pytest.approx(
        {
            "n": 4,
            "mae": 0.9 / 4,
            "rmse": math.sqrt((0.16 + 0.09 + 0.04) / 4),
            "pred_e": (0.1 + 0.0 + 0.1 + 0.2) / 4,
            "worst_e": 0.2,
            "r2": 1 - 0.29 / 5.0,  # spread about the mean 2.5: 2.25 + 0.25 + 0.25 + 2.25
            "final_error": -0.2,
        }
    )
    assert isinstance(found["n"], int)


def test_a_perfect_and_a_mean_prediction() -> None:
    observed = np.array([3.0, 2.0, 1.0])
    assert metrics(observed, observed)["r2"] == 1.0
    assert metrics(observed, np.full(3, 2.0))["r2"] == pytest.approx(0.0)
    assert metrics(observed, observed[::-1])["r2"] < 0


@pytest.mark.parametrize("observed", [[2.0], [2.0, 2.0]])
def test_r2_needs_a_spread(observed: list[float]) -> None:
    found = metrics(np.array(observed), np.array(observed) + 0.5)
    assert math.isnan(found["r2"])
    assert found["mae"] == found["final_error"] == 0.5


def test_mean_over_runs() -> None:
    runs = [
        {"n": 2, "mae": 0.1, "final_error": -0.3, "coverage_90": 1.0},
        {"n": 4, "mae": 0.3, "final_error": 0.1},
    ]
    assert mean_metrics(runs) == pytest.approx(
        {"n": 3.0, "mae": 0.2, "final_error": -0.1, "abs_final_error": 0.2}
    )
