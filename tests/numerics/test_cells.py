"""Runs gathered to cells: exact for single steps, of second order in the width otherwise."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling_laws.inference.results import CurveFit
from scaling_laws.models.laws import Law, get_schedule_law, schedule_laws
from scaling_laws.models.numerics.cells import Cells, cells_of, means
from scaling_laws.models.numerics.precision import in_float64
from scaling_laws.models.schedules import schedule
from tests.helpers import FACTS, draw_values

PARAMS = {
    "multi_power": dict(get_schedule_law("multi_power").published["25M"]),
    "norm_clock": dict(get_schedule_law("norm_clock").published["124M"]),
    "lr_annealing": {"L0": 2.6, "A": 0.4, "alpha": 0.5, "C": 2.0, "decay": 0.999},
}
SEEN = [law for law in schedule_laws() if law.sees_cells]


@in_float64
def final_losses(law: Law, params: dict[str, float], lr: np.ndarray, cells: Cells) -> list[float]:
    """By every step, and by cells."""
    histories = [
        law.last_step(jnp.asarray(lr), facts=FACTS),
        law.last_of_cells(jnp.asarray(means(lr, cells)), cells, facts=FACTS),
    ]
    return [float(law.loss(params, each)[0]) for each in histories]


@settings(max_examples=50, deadline=None)
@given(
    steps=st.integers(1, 5000),
    cut=st.integers(1, 4999),
    growth=st.sampled_from([0.0, 1 / 64, 0.2]),
)
def test_cells_cover_every_step_once(steps: int, cut: int, growth: float) -> None:
    cells = cells_of(steps, (cut,), growth=growth)
    assert cells.edges[0] == 0 and cells.edges[-1] == steps
    assert (np.diff(cells.edges) >= 1).all()
    assert cut >= steps or cut in cells.edges
    assert cells.count[0] == cells.count[-1] == 1  # the ends of a run count step by step
    lr = np.random.default_rng(steps).random(steps)
    total = float(means(lr, cells) @ cells.count)
    assert total == pytest.approx(lr.sum(), rel=1e-12)
    if growth == 0.0:
        assert len(cells.count) == steps


@pytest.mark.parametrize("law", SEEN, ids=lambda law: law.name)
@pytest.mark.parametrize("seed", range(3))
def test_single_steps_are_exact(law: Law, seed: int) -> None:
    lr = schedule("wsd:peak=1e-3,steps=300,warmup=20,decay_fraction=0.2").lr
    exact, seen = final_losses(law, draw_values(law, seed, 1e-3), lr, cells_of(300, growth=0.0))
    assert seen == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("name", ["multi_power", "norm_clock", "lr_annealing", "functional_noise"])
@pytest.mark.parametrize(
    "spec",
    [
        "wsd:peak=3e-4,steps=24000,warmup=2160,decay_fraction=0.2",
        "linear:peak=3e-4,steps=24000,warmup=2160",
        "cosine:peak=3e-4,end=3e-5,steps=24000,warmup=2160",
    ],
)
def test_smooth_schedules_to_the_fifth_digit(name: str, spec: str) -> None:
    law = next(law for law in SEEN if law.name == name)
    params = PARAMS.get(name) or draw_values(law, 0, 3e-4)
    lr = schedule(spec).lr
    errors = []
    for growth in (1 / 16, 1 / 64):
        exact, seen = final_losses(law, params, lr, cells_of(24_000, (2160,), growth=growth))
        errors.append(abs(seen - exact))
    assert errors[1] <= 1e-5
    assert errors[1] <= 0.25 * errors[0] + 1e-9  # second order, less what buckets add to the coarse


@in_float64
def test_slopes_are_those_of_every_step() -> None:
    law = CurveFit.published("norm_clock", "124M")
    cells, lr = cells_of(400, growth=1 / 16), schedule("linear:peak=1e-3,steps=400,warmup=20").lr
    params, facts = dict(law.params), {"weight_decay": 0.1}
    law_of = law.law

    def by_cells(row: jax.Array) -> jax.Array:
        return law_of.loss(params, law_of.last_of_cells(row, cells, facts=facts))[0]

    def by_steps(row: jax.Array) -> jax.Array:
        return law_of.loss(params, law_of.last_step(row, facts=facts))[0]

    found = np.asarray(jax.jit(jax.grad(by_cells))(jnp.asarray(means(lr, cells))))
    exact = np.asarray(jax.jit(jax.grad(by_steps))(jnp.asarray(lr)))
    summed = np.add.reduceat(exact, cells.edges[:-1])
    inside = slice(2, -1)  # zero LR at the first step has no slope by either
    np.testing.assert_allclose(
        found[inside], summed[inside], rtol=0.02, atol=2e-3 * abs(summed).max()
    )


def test_a_schedule_of_weight_decay() -> None:
    law = CurveFit.published("norm_clock", "124M")
    lr = schedule("cosine:peak=1e-3,steps=2000,warmup=100").lr
    decay = np.linspace(0.2, 0.05, 2000)
    cells = cells_of(2000, growth=1 / 64)
    exact = law.predict(
        "cosine:peak=1e-3,steps=2000,warmup=100",
        [1999],
        traces={"weight_decay": decay},
        facts={"weight_decay": 0.1},
    ).final_loss

    @in_float64
    def seen() -> float:
        history = law.law.last_of_cells(
            jnp.asarray(means(lr, cells)),
            cells,
            facts={"weight_decay": 0.1},
            weight_decay=jnp.asarray(means(decay, cells)),
        )
        return float(law.law.loss(dict(law.params), history)[0])

    assert seen() == pytest.approx(exact, abs=1e-5)
