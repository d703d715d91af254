"""A run as a few smooth segments, each sampled by a few cells.

A million candidate schedules cannot be written out step by step. A member of a family is smooth
except for a few breakpoints (the end of the warm-up, the start of the cooldown, drops), so that it
is determined by its segments and a function for its rates. Each segment is cut into cells that are
graded towards both ends, from about one step there to the widest in the middle:

    edge(u) = start + length·(σ(2gu) - σ(-2g))/(σ(2g) - σ(-2g)),   u from -1 to 1

with σ the logistic function and g such that the outermost cells contain about one step; a segment
with fewer steps than cells has single steps. Inside a cell the rate is sampled at the two nodes
that sum any cubic over its steps: their mean gives the sum of the rates, and the fall over the cell
is split between them in proportion to the change from the step before. Everything is traceable, in
the edges of the segments too, so that one compilation serves all members of a family.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["SampledSegments", "Segments", "cell_counts", "sample_segments", "segments_between"]

Array = Any
NODE = 1.0 / np.sqrt(3.0)  # of Gauss, on [-1, 1]
ITERATIONS = 5  # for the grading: its error falls by 2/cells a time
EVENEST = 0.05  # smallest grading: all cells alike


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Segments:
    """Where the smooth segments of a run begin and end, in order; the last one ends the run.

    Attributes:
        starts: first step of each segment: (S,).
        stops: the step after its last: (S,).
    """

    starts: Array
    stops: Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SampledSegments:
    """A run of segments, sampled at two nodes in each of K cells.

    Attributes:
        edge: first step of each cell: (K,).
        count: steps in each cell, not always whole; 0 where a segment is short: (K,).
        mean: mean rate of each cell: (K,).
        node: steps at which the rate is sampled: (2, K).
        lr: rate at the nodes: (2, K).
        fall: by how much the rate falls, as two events per cell: (2, K).
        jump_cell: first cell of each segment but the first: (J,); padded with 0.
        jump_lr: its first rate: (J,); padded with the highest rate.
        jump_fall: by how much that is below the last rate before it: (J,); padded with 0.
        last: the last rate: ().
    """

    edge: Array
    count: Array
    mean: Array
    node: Array
    lr: Array
    fall: Array
    jump_cell: Array
    jump_lr: Array
    jump_fall: Array
    last: Array


def cell_counts(segments: int, cells: int, *, warmup: bool) -> tuple[int, ...]:
    """Cells per segment: an eighth for the warm-up, most of the others for the last segment.

    Args:
        segments: number of segments of the run.
        cells: in all.
        warmup: whether the first segment is a warm-up.
    """
    head = (max(4, cells // 8),) if warmup else ()
    remaining, later = cells - sum(head), segments - len(head)
    if later == 1:
        return (*head, remaining)
    between = max(2, (remaining - remaining * 6 // 10) // (later - 1))
    return (*head, *[between] * (later - 1), remaining - between * (later - 1))


def _grades(length: Array, cells: Array) -> Array:
    """Grading of segments of some steps and cells: the outermost cell has about one step."""
    grade = jnp.full_like(length, 2.0)
    for _ in range(ITERATIONS):  # it does where 2g = log(n(e^(4g/m) - 1))
        step = length * jnp.expm1(4.0 * grade / cells)
        grade = jnp.maximum(0.5 * jnp.log(jnp.maximum(step, 1.0)), EVENEST)
    return grade


def sample_segments(
    rate: Callable[[Array], Array],
    segments: Segments,
    cells: Sequence[int],
    max_segments: int = 0,
) -> SampledSegments:
    """Sample a run cell by cell.

    Args:
        rate: steps, of any shape, as floats -> learning rates; smooth within each segment.
        segments: of the run.
        cells: number of cells of each segment.
        max_segments: make room for the jumps between so many: runs of as many cells then have
            samples of one shape.
    """
    dtype = segments.starts.dtype
    segment = np.repeat(np.arange(len(cells)), cells)

    def of_cells(row: Array) -> Array:
        """A number per segment, for each of its cells; selected, not joined: one fused loop."""
        values = jnp.broadcast_to(row[0], segment.shape)
        for number in range(1, len(cells)):
            values = jnp.where(segment == number, row[number], values)
        return values

    length = of_cells(segments.stops - segments.starts)
    start = of_cells(segments.starts)
    end = of_cells(jnp.maximum(segments.stops - 1.0, segments.starts))
    size = np.repeat(np.array(cells, float), cells)
    grade = of_cells(_grades(segments.stops - segments.starts, jnp.asarray(cells, dtype)))
    lowest = jax.nn.sigmoid(-2.0 * grade)
    within = np.concatenate([np.arange(m, dtype=float) for m in cells])

    def edge(number: Any) -> Array:
        unit = jnp.asarray(2.0 * number / size - 1.0, dtype)
        position = jax.nn.sigmoid(2.0 * grade * unit) - lowest
        graded = length / (1.0 - 2.0 * lowest) * position
        singly = jnp.minimum(jnp.asarray(number, dtype), length)
        return start + jnp.where(length <= jnp.asarray(size, dtype), singly, graded)

    low, high = edge(within), edge(within + 1.0)
    count = high - low
    middle = low + 0.5 * (count - 1.0)
    reach = 0.5 * NODE * jnp.sqrt(jnp.maximum(count * count - 1.0, 0.0))
    inside = start[None], end[None]
    node = jnp.clip(jnp.stack([middle - reach, middle + reach]), *inside)
    lr = rate(node)
    change = jnp.abs(rate(jnp.clip(node - 1.0, *inside)) - lr)
    both = change[0] + change[1]
    share = jnp.where((both > 0)[None], change / jnp.where(both > 0, both, 1.0)[None], 0.5)
    before = rate(jnp.clip(jnp.stack([low, high]) - 1.0, *inside))
    first = rate(segments.starts)
    last = rate(jnp.maximum(segments.stops - 1.0, segments.starts))
    missing = max(0, max_segments - len(cells))
    first_cell = np.array([sum(cells[:number]) for number in range(1, len(cells))], np.int32)
    return SampledSegments(
        edge=low,
        count=count,
        mean=0.5 * (lr[0] + lr[1]),
        node=node,
        lr=lr,
        fall=share * (before[0] - before[1])[None],
        jump_cell=jnp.asarray(np.append(first_cell, np.zeros(missing, np.int32))),
        jump_lr=jnp.append(first[1:], jnp.broadcast_to(jnp.max(first), (missing,))),
        jump_fall=jnp.append(last[:-1] - first[1:], jnp.zeros(missing, dtype)),
        last=last[-1],
    )


def segments_between(breakpoints: Sequence[Array], steps: Array, warmup: Array | None) -> Segments:
    """Segments from the steps between them; without a warm-up the first begins at step 0."""
    inner = [] if warmup is None else [warmup]
    edges = [jnp.zeros_like(steps), *inner, *breakpoints, steps]
    pairs = list(itertools.pairwise(edges))
    return Segments(jnp.stack([a for a, _ in pairs]), jnp.stack([b for _, b in pairs]))
