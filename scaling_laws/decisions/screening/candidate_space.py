"""The search space of a screen: every searchable shape, and the numbered points of its box.

A candidate is identified by a number. Point i of a d-dimensional box is a term of the additive
recurrence with the powers of the generalised golden ratio φ_d (φ^(d+1) = φ + 1), a low-discrepancy
sequence (Roberts 2018, "The unreasonable effectiveness of quasirandom sequences"), shifted randomly
by the seed (Cranley and Patterson 1976). It is computed in 32-bit integers and truncated to 24
bits, so every device, and the host in float64, computes the same point.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import UsageError, unknown_name
from scaling_laws.models import (
    FAMILIES,
    Family,
    SampledSegments,
    SearchBox,
    SearchFrame,
    all_values,
    cell_counts,
    format_spec,
    member_values,
    sample_segments,
    segments_between,
)

__all__ = [
    "TILE",
    "Space",
    "SpaceValues",
    "Stratum",
    "box_point",
    "sample_candidate",
    "space_of",
]

Array = Any
TILE = 1024  # candidates evaluated together, all of one stratum
MAX_CANDIDATES = 2**32 - 2**22  # their numbers, padding included, are 32-bit
MAX_SEGMENTS = 5  # of a run: warm-up, and up to three breakpoints after it
BITS = 24  # of a coordinate: exact in float32


@dataclass(frozen=True, eq=False)
class Stratum:
    """One shape of a family and its share of the candidates.

    Attributes:
        family: of schedules.
        shape: the box that is sampled.
        count: number of candidates.
        first_tile: index of its first tile.
        shift: random shift of its coordinates, in units of 2^-32: (dimensions,).
    """

    family: Family
    shape: SearchBox
    count: int
    first_tile: int
    shift: NDArray[np.uint32]

    @property
    def tiles(self) -> int:
        """Number of tiles; the last may be partly empty."""
        return -(-self.count // TILE)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SpaceValues:
    """The traced values of a space; everything else is static in compiled code.

    Attributes:
        steps: of every schedule: ().
        warmup: steps: ().
        end_min: lowest rate after the warm-up: ().
        peak: lowest peak: ().
        peak_ratio: highest peak over lowest: ().
        shifts: of the coordinates, uint32: (dimensions,) per stratum.
    """

    steps: Array
    warmup: Array
    end_min: Array
    peak: Array
    peak_ratio: Array
    shifts: tuple[Array, ...]


@dataclass(frozen=True, eq=False)
class Space:
    """All candidates.

    Attributes:
        strata: the shapes.
        steps: of every schedule, warm-up included.
        warmup: steps.
        end_min: lowest rate after the warm-up.
        peak: lowest and highest peak; equal if one peak is given.
    """

    strata: tuple[Stratum, ...]
    steps: int
    warmup: int
    end_min: float
    peak: tuple[float, float]

    @property
    def candidates(self) -> int:
        """Number of candidates."""
        return sum(stratum.count for stratum in self.strata)

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return sum(stratum.tiles for stratum in self.strata)

    @property
    def searches_peak(self) -> bool:
        """Whether the last coordinate of every box is the peak."""
        return self.peak[1] > self.peak[0]

    def locate(
        self, candidate_ids: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Strata of candidates, whose id is tile times `TILE` plus row, and indices in them."""
        first = np.array([stratum.first_tile for stratum in self.strata]) * TILE
        strata = np.searchsorted(first, candidate_ids, side="right") - 1
        return strata, candidate_ids - first[strata]

    def stratum_of(self, candidate_id: int) -> tuple[Stratum, int]:
        """The stratum of a candidate, and its index in it."""
        (stratum,), (index,) = self.locate(np.array([candidate_id]))
        return self.strata[stratum], int(index)

    def _on_host(self, candidate_id: int) -> tuple[Stratum, list[float], SearchFrame]:
        stratum, index = self.stratum_of(candidate_id)
        with np.errstate(over="ignore"):  # integer overflow is intended
            point, unit = box_point(stratum.shape, stratum.shift, np.uint32(index), np)
        low, high = self.peak
        peak = low if unit is None else low * (high / low) ** float(unit)
        frame = SearchFrame(peak, self.steps, self.warmup, self.end_min)
        return stratum, [float(coordinate) for coordinate in point], frame

    def spec(self, candidate_id: int) -> str:
        """The spec of a candidate, with values rounded to four digits."""
        stratum, point, frame = self._on_host(candidate_id)
        if self.searches_peak:
            frame = replace(frame, peak=float(f"{frame.peak:.4g}"))
        return format_spec(
            stratum.family, member_values(stratum.family, stratum.shape, frame, point)
        )

    def rates(self, candidate_id: int) -> NDArray[np.float64]:
        """Learning rate per step of a candidate, without the rounding of its spec: (steps,)."""
        stratum, point, frame = self._on_host(candidate_id)
        return stratum.family.build(all_values(stratum.family, stratum.shape, frame, point, np))

    def values(self, dtype: Any) -> SpaceValues:
        """The traced values, for the devices."""
        low, high = self.peak
        return SpaceValues(
            steps=dtype(self.steps),
            warmup=dtype(self.warmup),
            end_min=dtype(self.end_min),
            peak=dtype(low),
            peak_ratio=dtype(high / low),
            shifts=tuple(stratum.shift for stratum in self.strata),
        )


def box_point(shape: SearchBox, shift: Any, index: Any, xp: Any) -> tuple[list[Any], Any]:
    """The point of a candidate in the box of its shape.

    Args:
        shape: the box.
        shift: of the coordinates, uint32: (dimensions,), including the peak if it is searched.
        index: of the candidate, uint32: ().
        xp: numpy or jax.numpy.

    Returns:
        Its coordinates, and the position of its peak between the lowest and the highest, from 0 to
        1, or None.
    """
    dimensions = len(shift)
    dtype = xp.zeros(()).dtype
    units = []
    for i, increment in enumerate(_increments(dimensions)):
        bits = index * xp.uint32(increment) + shift[i]
        units.append((bits >> xp.uint32(32 - BITS)).astype(dtype) * 2.0**-BITS)
    peak = units.pop() if dimensions > len(shape.low) else None
    return [a + (b - a) * u for a, b, u in zip(shape.low, shape.high, units, strict=True)], peak


def sample_candidate(
    family: Family,
    shape: SearchBox,
    values: SpaceValues,
    shift: Any,
    index: Any,
    cells: int,
    warm: bool,
) -> SampledSegments:
    """A candidate sampled on cells; traceable, with the same array shapes for all families.

    Args:
        family: of its shape.
        shape: the box that is sampled.
        values: of the space.
        shift: of the stratum's coordinates.
        index: of the candidate in its stratum, uint32: ().
        cells: total number.
        warm: whether there is a warm-up.
    """
    point, unit = box_point(shape, shift, index, jnp)
    peak = values.peak if unit is None else values.peak * values.peak_ratio**unit
    steps, warmup = values.steps, values.warmup
    frame = SearchFrame(peak, steps, warmup, values.end_min)
    family_values = all_values(family, shape, frame, point, jnp)
    assert family.lr_after_warmup is not None, (
        f"{family.name} has shapes, so it needs `lr_after_warmup`"
    )
    lr_after_warmup = family.lr_after_warmup

    def rate(step: Array) -> Array:
        after = lr_after_warmup(family_values, jnp.maximum(step, warmup), jnp)
        if not warm:
            return after
        # as `warm_up`: linear from 0, reaching the peak at the last warm-up step
        return jnp.where(step < warmup, peak * step / jnp.maximum(warmup - 1.0, 1.0), after)

    breakpoints = family.breakpoints(family_values)
    counts = cell_counts(len(breakpoints) + 1 + warm, cells, warmup=warm)
    segments = segments_between(breakpoints, steps, warmup if warm else None)
    return sample_segments(rate, segments, counts, MAX_SEGMENTS)


def space_of(
    *,
    candidates: int,
    steps: int,
    warmup: int,
    end_min: float,
    peak: tuple[float, float],
    families: Sequence[str] | None,
    seed: int,
) -> Space:
    """Distribute candidates over the shapes of families, in proportion to their dimensions.

    Raises:
        UsageError: if a family is unknown or has no shape to search, or there are too few or too
            many candidates.
    """
    if not 1 <= candidates <= MAX_CANDIDATES:
        raise UsageError(f"candidates={candidates:,} must be from 1 to {MAX_CANDIDATES:,}")
    known = {family.name: family for family in FAMILIES.values() if family.shapes}
    for name in families or ():
        if name not in known:
            raise UsageError(unknown_name("family with a shape to search", name, known), value=name)
    chosen = [known[name] for name in dict.fromkeys(families)] if families else known.values()
    shapes = [(family, shape) for family in chosen for shape in family.shapes]
    searched = int(peak[1] > peak[0])
    weight = np.array([len(shape.low) + searched for _, shape in shapes])
    share = np.maximum(1, candidates * weight // max(int(weight.sum()), 1))
    share[weight == 0] = 1  # a shape without dimensions is one schedule
    share[int(np.argmax(weight))] += candidates - int(share.sum())
    if share.min() < 1:
        raise UsageError(
            f"candidates={candidates} are too few for {len(shapes)} shapes; give more, or fewer "
            "families"
        )
    generator = np.random.default_rng(seed)
    strata, tile = [], 0
    for (family, shape), count in zip(shapes, share.tolist(), strict=True):
        size = len(shape.low) + searched
        shift = generator.integers(0, 2**32, size=size, dtype=np.uint64).astype(np.uint32)
        strata.append(Stratum(family, shape, count, tile, shift))
        tile += strata[-1].tiles
    return Space(tuple(strata), steps, warmup, end_min, peak)


@cache
def _increments(size: int) -> tuple[int, ...]:
    """Powers of 1/φ_d in 32 bits, made odd so that a coordinate takes every value once."""
    ratio = 2.0
    for _ in range(60):
        ratio = (1.0 + ratio) ** (1.0 / (size + 1.0))
    powers = ratio ** -np.arange(1.0, size + 1.0)
    return tuple(int(power * 2.0**32) | 1 for power in powers)
