"""What is screened: every searchable shape, and the numbered points of its box.

A candidate is a number. Point i of a box of d free numbers is a term of the additive recurrence
with the powers of the generalised golden ratio φ_d (φ^(d+1) = φ + 1), which covers a box more
evenly than random points do (Roberts 2018, "The unreasonable effectiveness of quasirandom
sequences"), shifted by the seed (Cranley and Patterson 1976). It is worked out in 32-bit integers
and cut to 24 bits, so that every device, and the host in float64, get the same point.
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
    "MOST",
    "TILE",
    "Numbers",
    "Space",
    "Stratum",
    "candidate_walk",
    "free_numbers",
    "space_of",
]

Array = Any
TILE = 1024  # candidates that are evaluated together, all of one stratum
MOST = 2**32 - 2**22  # candidates: their numbers are 32-bit, whole tiles included
MOST_PIECES = 5  # of a run: warm-up, and three breakpoints after it
BITS = 24  # of a coordinate: exact in float32


@dataclass(frozen=True, eq=False)
class Stratum:
    """One shape of a family and its share of the candidates.

    Attributes:
        family: of schedules.
        shape: whose box is filled.
        count: candidates.
        first_tile: number of its first tile.
        shift: of its coordinates, by the seed, of 2^32: (dimensions,).
    """

    family: Family
    shape: SearchBox
    count: int
    first_tile: int
    shift: NDArray[np.uint32]

    @property
    def tiles(self) -> int:
        """Tiles that hold its candidates; the last may be part empty."""
        return -(-self.count // TILE)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Numbers:
    """The numbers of a space, apart from what code is compiled for.

    Attributes:
        steps: of every schedule: ().
        warmup: steps: ().
        end_min: lowest rate after the warm-up: ().
        peak: the lowest: ().
        peak_ratio: highest peak over lowest: ().
        shifts: of each stratum's coordinates, uint32: (dimensions,) each.
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
        peak: lowest and highest peak; the same twice where it is given.
    """

    strata: tuple[Stratum, ...]
    steps: int
    warmup: int
    end_min: float
    peak: tuple[float, float]

    @property
    def candidates(self) -> int:
        """How many there are."""
        return sum(stratum.count for stratum in self.strata)

    @property
    def tiles(self) -> int:
        """How many tiles hold them."""
        return sum(stratum.tiles for stratum in self.strata)

    @property
    def searches_peak(self) -> bool:
        """Whether the last coordinate of every box is the peak."""
        return self.peak[1] > self.peak[0]

    def locate(
        self, candidate_ids: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Strata of candidates (numbered tile times `TILE` plus row), and indices in them."""
        first = np.array([stratum.first_tile for stratum in self.strata]) * TILE
        strata = np.searchsorted(first, candidate_ids, side="right") - 1
        return strata, candidate_ids - first[strata]

    def stratum_of(self, candidate_id: int) -> tuple[Stratum, int]:
        """The stratum of one candidate_id, and the candidate's index in it."""
        (stratum,), (index,) = self.locate(np.array([candidate_id]))
        return self.strata[stratum], int(index)

    def _on_host(self, candidate_id: int) -> tuple[Stratum, list[float], SearchFrame]:
        stratum, index = self.stratum_of(candidate_id)
        with np.errstate(over="ignore"):  # the numbers are meant to wrap
            free, unit = free_numbers(stratum.shape, stratum.shift, np.uint32(index), np)
        low, high = self.peak
        peak = low if unit is None else low * (high / low) ** float(unit)
        frame = SearchFrame(peak, self.steps, self.warmup, self.end_min)
        return stratum, [float(each) for each in free], frame

    def spec(self, candidate_id: int) -> str:
        """The spec of a candidate, its numbers rounded to four digits."""
        stratum, free, frame = self._on_host(candidate_id)
        if self.searches_peak:
            frame = replace(frame, peak=float(f"{frame.peak:.4g}"))
        return format_spec(
            stratum.family, member_values(stratum.family, stratum.shape, frame, free)
        )

    def rates(self, candidate_id: int) -> NDArray[np.float64]:
        """Every step of a candidate as it is screened, without the rounding of a spec."""
        stratum, free, frame = self._on_host(candidate_id)
        return stratum.family.build(all_values(stratum.family, stratum.shape, frame, free, np))

    def numbers(self, dtype: Any) -> Numbers:
        """What devices are told of it."""
        low, high = self.peak
        return Numbers(
            steps=dtype(self.steps),
            warmup=dtype(self.warmup),
            end_min=dtype(self.end_min),
            peak=dtype(low),
            peak_ratio=dtype(high / low),
            shifts=tuple(stratum.shift for stratum in self.strata),
        )


def free_numbers(shape: SearchBox, shift: Any, index: Any, xp: Any) -> tuple[list[Any], Any]:
    """Free numbers of a candidate, and its place between the lowest and the highest peak or None.

    Args:
        shape: whose box is filled.
        shift: of its coordinates, uint32: (free numbers,), one more where the peak is searched.
        index: of the candidate, uint32: ().
        xp: numpy or jax.numpy.
    """
    dimensions = len(shift)
    kind = xp.zeros(()).dtype
    units = []
    for place, step in enumerate(_steps_of(dimensions)):
        bits = index * xp.uint32(step) + shift[place]
        units.append((bits >> xp.uint32(32 - BITS)).astype(kind) * 2.0**-BITS)
    peak = units.pop() if dimensions > len(shape.low) else None
    return [a + (b - a) * u for a, b, u in zip(shape.low, shape.high, units, strict=True)], peak


def candidate_walk(
    family: Family,
    shape: SearchBox,
    numbers: Numbers,
    shift: Any,
    index: Any,
    cells: int,
    warm: bool,
) -> SampledSegments:
    """A candidate as cells; traceable, and of one form for all shapes.

    Args:
        family: of its shape.
        shape: whose box is filled.
        numbers: of the space.
        shift: of the stratum's coordinates.
        index: of the candidate in its stratum, uint32: ().
        cells: in all.
        warm: whether there is a warm-up.
    """
    free, unit = free_numbers(shape, shift, index, jnp)
    peak = numbers.peak if unit is None else numbers.peak * numbers.peak_ratio**unit
    steps, warmup = numbers.steps, numbers.warmup
    frame = SearchFrame(peak, steps, warmup, numbers.end_min)
    values = all_values(family, shape, frame, free, jnp)
    assert family.lr_after_warmup is not None, (
        f"{family.name} has shapes, so it needs `lr_after_warmup`"
    )
    after = family.lr_after_warmup

    def rate(step: Array) -> Array:
        later = after(values, jnp.maximum(step, warmup), jnp)
        if not warm:
            return later
        # as `warm_up`: from 0 to the peak, which its last step has
        return jnp.where(step < warmup, peak * step / jnp.maximum(warmup - 1.0, 1.0), later)

    breakpoints = family.breakpoints(values)
    counts = cell_counts(len(breakpoints) + 1 + warm, cells, warmup=warm)
    pieces = segments_between(breakpoints, steps, warmup if warm else None)
    return sample_segments(rate, pieces, counts, MOST_PIECES)


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
    """Candidates shared out over the shapes of families, in proportion to their free numbers.

    Raises:
        UsageError: if a family is unknown or has no shape to search, or the numbers do not fit.
    """
    if not 1 <= candidates <= MOST:
        raise UsageError(f"candidates={candidates:,} must be from 1 to {MOST:,}")
    known = {family.name: family for family in FAMILIES.values() if family.shapes}
    for name in families or ():
        if name not in known:
            raise UsageError(unknown_name("family with a shape to search", name, known), value=name)
    chosen = [known[name] for name in dict.fromkeys(families)] if families else known.values()
    shapes = [(family, shape) for family in chosen for shape in family.shapes]
    searched = int(peak[1] > peak[0])
    weight = np.array([len(shape.low) + searched for _, shape in shapes])
    share = np.maximum(1, candidates * weight // max(int(weight.sum()), 1))
    share[weight == 0] = 1  # nothing to vary: one schedule
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
def _steps_of(size: int) -> tuple[int, ...]:
    """Powers of 1/φ_d in 32 bits, made odd so that a coordinate passes every value once."""
    ratio = 2.0
    for _ in range(60):
        ratio = (1.0 + ratio) ** (1.0 / (size + 1.0))
    powers = ratio ** -np.arange(1.0, size + 1.0)
    return tuple(int(power * 2.0**32) | 1 for power in powers)
