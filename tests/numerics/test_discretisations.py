"""Discretisations, clocks and stacks: one interface for laws with events and with a grid."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling_laws.common import LawError
from scaling_laws.models.laws import Law, across_sizes, get_schedule_law
from scaling_laws.models.numerics.discretisations.at_points import AtPoints
from scaling_laws.models.numerics.discretisations.discretisation import RunInputs
from scaling_laws.models.numerics.discretisations.every_step import EVERY_STEP
from scaling_laws.models.numerics.discretisations.final import FINAL, Final
from scaling_laws.models.numerics.history import History
from scaling_laws.models.numerics.precision import in_float64
from scaling_laws.models.numerics.stacking import pad_points, stack_histories
from scaling_laws.models.schedules import schedule

FACTS = {"weight_decay": 0.1}
LAWS = [get_schedule_law("multi_power"), get_schedule_law("norm_clock")]
both = pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)


class FirstHalf:
    """The loss half-way through a run; a discretisation that no law and no clock has heard of."""

    def with_events(self, run: RunInputs, rate: Any, *, noise: bool) -> History:
        return Final().with_events(run, rate[: len(rate) // 2], noise=noise)

    def with_grid(self, run: RunInputs, decay: Any, norm: Any) -> History:
        half = len(decay) // 2
        return Final().with_grid(RunInputs(run.lr[:half], run.facts), decay[:half], norm)


def mapped(law: Law, stack: History) -> np.ndarray:
    losses = jax.vmap(lambda history: law.loss(dict(law.published["25M"]), history))(stack)
    return np.asarray(losses).reshape(-1)


@both
@in_float64
def test_a_new_discretisation_needs_no_change_of_a_law(law: Law) -> None:
    lr = jnp.asarray(schedule("linear:peak=1e-3,steps=200,warmup=20").lr)
    params = dict(law.published["25M"])
    half = law.loss(params, law.history(FirstHalf(), lr, facts=FACTS))
    exact = law.loss(params, law.history(FINAL, lr[:100], facts=FACTS))
    np.testing.assert_array_equal(half, exact)


@both
@in_float64
def test_stacks_contain_every_point_of_every_run(law: Law) -> None:
    specs = [
        ("cosine:peak=1e-3,steps=400,warmup=20", np.arange(30, 400, 7)),
        ("wsd:peak=1e-3,steps=300,warmup=20,decay_fraction=0.2", np.array([40, 299])),
        ("constant:peak=1e-3,steps=700,warmup=20", np.arange(50, 700, 3)),
    ]
    histories = [
        law.history(AtPoints(points), schedule(spec).lr, facts=FACTS) for spec, points in specs
    ]
    stacks, index = stack_histories(histories)
    losses = np.concatenate([mapped(law, stack) for stack in stacks])
    chosen = np.concatenate(index)
    assert len(np.unique(chosen)) == len(chosen)  # no two points share a place
    for history, places in zip(histories, index, strict=True):
        np.testing.assert_allclose(losses[places], mapped(law, history), rtol=1e-12)


@both
@in_float64
def test_padded_points_are_copies_of_the_last(law: Law) -> None:
    points = np.array([40, 90, 199])
    lr = schedule("linear:peak=1e-3,steps=200,warmup=20").lr
    history = law.history(AtPoints(points), lr, facts=FACTS)
    padded = mapped(law, pad_points(history, 8, 256))
    expected = mapped(law, history)
    np.testing.assert_allclose(padded, np.append(expected, [expected[-1]] * 5), rtol=1e-12)


def test_a_history_contains_one_form_of_the_past() -> None:
    lr = schedule("linear:peak=1e-3,steps=200,warmup=20").lr
    with_events, with_grid = (law.history(EVERY_STEP, lr, facts=FACTS) for law in LAWS)
    assert with_events.time_grid is None and with_grid.events is None
    with pytest.raises(LawError, match="EffectiveLR"):
        _ = with_events.grid
    with pytest.raises(LawError, match="SummedLR"):
        _ = with_grid.changes
    with pytest.raises(LawError, match="noise=True"):
        _ = with_events.noise


def test_a_law_over_sizes_keeps_the_prior_and_loses_the_calibration() -> None:
    law = get_schedule_law("norm_clock")
    over = across_sizes(law)
    assert law.prior is not None and over.prior is law.prior
    assert over.prior_from_runs is law.prior_from_runs
    assert law.in_progress is not None and over.in_progress is None
    complete = law.prior.completed(over)
    assert set(complete.mean) == {parameter.name for parameter in over.nonlinear_parameters}
    assert complete.mean["alpha"] == law.prior.mean["alpha"]
