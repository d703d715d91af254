"""Variances of residuals, and errors of held-out runs, are those of the right points and refits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import pytest

from scaling_laws.common.pools import HERE
from scaling_laws.data.runs import Run
from scaling_laws.inference.fitting import held_out
from scaling_laws.inference.fitting.calibration import HeldOutErrors
from scaling_laws.inference.fitting.fit_data import Data, prepare
from scaling_laws.inference.fitting.multistart import multistart_fit, refit_folds
from scaling_laws.inference.fitting.objective import LeastSquares
from scaling_laws.inference.fitting.priors import prior_of
from scaling_laws.inference.fitting.problem import Solution
from scaling_laws.inference.results import CurveFit
from scaling_laws.models.laws import get_schedule_law
from scaling_laws.models.schedules import schedule

LAW = get_schedule_law("power")
TRUTH = CurveFit.of("power", {"L0": 2.0, "A": 0.5, "alpha": 0.5})
NOISE = 0.02  # in log loss, far above the smallest variance that a fit assumes


@pytest.fixture(scope="module")
def data() -> Data:
    """Three runs, each worse than the law by another share."""
    runs = []
    generator = np.random.default_rng(0)
    for number, family in enumerate(("constant", "linear", "cosine")):
        plan = schedule(f"{family}:peak=1e-3,steps=200,warmup=10")
        steps = np.arange(20, 200, 6)
        noise = NOISE * (0.5 * number + generator.standard_normal(len(steps)))
        runs.append(Run(family, plan, steps, TRUTH.predict(plan, steps).loss * np.exp(noise)))
    with jax.enable_x64(True):
        return prepare(LAW, runs)


@pytest.mark.parametrize("prior", ["none", "weak"])
def test_variance_is_the_mean_square_of_the_residuals(data: Data, prior: str) -> None:
    chosen = None if prior == "none" else prior_of(LAW, prior)
    with jax.enable_x64(True):
        found = multistart_fit(data, LeastSquares(), chosen, 2, 0)
        free = multistart_fit(data, LeastSquares(), None, 2, 0)
    residual = np.log(data.observed / data.predict([free.best])[0])
    # the fit without the prior counts, whatever was pulled by it
    assert found.settings.variance == pytest.approx(np.mean(residual**2), rel=1e-3)


def test_errors_of_a_fold_are_those_of_its_refit(
    data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    refits: list[Solution] = []
    received: dict[str, Sequence[HeldOutErrors]] = {}

    def kept(*arguments: Any) -> list[Solution]:
        refits.extend(refit_folds(*arguments))
        return refits

    def calibrate(
        method: str, held: Sequence[HeldOutErrors], fitted: Sequence[HeldOutErrors], folds: int
    ) -> None:
        received.update(held=held, fitted=fitted)

    monkeypatch.setattr(held_out, "refit_folds", kept)
    monkeypatch.setattr(held_out, "calibrate", calibrate)
    with jax.enable_x64(True):
        found = multistart_fit(data, LeastSquares(), None, 2, 0)
        held_out.held_out_uncertainty(data, found.best, found.settings, [], HERE)
    assert len(refits) == len(data.runs) == len(received["held"])
    for index, run in enumerate(data.runs):
        for name, solution in (("held", refits[index]), ("fitted", found.best)):
            predicted = data.predict([solution])[0][data.run == index]
            error = received[name][index].error
            np.testing.assert_allclose(error, np.log(run.loss / predicted), atol=1e-12)
    assert not np.allclose(received["held"][0].error, received["fitted"][0].error)
