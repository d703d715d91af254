"""Constraints are satisfied: prefixes, fixed rates, changes per step, lowest rates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling_laws.common.errors import UsageError
from scaling_laws.decisions.constraints import ScheduleConstraints
from scaling_laws.decisions.search import optimize, optimize_branches
from scaling_laws.decisions.search.spline import spline_of
from scaling_laws.inference.results import CurveFit
from scaling_laws.models.schedules import schedule

LAW = CurveFit.published("multi_power", "25M")
FRAME: dict[str, Any] = {"steps": 3000, "peak": 3e-4, "warmup": 200}


def test_a_prefix_is_kept_and_the_rate_does_not_rise_after_it() -> None:
    done = schedule("cosine:peak=3e-4,steps=2000,warmup=200").lr[:1200]
    best = optimize(LAW, steps=3000, peak=3e-4, prefix=done)
    lr = best.schedule.lr
    np.testing.assert_array_equal(lr[:1200], done)
    assert lr.shape == (3000,)
    assert (np.diff(lr[1199:]) <= 1e-15).all()
    assert best.final_loss <= min(best.baselines.values())
    assert all(spec.startswith("the first 1200 steps + ") for spec in best.baselines)
    assert LAW.predict(best.schedule).final_loss == pytest.approx(best.final_loss, rel=1e-9)


def test_a_prefix_that_is_a_schedule_makes_specs_that_read_back() -> None:
    done = schedule("constant:peak=3e-4,steps=1200,warmup=200")
    best = optimize(LAW, steps=3000, peak=3e-4, prefix=done)
    for spec, loss in best.baselines.items():
        assert LAW.predict(spec).final_loss == pytest.approx(loss, rel=1e-9)


def test_rewarming_only_with_allow_rewarm() -> None:
    done = schedule("constant:peak=5e-5,steps=500,warmup=200").lr
    kept = optimize(LAW, steps=3000, peak=3e-4, prefix=done)
    assert kept.schedule.lr[500:].max() <= 5e-5
    risen = optimize(LAW, steps=3000, peak=3e-4, prefix=done, allow_rewarm=True)
    assert 2e-4 < risen.schedule.lr.max() <= 3e-4
    assert risen.final_loss < kept.final_loss - 1e-3


def test_cooldown_from_keeps_the_peak() -> None:
    best = optimize(LAW, **FRAME, cooldown_from=2500)
    lr = best.schedule.lr
    np.testing.assert_array_equal(
        lr[:2500], schedule("constant:peak=3e-4,steps=2500,warmup=200").lr
    )
    assert lr[-1] < 3e-5
    assert all(len(schedule(spec).lr) == 3000 for spec in best.baselines)


@settings(max_examples=12, deadline=None)
@given(
    steepest=st.floats(5e-4, 5e-3),
    low=st.floats(0.0, 0.5),
    pin=st.none() | st.tuples(st.integers(1200, 2800), st.floats(0.55, 1.0)),
)
def test_constraints_are_satisfied(
    steepest: float, low: float, pin: tuple[int, float] | None
) -> None:
    fixed = {} if pin is None else {pin[0]: 3e-4 * pin[1]}
    constraints: dict[str, Any] = {"end_min": 3e-4 * low, "max_change": steepest, "fixed": fixed}
    best = optimize(LAW, **FRAME, **constraints)
    lr = best.schedule.lr
    assert ScheduleConstraints(**FRAME, **constraints).violation(lr) is None
    assert np.abs(np.diff(lr[200:])).max() <= steepest * 3e-4 * (1 + 1e-6)
    assert lr[200:].min() >= 3e-4 * low * (1 - 1e-9)
    for step, rate in fixed.items():
        assert lr[step] == pytest.approx(rate, abs=1e-12)
    for spec, words in best.broken.items():
        assert words and spec in best.baselines


def test_cell_means_of_a_spline_are_exact() -> None:
    from scaling_laws.models.numerics.cells import cells_of, means

    constraints = ScheduleConstraints(**FRAME)
    spline = spline_of(constraints)
    decrements = np.full(len(spline.low), 0.9 / len(spline.low))
    before = np.linspace(0.0, 3e-4, 200)
    lr = np.concatenate([before, spline.rates(decrements)])
    for end in (3000, 1500):
        cells = cells_of(end, (200,))
        offset, matrix = spline.of_cells(before, cells)
        np.testing.assert_allclose(offset + matrix @ decrements, means(lr[:end], cells), atol=1e-16)
    fall = np.linspace(1.0, 0.0, 600, endpoint=False)
    cells = cells_of(1500, (200,))
    offset, matrix = spline.of_cells(before, cells, (900, fall))
    branch = np.concatenate([lr[:900], lr[899] * fall])
    np.testing.assert_allclose(offset + matrix @ decrements, means(branch, cells), atol=1e-16)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"prefix": np.zeros(0)}, "prefix has shape"),
        ({"prefix": [1e-4, -1e-4]}, "rate -0.0001 at step 1"),
        ({"prefix": [1e-4, np.nan]}, "rate nan at step 1"),
        ({"prefix": [1e-4, 0.0]}, "prefix ends at LR 0"),
        ({"prefix": [1e-4, 4e-4]}, "at most peak=0.0003"),
        ({"prefix": np.full(2995, 1e-4)}, "at least 10 steps after the first 2995 steps"),
        ({"prefix": [1e-4]}, "the prefix ends after 1 steps, inside warmup=200"),
        ({"prefix": np.full(300, 1e-4), "cooldown_from": 500}, "not both"),
        ({"cooldown_from": 200}, "cooldown_from=200 must be after warmup=200"),
        ({"cooldown_from": 2999}, "at least 10 steps"),
        ({"max_change": 0.0}, "max_change=0.0"),
        ({"fixed": {100: 1e-4}}, "fixed step 100 must lie in 200..2999"),
        ({"fixed": {1000: 4e-4}}, "fixed rate 0.0004 at step 1000"),
        ({"fixed": {1000: 1e-4, 2000: 2e-4}}, "the fixed rates rise"),
        (
            {"fixed": {201: 1e-5}, "max_change": 1e-3},
            "no smooth schedule satisfies these constraints",
        ),
        ({"horizons": [0]}, "horizon 0"),
        ({"horizons": [4000]}, "horizon 4000 must lie in 1..3000"),
        ({"horizons": [150]}, "horizon 150 must be after step 201"),
        ({"objective": "best"}, "is not one of final, upper"),
        ({"objective": "upper"}, "requires a fit with held-out errors"),
        ({"weight_decay": (0.05, 0.2)}, "multi_power does not model weight decay"),
        ({"peak": (1e-4, 3e-4)}, "several peaks \\(fitted here: none\\)"),
        ({"peak": (3e-4, 1e-4)}, "the lower one first"),
    ],
)
def test_contradicting_constraints(change: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        optimize(LAW, **{**FRAME, **change})


def test_constraints_are_one_object_or_keywords() -> None:
    constraints = ScheduleConstraints(**FRAME, end_min=1e-5, max_change=2e-3)
    one = optimize(LAW, constraints=constraints)
    other = optimize(LAW, **FRAME, end_min=1e-5, max_change=2e-3)
    assert one.schedule == other.schedule and one.final_loss == other.final_loss
    with pytest.raises(UsageError, match="either constraints or warmup"):
        optimize(LAW, constraints=constraints, warmup=100)
    with pytest.raises(UsageError, match="peak is missing"):
        optimize(LAW, steps=3000)
    with pytest.raises(UsageError, match="optimize_branches does not support max_change"):
        optimize_branches(LAW, horizons=[1000, 3000], constraints=constraints)
