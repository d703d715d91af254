"""The engine against the dense sum, over the whole range of its parameters."""

from __future__ import annotations

import itertools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from scaling_laws.models.laws import get_schedule_law
from scaling_laws.models.numerics.convolution import annealed_drop
from scaling_laws.models.numerics.discretisations.at_points import AtPoints
from scaling_laws.models.numerics.discretisations.every_step import EVERY_STEP
from scaling_laws.models.numerics.discretisations.final import FINAL
from scaling_laws.models.numerics.history import History
from scaling_laws.models.numerics.kernels import ExponentialKernel, PowerKernel
from tests.helpers import SCHEDULES

Array = NDArray[np.float64]
LAW = get_schedule_law("multi_power")  # any law that reads the changes of the LR


def dense(lr: Array, scale: float, beta: float, gamma: float, floor: float) -> Array:
    """Σ_k d_k G_k at every step, one step after the other."""
    clock, change = np.cumsum(lr), np.concatenate([[0.0], lr[:-1] - lr[1:]])
    speed = scale * np.maximum(lr, floor) ** -gamma
    drops = np.empty(len(lr))
    for step in range(len(lr)):
        distance = clock[step] - (clock - lr)[: step + 1]
        kernel = 1.0 - (1.0 + speed[: step + 1] * distance) ** -beta
        drops[step] = np.sum(change[: step + 1] * kernel)
    return drops


@jax.jit
def power_drop(history: History, *arguments: float) -> jax.Array:
    return annealed_drop(history, PowerKernel(*arguments))


def engine(lr: Array, scale: float, beta: float, gamma: float, floor: float) -> Array:
    with jax.enable_x64(True):
        return np.asarray(power_drop(LAW.history(EVERY_STEP, lr), scale, beta, gamma, floor))[
            : len(lr)
        ]


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(sorted(SCHEDULES)),
    beta=st.floats(0.02, 3.0),
    gamma=st.floats(0.0, 2.0),
    log_speed=st.floats(-25.0, 14.0),
)
def test_every_step_equals_the_dense_sum(
    name: str, beta: float, gamma: float, log_speed: float
) -> None:
    """Within 1e-8 of the peak: with B = 100 nats a unit of peak LR, 1e-6 nats at the very worst."""
    lr = SCHEDULES[name] / SCHEDULES[name].max()
    arguments = (np.exp(log_speed), beta, gamma, 1e-6)
    np.testing.assert_allclose(engine(lr, *arguments), dense(lr, *arguments), rtol=0, atol=1e-8)


def test_rates_of_zero_for_long_and_back() -> None:
    """A change felt only after the clock moves again, blocks later, keeps its exact delay."""
    lr = np.concatenate([np.ones(40), np.zeros(200), np.full(100, 0.3), np.zeros(90)])
    arguments = (2.0, 0.3, 1.5, 1e-6)
    np.testing.assert_allclose(engine(lr, *arguments), dense(lr, *arguments), rtol=0, atol=1e-9)


def test_exponential_kernel_equals_the_recurrence() -> None:
    lr, decay = SCHEDULES["wsd"], 0.97
    momentum, area, areas = 0.0, 0.0, [0.0]
    for before, after in itertools.pairwise(lr):
        momentum = decay * momentum + (before - after)
        area += momentum
        areas.append(area)
    with jax.enable_x64(True):
        drop = annealed_drop(
            LAW.history(EVERY_STEP, lr), ExponentialKernel(np.float64(-np.log(decay)))
        )
    np.testing.assert_allclose(np.asarray(drop)[: len(lr)] / (1 - decay), areas, atol=1e-14)


def test_last_step_is_the_last_of_every_step() -> None:
    lr = SCHEDULES["two drops"]
    with jax.enable_x64(True):
        kernel = PowerKernel(30.0, np.float64(0.5), 0.4, 1e-9)
        every = np.asarray(annealed_drop(LAW.history(EVERY_STEP, lr), kernel))[len(lr) - 1]
        last = np.asarray(annealed_drop(LAW.history(FINAL, lr), kernel))
    assert last[0] == pytest.approx(every, rel=1e-10)


@pytest.mark.parametrize("count", [3, 255, 256, 700])
def test_chosen_steps_have_the_dense_sum(count: int) -> None:
    lr = np.concatenate([np.linspace(0, 1, 50), np.linspace(1, 0.1, 1500), np.full(450, 0.05)])
    steps = np.unique(np.linspace(60, len(lr) - 1, count).astype(int))
    arguments = (0.3, 0.4, 0.5, 1e-6)
    with jax.enable_x64(True):
        history = LAW.history(AtPoints(steps), lr)
        kernel = PowerKernel(arguments[0], np.float64(arguments[1]), *arguments[2:])
        drops = np.asarray(jax.jit(jax.vmap(lambda point: annealed_drop(point, kernel)))(history))
    # in units of the peak, whose decay gains some 0.1 nats: 5e-7 nats
    np.testing.assert_allclose(drops[:, 0], dense(lr, *arguments)[steps], rtol=0, atol=5e-6)
