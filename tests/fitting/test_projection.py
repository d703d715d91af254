"""The projected problem: exact amplitudes, exact gradient, Huber as least squares."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize, nnls

from scaling_laws.fitting.objective import (
    HUBER_DELTA,
    huber_objective,
    huber_root,
    huber_root_slope,
)
from scaling_laws.fitting.projection import Problem, _solve_amplitudes, compiled_trial
from scaling_laws.laws import get_schedule_law
from scaling_laws.numerics.history import chosen_steps
from scaling_laws.schedules import schedule


def problem() -> Problem:
    generator = np.random.default_rng(0)
    histories, losses = [], []
    for spec in (
        "cosine:peak=1,end=0.1,steps=900,warmup=50",
        "multistage:peak=1,at=400,to=0.2,steps=700,warmup=50",
    ):
        plan = schedule(spec)
        steps = np.arange(60, plan.steps, 30)
        noise = 1.0 + 2e-3 * generator.standard_normal(len(steps))
        clock = np.cumsum(plan.lr)[steps]
        losses.append((2.0 + 5.0 * clock**-0.5 - 0.2 * (1 - plan.lr[steps])) * noise)
        histories.append(chosen_steps(plan.lr, steps))
    return Problem.of(histories, losses)


@settings(deadline=None)  # the first example compiles
@given(st.floats(-1.0, 1.0))
def test_huber_root_squares_to_huber(residual: float) -> None:
    with jax.enable_x64(True):
        root = float(huber_root(np.float64(residual)))
        slope = float(huber_root_slope(np.float64(residual)))
    exact = huber_objective(np.array([np.exp(residual)]), np.array([1.0]))
    assert root**2 / 2 == pytest.approx(exact, rel=1e-9, abs=1e-18)
    step = 1e-7
    numeric = (
        huber_objective(np.array([np.exp(residual + step)]), np.array([1.0]))
        - huber_objective(np.array([np.exp(residual - step)]), np.array([1.0]))
    ) / (2 * step)
    assert root * slope == pytest.approx(numeric, abs=1e-7)  # the kink at δ, over a step of 1e-7


def test_huber_is_quadratic_then_linear() -> None:
    inside, outside = 0.5 * HUBER_DELTA, 10 * HUBER_DELTA
    observed = np.exp(np.array([inside, outside]))
    expected = 0.5 * inside**2 + HUBER_DELTA * (outside - 0.5 * HUBER_DELTA)
    assert huber_objective(observed, np.ones(2)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_nonnegative_solve_equals_scipy(seed: int) -> None:
    generator = np.random.default_rng(seed)
    terms = generator.standard_normal((30, 3))
    target = terms @ generator.standard_normal(3) + 0.1 * generator.standard_normal(30)
    weight = generator.uniform(0.5, 2.0, 30)
    root = np.sqrt(weight)
    expected, _ = nnls(terms * root[:, None], target * root)
    with jax.enable_x64(True):
        found = np.asarray(_solve_amplitudes(terms, target, weight, [False] * 3))
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_signed_amplitudes_may_be_negative_and_twin_columns_share() -> None:
    generator = np.random.default_rng(3)
    terms = generator.standard_normal((30, 2))
    columns = np.concatenate([terms, terms[:, :1]], axis=1)  # the third repeats the first
    target = terms @ np.array([2.0, -3.0])
    with jax.enable_x64(True):
        found = np.asarray(_solve_amplitudes(columns, target, np.ones(30), [False, True, False]))
    np.testing.assert_allclose(columns @ found, target, atol=1e-9)
    assert found[1] == pytest.approx(-3.0)
    assert (found[[0, 2]] >= 0).all()


def test_amplitudes_are_optimal_for_the_huber_objective() -> None:
    law, data = get_schedule_law("linear_drop"), problem()
    with jax.enable_x64(True):
        free = np.array([law.shape[0].support.free(0.45)])
        trial = compiled_trial(law)(data, free)
        columns = [
            np.asarray(law.terms({"alpha": np.float64(0.45)}, jax.tree.map(lambda x: x[0], stack)))
            for stack in data.histories
        ]
    observed = np.concatenate([loss.ravel() for loss in data.loss])
    weight = np.concatenate([each.ravel() for each in data.weight]) > 0
    matrix = np.concatenate(columns)[weight]

    def objective(scaled: np.ndarray) -> float:
        predicted = matrix @ (scaled * np.asarray(trial.amplitudes))
        return huber_objective(observed[weight], np.maximum(predicted, 1e-3)) * 1e4

    best = minimize(
        objective, np.ones(3), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12}
    )
    ours = 0.5 * float(np.sum(np.asarray(trial.residual) ** 2)) * 1e4
    assert ours <= best.fun * (1 + 1e-6)


def test_gradient_through_the_projection_is_exact() -> None:
    law, data = get_schedule_law("multi_power"), problem()
    start = [
        parameter.support.free(value)
        for parameter, value in zip(law.shape, (0.45, 0.05, 0.5, 0.3), strict=True)
    ]
    with jax.enable_x64(True):
        function = compiled_trial(law)
        trial = function(data, np.array(start))
        gradient = np.asarray(trial.jacobian).T @ np.asarray(trial.residual)
        for place in range(len(start)):
            bump = np.zeros(len(start))
            bump[place] = 1e-5
            up, down = (
                0.5
                * float(
                    np.sum(np.asarray(function(data, np.array(start) + sign * bump).residual) ** 2)
                )
                for sign in (1, -1)
            )
            numeric = (up - down) / 2e-5
            assert gradient[place] == pytest.approx(numeric, rel=2e-3, abs=1e-9)


def test_without_gives_runs_no_weight_and_keeps_the_shapes() -> None:
    data = problem()
    held = data.without([1])
    assert [each.shape for each in held.weight] == [each.shape for each in data.weight]
    for weight, original, places in zip(held.weight, data.weight, data.places, strict=True):
        for row, place in enumerate(places):
            np.testing.assert_array_equal(weight[row], original[row] * (place != 1))
