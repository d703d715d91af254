"""Knots are within the tolerance at every step; both sides of a jump are knots."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling_laws.decisions.export.knots import TOLERANCE, choose_knots, steps_to_check
from scaling_laws.models.schedules import schedule

PIECES = st.lists(
    st.tuples(st.integers(1, 200), st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.floats(-3.0, 3.0)),
    min_size=1,
    max_size=8,
)


@given(PIECES, st.floats(1e-7, 10.0))
def test_random_pieces_stay_within_the_tolerance(
    pieces: list[tuple[int, float, float, float]], peak: float
) -> None:
    parts = []
    for steps, first, last, bend in pieces:
        share = np.linspace(0.0, 1.0, steps) ** np.exp(bend)
        parts.append(first + (last - first) * share)
    lr = peak * np.concatenate(parts)
    if not lr.max() > 0:
        return
    knots = choose_knots(lr)
    assert knots.steps[0] == 0 and knots.steps[-1] == lr.size - 1
    assert (np.diff(knots.steps) > 0).all()
    off = np.abs(knots.at(np.arange(lr.size)) - lr).max()
    assert off <= TOLERANCE * lr.max()
    assert knots.max_error == pytest.approx(off, abs=1e-15 * lr.max())


def test_straight_lines_have_knots_at_their_ends_only() -> None:
    plan = schedule("wsd:peak=3e-4,steps=100000,warmup=500,decay_fraction=0.2")
    assert choose_knots(plan.lr).steps.tolist() == [0, 499, 80000, 99999]


def test_both_sides_of_a_jump_are_knots() -> None:
    plan = schedule("multistage:peak=1e-3,at=1000/1500,to=3.16e-4/1e-4,steps=2000")
    knots = choose_knots(plan.lr)
    assert knots.steps.tolist() == [0, 999, 1000, 1499, 1500, 1999]
    assert knots.lr.tolist() == [1e-3, 1e-3, 3.16e-4, 3.16e-4, 1e-4, 1e-4]


def test_number_of_knots_of_a_cosine_follows_its_curvature() -> None:
    short, long = (choose_knots(schedule(f"cosine:peak=1.0,steps={n}").lr) for n in (10**4, 10**6))
    assert short.max_error <= TOLERANCE and long.max_error <= TOLERANCE
    # chords of length h miss a curve by h²·curvature/8: the number does not grow with the steps
    assert 1000 < len(long.steps) < 3000


@given(st.integers(1, 400), st.integers(0, 50), st.integers(0, 30))
def test_steps_to_check(steps: int, warmup: int, every: int) -> None:
    spec = f"wsd:peak=1.0,steps={steps + 60},warmup={warmup},decay_fraction=0.1"
    lr = schedule(spec).lr[:steps]
    shown = steps_to_check(lr, min(warmup, steps), every)
    assert shown == sorted(set(shown)) and shown[0] == 0 and shown[-1] == steps - 1
    if every == 0:
        assert min(12, steps) <= len(shown) <= 16


def test_jumps_are_among_the_steps_to_check() -> None:
    plan = schedule("multistage:peak=1e-3,at=1000/1500,to=3.16e-4/1e-4,steps=2000,warmup=40")
    assert {0, 39, 40, 999, 1000, 1499, 1500, 1999} <= set(steps_to_check(plan.lr, plan.warmup))
