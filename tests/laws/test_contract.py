"""What every registered law must satisfy; a new law is tested here without a new test."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling_laws.inference.results.prediction import compiled_loss
from scaling_laws.models.laws import Law, get_schedule_law, schedule_laws
from scaling_laws.models.numerics.discretisations.at_points import AtPoints
from scaling_laws.models.numerics.discretisations.every_step import EveryStep
from scaling_laws.models.numerics.discretisations.final import FINAL
from scaling_laws.models.numerics.history import History
from scaling_laws.models.parameters import Support
from scaling_laws.models.schedules import schedule
from tests.helpers import FACTS, SCHEDULES, draw_values, traces_for
from tests.reference import reference_loss

pytestmark = pytest.mark.usefixtures("float64")
laws = pytest.mark.parametrize("law", schedule_laws(), ids=lambda law: law.name)
schedules = pytest.mark.parametrize("name", SCHEDULES)
# properties of the engine and not of a law: one law per kernel, and one with a clock of its own
ENGINE = ("power", "multi_power", "functional_noise", "lr_annealing", "norm_clock")
engine_laws = pytest.mark.parametrize(
    "law", [get_schedule_law(name) for name in ENGINE], ids=lambda law: law.name
)


@pytest.fixture
def float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def losses(law: Law, values: dict[str, float], history: History) -> np.ndarray:
    return np.asarray(compiled_loss(law)(values, history))


@cache
def compiled_points(law: Law) -> Any:
    return jax.jit(lambda v, points: jax.vmap(lambda point: law.loss(v, point))(points).reshape(-1))


def chosen_losses(law: Law, values: dict[str, float], lr: Any, steps: np.ndarray) -> np.ndarray:
    points = law.history(AtPoints(steps), lr, facts=FACTS, traces=traces_for(lr))
    return np.asarray(compiled_points(law)(values, points))


def every(law: Law, lr: np.ndarray, **options: Any) -> History:
    return law.history(EveryStep(**options), lr, facts=FACTS, traces=traces_for(lr))


def last(law: Law, lr: Any) -> History:
    return law.history(FINAL, lr, facts=FACTS, traces=traces_for(lr))


@cache
def compiled_final(law: Law) -> Any:
    return jax.jit(lambda v, r, t: law.loss(v, law.history(FINAL, r, facts=FACTS, traces=t))[0])


def final_loss(law: Law, values: dict[str, float], lr: np.ndarray) -> float:
    return float(compiled_final(law)(values, lr, traces_for(lr)))


@laws
def test_has_a_twin_and_a_citation(law: Law) -> None:
    assert importlib.import_module(f"tests.reference.{law.name}").loss
    assert law.formula and law.citation and law.conventions
    assert get_schedule_law(law.name) is law


@laws
@schedules
def test_equals_its_twin(law: Law, name: str) -> None:
    lr = SCHEDULES[name]
    steps = np.unique(np.r_[0, 1, 19, 20, np.arange(30, len(lr), 41), len(lr) - 1])
    for seed in range(3):
        values = draw_values(law, seed, lr.max())
        expected = reference_loss(law.name, values, lr, steps, FACTS, traces_for(lr))
        # the clock floor makes step 0 after a zero LR huge: compare relatively there
        tolerance = {"rtol": 1e-9, "atol": 1e-9}
        np.testing.assert_allclose(
            losses(law, values, every(law, lr))[: len(lr)][steps], expected, **tolerance
        )
        np.testing.assert_allclose(final_loss(law, values, lr), expected[-1], **tolerance)


@laws
@schedules
def test_chosen_steps_agree_with_every_step(law: Law, name: str) -> None:
    lr = SCHEDULES[name]
    steps = np.unique(np.r_[np.arange(40, len(lr), 37), len(lr) - 1])
    values = draw_values(law, 5, lr.max())
    near = chosen_losses(law, values, lr, steps)
    exact = losses(law, values, every(law, lr))[steps]
    # three Gauss nodes a stretch: 1e-5 of the loss gained by annealing, which is about 1 nat here
    np.testing.assert_allclose(near, exact, rtol=1e-5, atol=2e-5)


@laws
def test_chosen_steps_are_good_without_warm_up_and_with_sparse_logs(law: Law) -> None:
    lr = schedule("linear:peak=1e-3,steps=2000").lr
    steps = np.arange(499, 2000, 500)
    values = draw_values(law, 5, lr.max())
    near = chosen_losses(law, values, lr, steps)
    exact = losses(law, values, every(law, lr))[steps]
    np.testing.assert_allclose(near, exact, rtol=1e-5, atol=2e-5)


@cache
def compiled_gradients(law: Law) -> Any:
    """(values, lr, traces) -> final loss and its gradients in values and lr; one program."""
    return jax.jit(
        jax.value_and_grad(
            lambda v, r, t: law.loss(v, law.history(FINAL, r, facts=FACTS, traces=t))[0],
            argnums=(0, 1),
        )
    )


@laws
@schedules
def test_finite_with_gradient_at_the_edges(law: Law, name: str) -> None:
    lr = SCHEDULES[name]
    extremes = [{parameter.name: 1.0 for parameter in law.linear_parameters} for _ in range(2)]
    for parameter in law.nonlinear_parameters:
        extremes[0][parameter.name], extremes[1][parameter.name] = parameter.start
    for values in (draw_values(law, 1, lr.max()), *extremes):
        value, (by_value, by_rate) = compiled_gradients(law)(values, lr, traces_for(lr))
        assert np.isfinite(value)
        assert all(np.isfinite(slope) for slope in by_value.values()), by_value
        assert np.isfinite(by_rate).all()
        assert np.isfinite(losses(law, values, every(law, lr))).all()


@laws
def test_gradient_equals_finite_difference(law: Law) -> None:
    lr = SCHEDULES["cosine"]
    values = draw_values(law, 2, lr.max())
    _, (by_value, by_rate) = compiled_gradients(law)(values, lr, traces_for(lr))
    for key, value in values.items():
        step = 1e-6 * value
        up, down = (final_loss(law, {**values, key: value + sign * step}, lr) for sign in (1, -1))
        np.testing.assert_allclose(by_value[key], (up - down) / (2 * step), rtol=1e-5, atol=1e-8)
    for index in (50, 299):
        bump = np.zeros_like(lr)
        bump[index] = 1e-6 * lr[index]
        up, down = final_loss(law, values, lr + bump), final_loss(law, values, lr - bump)
        numeric = (up - down) / (2 * bump[index])
        np.testing.assert_allclose(by_rate[index], numeric, rtol=1e-4, atol=1e-6)


@engine_laws
def test_jit_equals_eager_and_vmap_equals_loop(law: Law) -> None:
    lr = SCHEDULES["wsd"]
    history = every(law, lr)
    draws = [draw_values(law, seed, lr.max()) for seed in range(4)]
    loop = np.stack([losses(law, values, history) for values in draws])
    eager = np.asarray(law.loss({k: jnp.float64(v) for k, v in draws[0].items()}, history))
    np.testing.assert_allclose(eager, loop[0], rtol=1e-12)
    stacked = {key: jnp.asarray([draw[key] for draw in draws]) for key in draws[0]}
    batched = jax.vmap(lambda values: law.loss(values, history))(stacked)
    np.testing.assert_allclose(batched, loop, rtol=1e-12)
    rates = np.stack([lr, 0.5 * lr, lr[::-1]])
    one = {key: jnp.float64(value) for key, value in draws[0].items()}
    finals = jax.vmap(lambda row: law.loss(one, last(law, row))[0])(rates)
    expected = [final_loss(law, draws[0], row) for row in rates]
    np.testing.assert_allclose(finals, expected, rtol=1e-12)


@engine_laws
@schedules
def test_padding_changes_nothing(law: Law, name: str) -> None:
    lr = SCHEDULES[name]
    values = draw_values(law, 3, lr.max())
    plain = losses(law, values, every(law, lr))[: len(lr)]
    padded = losses(law, values, every(law, lr, steps=448))[: len(lr)]
    small_blocks = losses(law, values, every(law, lr, block=8))[: len(lr)]
    np.testing.assert_allclose(padded, plain, rtol=1e-11)
    np.testing.assert_allclose(small_blocks, plain, rtol=0, atol=1e-8)


@laws
def test_float32_is_near(law: Law) -> None:
    """Single precision, for scoring many schedules: 2e-5 of the largest loss.

    A forgetting factor near one keeps few digits of 1 - decay: 1e-3 there.
    """
    lr = SCHEDULES["cosine"]
    values = draw_values(law, 8, lr.max())
    exact = losses(law, values, every(law, lr))[: len(lr)]
    history = jax.tree.map(np.float32, every(law, lr))
    single = losses(law, {key: np.float32(value) for key, value in values.items()}, history)
    assert single.dtype == np.float32
    forgets = any(parameter.support is Support.UNIT for parameter in law.nonlinear_parameters)
    tolerance = (1e-3 if forgets else 2e-5) * np.abs(exact[1:]).max()
    np.testing.assert_allclose(single[1 : len(lr)], exact[1:], rtol=0, atol=tolerance)


@laws
def test_second_call_compiles_nothing(law: Law) -> None:
    function = compiled_loss(law)
    lr, other = SCHEDULES["cosine"], schedule("cosine:peak=5e-4,end=4e-5,steps=310,warmup=25").lr
    first, second = (every(law, each, steps=320) for each in (lr, other))
    # the range of clocks is part of a shape, in few steps: see `Events.octaves`
    assert jax.tree.structure(first) == jax.tree.structure(second)
    losses(law, draw_values(law, 0, lr.max()), first)
    before = function._cache_size()
    losses(law, draw_values(law, 1, other.max()), second)
    assert function._cache_size() == before


@laws
def test_rescaling_learning_rates_changes_no_loss(law: Law) -> None:
    if law.rescale is None:
        pytest.skip("its parameters are tied to the unit of the LR")
    lr = SCHEDULES["cosine"]
    values = draw_values(law, 4, lr.max())
    scaled = law.rescale(values, 1000.0)
    np.testing.assert_allclose(
        losses(law, scaled, every(law, 1000.0 * lr)),
        losses(law, values, every(law, lr)),
        rtol=1e-11,
    )


@pytest.mark.parametrize(
    "name", ["linear_drop", "lr_annealing", "multi_power", "functional", "collapse_noise"]
)
def test_constant_learning_rate_gives_the_plain_power_law(name: str) -> None:
    law, lr = get_schedule_law(name), SCHEDULES["constant, no warm-up"]
    values = draw_values(law, 6, lr.max())
    power = get_schedule_law("power")
    plain = {key: values[key] for key in power.names}
    np.testing.assert_allclose(
        losses(law, values, every(law, lr)), losses(power, plain, every(power, lr)), rtol=1e-12
    )


@pytest.mark.parametrize(
    "name",
    [
        "power",
        "linear_drop",
        "multi_power",
        "functional",
        "functional_noise",
        "convex_bound",
        "norm_clock",
    ],
)
def test_appended_zero_rates_gain_nothing(name: str) -> None:
    """The clock stops; lr_annealing is left out: that it gains is its known limit."""
    law, lr = get_schedule_law(name), SCHEDULES["linear to zero"]
    values = draw_values(law, 7, lr.max())
    longer = np.concatenate([lr, np.zeros(100)])
    loss = losses(law, values, every(law, longer))
    # the last step to rate 0 itself is felt by the memoryless law only
    drift = values["B"] * lr[-1] if name == "linear_drop" else 0.0
    np.testing.assert_allclose(loss[len(lr) : len(longer)], loss[len(lr) - 1] - drift, atol=1e-9)
