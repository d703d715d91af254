"""Candidates by number: the same on every device and on the host, evenly spread."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling_laws.common.errors import UsageError
from scaling_laws.decisions.screening.candidate_space import TILE, Space, box_point, space_of
from scaling_laws.models.schedules import schedule

FRAME = {"steps": 4000, "warmup": 100, "end_min": 0.0, "families": None, "seed": 3}


def a_space(candidates: int = 100_000, peak: tuple[float, float] = (1e-3, 1e-3)) -> Space:
    return space_of(candidates=candidates, peak=peak, **FRAME)


@pytest.mark.parametrize("candidates", [50, 4_096, 1_000_003])
def test_every_candidate_has_one_stratum_and_index(candidates: int) -> None:
    space = a_space(candidates)
    assert space.candidates == candidates
    for stratum in space.strata:
        for index in {0, stratum.count // 2, stratum.count - 1}:
            found, place = space.stratum_of(stratum.first_tile * TILE + index)
            assert found is stratum and place == index
    last = space.strata[-1]
    assert last.first_tile + last.tiles == space.tiles


@settings(max_examples=30, deadline=None)
@given(index=st.integers(0, 2**32 - 1), stratum=st.integers(0, 13), peaks=st.booleans())
def test_host_and_device_compute_the_same_points(index: int, stratum: int, peaks: bool) -> None:
    chosen = a_space(peak=(1e-3, 4e-3) if peaks else (1e-3, 1e-3)).strata[stratum]
    with np.errstate(over="ignore"):
        host, unit = box_point(chosen.shape, chosen.shift, np.uint32(index), np)
    device, other = jax.jit(lambda i: box_point(chosen.shape, jnp.asarray(chosen.shift), i, jnp))(
        jnp.uint32(index)
    )
    assert len(host) == len(chosen.shape.low) and (unit is None) == (other is None)
    for a, b, low, high in zip(host, device, chosen.shape.low, chosen.shape.high, strict=True):
        assert low <= a <= high
        assert float(b) == pytest.approx(float(a), abs=2e-7 * max(abs(low), abs(high)))
    if unit is not None:
        assert float(unit) == float(other)  # 24 bits are exact in float32


def test_points_are_even() -> None:
    """Every coordinate fills 16 bins evenly; random points deviate by 8 of 64 in places."""
    for stratum in a_space().strata:
        with np.errstate(over="ignore"):
            rows, _ = box_point(stratum.shape, stratum.shift, np.arange(1024, dtype=np.uint32), np)
        for values, low, high in zip(rows, stratum.shape.low, stratum.shape.high, strict=True):
            counts = np.histogram(values, bins=16, range=(low, high))[0]
            assert np.abs(counts - 64).max() <= 12, (stratum.shape.label, counts)


def test_a_spec_is_the_candidate_to_four_digits() -> None:
    space = a_space(peak=(1e-3, 4e-3))
    for stratum in space.strata:
        for index in range(3):
            candidate_id = stratum.first_tile * TILE + index
            plan = schedule(space.spec(candidate_id))
            assert plan.steps == 4000
            # rates differ by the rounding of the spec; abrupt drops are at the same step
            np.testing.assert_allclose(plan.lr, space.rates(candidate_id), rtol=0.01, atol=4e-6)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"candidates": 3}, "too few for 14 shapes"),
        ({"candidates": 2**33}, "must be from 1"),
        ({"families": ["cosin"]}, "cosine"),
        ({"families": ["cyclic"]}, "family with a shape"),
    ],
)
def test_refused(change: dict, says: str) -> None:
    given = {"candidates": 1000, "peak": (1e-3, 1e-3), **FRAME, **change}
    with pytest.raises(UsageError, match=says):
        space_of(**given)
