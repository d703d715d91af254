"""Interpolated losses: exact for cubics, and for laws far below the noise of a loss."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import nnls

from scaling_laws.data.runs import Run
from scaling_laws.inference.fitting import run_points
from scaling_laws.inference.fitting.fit_data import prepare
from scaling_laws.inference.fitting.interpolation import (
    interpolation_nodes,
    interpolation_weights,
)
from scaling_laws.models.laws import get_schedule_law
from scaling_laws.models.schedules import schedule
from tests.helpers import draw_values

SPECS = (
    "constant:peak=1e-3,steps=6000,warmup=300",
    "cosine:peak=1e-3,end=1e-4,steps=6000,warmup=300",
    "linear:peak=1e-3,steps=6000,warmup=300",
    "wsd:peak=1e-3,steps=6000,warmup=300,decay_fraction=0.2",
    "multistage:peak=1e-3,at=3000,to=2e-4,steps=6000,warmup=300",
)
BENDS = {"wsd": (4800,), "multistage": (3000,)}
LAWS = ("norm_clock", "multi_power", "lr_annealing", "functional_noise", "convex_bound")
FACTS = {"weight_decay": 0.1, "model_params": 1e6}
TOLERANCE = 1e-5  # of the loss


@given(
    steps=st.sets(st.integers(0, 3000), min_size=4, max_size=60),
    coefficients=st.tuples(*[st.floats(-1.0, 1.0)] * 4),
    data=st.data(),
)
def test_cubics_are_exact(steps: set[int], coefficients: tuple[float, ...], data: st.DataObject):
    points = np.array(sorted(steps))
    inner = st.sets(st.sampled_from(range(len(points))), min_size=2)
    nodes = np.array(sorted({0, len(points) - 1} | data.draw(inner)))
    order = min(4, len(nodes))
    curve = np.polynomial.Polynomial(coefficients[:order])(points / 3000.0)
    stencil, weights = interpolation_weights(points, nodes)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-6)
    # wide gaps beside narrow ones give weights far above one, which multiply the rounding
    error = np.abs(np.sum(weights * curve[nodes][stencil], axis=1) - curve)
    assert np.all(error <= 1e-13 * np.abs(weights).sum(axis=1))
    np.testing.assert_array_equal(
        np.sum(weights * curve[nodes][stencil], axis=1)[nodes], curve[nodes]
    )


@given(
    steps=st.sets(st.integers(0, 3000), min_size=8, max_size=60),
    data=st.data(),
)
def test_two_nodes_on_each_side_where_there_are_so_many(
    steps: set[int], data: st.DataObject
) -> None:
    points = np.array(sorted(steps))
    inner = st.sets(st.sampled_from(range(len(points))), min_size=4)
    nodes = np.array(sorted({0, len(points) - 1} | data.draw(inner)))
    stencil, _ = interpolation_weights(points, nodes)
    inside = (points >= points[nodes[1]]) & (points < points[nodes[-2]])
    used = points[nodes[stencil[inside]]]
    assert np.all(used[:, 1] <= points[inside])
    assert np.all(points[inside] < used[:, 2])


@pytest.mark.parametrize("spec", SPECS)
def test_ends_and_bends_are_nodes(spec: str) -> None:
    plan = schedule(spec)
    points = np.arange(300, plan.steps, 10)
    nodes = interpolation_nodes(plan.lr, points)
    assert nodes[0] == 0 and nodes[-1] == len(points) - 1
    assert len(nodes) < 0.35 * len(points)
    assert np.all(np.diff(nodes) > 0)
    for bend in BENDS.get(spec.partition(":")[0], ()):
        near = np.flatnonzero(np.abs(points - bend) < 120)  # on both sides
        assert set(near) <= set(nodes)


def test_a_rough_schedule_is_evaluated_everywhere() -> None:
    lr = 1e-3 * (1.0 + 1e-3 * np.random.default_rng(0).standard_normal(4000))
    points = np.arange(0, 4000, 20)
    np.testing.assert_array_equal(interpolation_nodes(lr, points), np.arange(len(points)))


def test_a_break_is_surrounded_by_nodes() -> None:
    lr, points = np.full(4000, 1e-3), np.arange(100, 4000, 20)
    nodes = points[interpolation_nodes(lr, points, breaks=[2000])]
    near = points[np.abs(points - 2000) < 100]
    assert set(near) <= set(nodes)
    assert not set(near) <= set(points[interpolation_nodes(lr, points)])


@pytest.mark.parametrize("name", LAWS)
def test_losses_of_laws_are_exact_to_a_hundredth_of_their_noise(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    law = get_schedule_law(name)
    made = []
    for number, spec in enumerate(SPECS):
        plan = schedule(spec)
        steps = np.arange(310, plan.steps, 10)
        made.append(Run(str(number), plan, steps, np.full(len(steps), 3.0), FACTS))
    values = draw_values(law, 1, 1e-3)

    def columns_of(worthwhile: float) -> tuple[np.ndarray, int]:
        monkeypatch.setattr(run_points, "WORTHWHILE", worthwhile)
        data = prepare(law, made)
        scaled = law.rescale(values, 1.0 / data.unit) if law.rescale else values
        unconstrained = [
            parameter.transform.inverse(float(scaled[parameter.name]))
            for parameter in law.nonlinear_parameters
        ]
        columns = data.design.columns(np.array([unconstrained]))[0]
        return columns, sum(stack.step.size for stack in data.problem.groups)

    with jax.enable_x64(True):
        (interpolated, few), (exact, all_points) = columns_of(1.0), columns_of(0.0)
    assert few < 0.3 * all_points
    step = np.concatenate([run.steps for run in made])
    amplitudes, _ = nnls(exact.T, 2.5 + 1.5 * (step / 300.0) ** -0.5)  # losses as they are
    np.testing.assert_allclose(amplitudes @ interpolated, amplitudes @ exact, rtol=TOLERANCE)
