"""No prediction is a loss that no run can have; intervals are finite and in order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling_laws.common import LawError
from scaling_laws.decisions import optimize
from scaling_laws.inference.results import CurveFit, PointFit, Uncertainty
from scaling_laws.inference.results.domain import MAX_LOSS
from scaling_laws.models import Schedule

DROP = {"L0": 2.5, "A": 0.25, "alpha": 0.5, "B": 150.0}
UNCERTAINTY = Uncertainty("leave_one_run_out", 0.01, 3, 0.01, 0.1, 2.0, 3.0, 3.0)
DRAWS = {name: np.array([value, 1.1 * value, 0.9 * value]) for name, value in DROP.items()}


def fitted(**changes: np.ndarray) -> CurveFit:
    law = CurveFit.of("linear_drop", DROP).law
    return CurveFit(law, DROP, UNCERTAINTY, draws={**DRAWS, **changes})


@given(
    log_peak=st.floats(-250, 99),
    end=st.floats(0, 1),
    steps=st.sampled_from([1, 2, 64]),
)
def test_a_prediction_is_possible_or_refused(log_peak: float, end: float, steps: int) -> None:
    lr = np.linspace(1.0, end, steps) * 10.0**log_peak
    try:
        prediction = fitted().predict(Schedule("any", lr))
    except LawError as error:
        assert "domain" in str(error)
        return
    low, high = prediction.interval()
    assert ((prediction.loss > 0) & (prediction.loss <= MAX_LOSS)).all()
    assert np.isfinite([low, high]).all()
    assert (low <= prediction.loss).all() and (prediction.loss <= high).all()


@pytest.mark.parametrize("value", [np.nan, 1e90, -1e90])
def test_absurd_draws_widen_an_interval_and_leave_it_finite(value: float) -> None:
    draws = np.array([DROP["L0"], value, value])
    with np.errstate(all="ignore"):
        low, high = fitted(L0=draws).predict("constant:peak=1e-3,steps=64").interval()
    assert np.isfinite([low, high]).all() and (low <= high).all()


def test_a_floor_is_not_undercut_without_a_word() -> None:
    (note,) = CurveFit.of("linear_drop", DROP).predict("linear:peak=1e-2,steps=3000").notes
    assert "below the law's own floor of 2.5000" in note


def test_the_search_refuses_what_no_run_can_have() -> None:
    with pytest.raises(LawError, match=r"nats for .* outside the domain"):
        optimize(CurveFit.of("linear_drop", DROP), steps=64, peak=1.0, end_min=0.5)


def test_tables_give_finite_values_or_an_error() -> None:
    values = {"E": 1.0, "A": 1.7e308, "alpha": 0.5, "B": 1.7e308, "beta": 0.5}
    law = PointFit.of("chinchilla", values)
    with pytest.raises(LawError, match="domain"), np.errstate(all="ignore"):
        law.at(model_params=1.0, tokens=1.0)
