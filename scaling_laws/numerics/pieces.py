"""A run as a few smooth pieces, each seen through a few cells: its final loss without its steps.

A million candidate schedules cannot be written out step by step. A family's member is smooth but
for a few kinks (the end of the warm-up, the start of the cooldown, drops), so that it is known by
its pieces and a function for its rates. Each piece is cut into cells that are graded towards both
ends, from about one step there to the widest in the middle:

    edge(u) = start + length·(σ(2gu) - σ(-2g))/(σ(2g) - σ(-2g)),   u from -1 to 1

with σ the logistic function and g such that the outermost cells hold about a step; a piece with
fewer steps than cells has them one by one. Inside a cell the rate is looked at in the two nodes
that sum any cubic over its steps: their mean gives the sum of the rates, and the fall over the cell
is shared between them in proportion to the change from the step before. With cells of one step
every sum is that of `history.last_step`. The fall from one piece to the next is an event of its
own. Everything is traceable, in the edges of the pieces too, so that one compilation serves all
members of a family.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scaling_laws.numerics.cells import Cells
from scaling_laws.numerics.history import Events, History

__all__ = ["Pieces", "Walk", "as_cells", "cell_counts", "last_of_pieces", "pieces_of", "walk"]

Array = Any
NODE = 1.0 / np.sqrt(3.0)  # of Gauss, on [-1, 1]
ITERATIONS = 5  # for the grading: its error falls by 2/cells a time
EVENEST = 0.05  # smallest grading: all cells alike


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Pieces:
    """Where the smooth pieces of a run begin and end, in order; the last one ends the run.

    Attributes:
        starts: first step of each piece: (P,).
        stops: the step after its last: (P,).
    """

    starts: Array
    stops: Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Walk:
    """A run of pieces, cell by cell.

    Attributes:
        edge: first step of each cell: (K,).
        count: steps in each cell, not always whole; 0 where a piece is short: (K,).
        mean: mean rate of each cell: (K,).
        node: where the rate was looked at: (2, K).
        rate: what it was there: (2, K).
        fall: by how much the rate falls, as two events a cell: (2, K).
        first: first rate of each piece: (P,).
        last: last rate of each piece: (P,).
    """

    edge: Array
    count: Array
    mean: Array
    node: Array
    rate: Array
    fall: Array
    first: Array
    last: Array


def cell_counts(pieces: int, cells: int, *, warmup: bool) -> tuple[int, ...]:
    """How many cells each piece gets: an eighth to the warm-up, of the rest most to the last.

    Args:
        pieces: of the run.
        cells: in all.
        warmup: whether the first piece is a warm-up.
    """
    head = (max(4, cells // 8),) if warmup else ()
    rest, after = cells - sum(head), pieces - len(head)
    if after == 1:
        return (*head, rest)
    between = max(2, (rest - rest * 6 // 10) // (after - 1))
    return (*head, *[between] * (after - 1), rest - between * (after - 1))


def _grades(length: Array, cells: Array) -> Array:
    """Of pieces of some steps and cells: the outermost cell holds about a step."""
    grade = jnp.full_like(length, 2.0)
    for _ in range(ITERATIONS):  # it does where 2g = log(n(e^(4g/m) - 1))
        step = length * jnp.expm1(4.0 * grade / cells)
        grade = jnp.maximum(0.5 * jnp.log(jnp.maximum(step, 1.0)), EVENEST)
    return grade


def walk(rate: Callable[[Array], Array], pieces: Pieces, cells: Sequence[int]) -> Walk:
    """Look at a run cell by cell.

    Args:
        rate: steps, of any shape, as floats -> learning rates; smooth within each piece.
        pieces: of the run.
        cells: how many each piece gets.
    """
    kind = pieces.starts.dtype

    def along(row: Array, further: int) -> Array:
        """A number a piece, repeated for its cells, or its edges: one more."""
        parts = [jnp.broadcast_to(row[p], (m + further,)) for p, m in enumerate(cells)]
        return jnp.concatenate(parts)

    def cut(row: Array, first: int, last: int) -> Array:
        """Of a row of the edges of all pieces those that begin cells, or that end them."""
        parts, place = [], 0
        for m in cells:
            parts.append(row[place + first : place + m + 1 - last])
            place += m + 1
        return jnp.concatenate(parts)

    length = pieces.stops - pieces.starts
    grade = _grades(length, jnp.asarray(cells, kind))
    unit = np.concatenate([np.linspace(-1.0, 1.0, m + 1) for m in cells])
    lowest = jax.nn.sigmoid(-2.0 * grade)
    place = jax.nn.sigmoid(2.0 * along(grade, 1) * jnp.asarray(unit, kind)) - along(lowest, 1)
    start, end = pieces.starts, jnp.maximum(pieces.stops - 1.0, pieces.starts)
    graded = along(length / (1.0 - 2.0 * lowest), 1) * place
    singly = jnp.minimum(
        jnp.asarray(np.concatenate([np.arange(m + 1.0) for m in cells]), kind), along(length, 1)
    )
    short = along(length <= jnp.asarray(cells, kind), 1)
    edge = along(start, 1) + jnp.where(short, singly, graded)
    ends = rate(jnp.clip(edge - 1.0, along(start, 1), along(end, 1)))
    low, high = cut(edge, 0, 1), cut(edge, 1, 0)
    count = high - low
    middle = low + 0.5 * (count - 1.0)
    reach = 0.5 * NODE * jnp.sqrt(jnp.maximum(count * count - 1.0, 0.0))
    inside = along(start, 0)[None], along(end, 0)[None]
    node = jnp.clip(jnp.stack([middle - reach, middle + reach]), *inside)
    found = rate(node)
    change = jnp.abs(rate(jnp.clip(node - 1.0, *inside)) - found)
    both = change[0] + change[1]
    share = jnp.where((both > 0)[None], change / jnp.where(both > 0, both, 1.0)[None], 0.5)
    last = np.cumsum(np.array(cells) + 1) - 1  # place of each piece's last edge
    return Walk(
        edge=low,
        count=count,
        mean=0.5 * (found[0] + found[1]),
        node=node,
        rate=found,
        fall=share * (cut(ends, 0, 1) - cut(ends, 1, 0))[None],
        first=ends[last - np.array(cells)],
        last=ends[last],
    )


def last_of_pieces(
    run: Walk, cells: Sequence[int], facts: dict[str, Array], most_pieces: int = 0
) -> History:
    """The last step of a run of pieces: one point, two changes a cell; traceable.

    Args:
        run: cell by cell.
        cells: how many each piece has.
        facts: numbers known of the run.
        most_pieces: as many events as a run of so many pieces has, empty ones at the end: runs of
            as many cells then have histories of one shape.
    """
    total = jnp.cumsum(run.count * run.mean)
    begin = total - run.count * run.mean
    apart = run.node[1] - run.node[0]
    bend = jnp.where(apart > 0, (run.rate[1] - run.rate[0]) / jnp.where(apart > 0, apart, 1.0), 0.0)
    count = run.count[None]
    since = run.node - run.edge[None]
    # the rates of the steps before the node, which lie on a straight line within the cell
    before = begin[None] + run.mean[None] * since + 0.5 * bend[None] * since * (since - count)
    jump = [sum(cells[:place]) for place in range(1, len(cells))]
    first = run.first[1:]

    empty = jnp.zeros(max(0, most_pieces - len(cells)), first.dtype)

    def row(inside: Array, *between: Array, fill: Array = empty) -> Array:
        return jnp.concatenate([inside.reshape(-1), *between, fill])[None]

    here = np.array(jump, dtype=np.int64)
    return History(
        step=(run.edge[-1:] + run.count[-1:] - 1.0)[None],
        clock=total[None, -1:],
        lr=run.last[None, -1:],
        peak_lr=jnp.max(run.rate),
        changes=Events(
            step=row(run.node, run.edge[here]),
            clock=row(before + run.rate, begin[here] + first),
            lr=row(run.rate, first, fill=empty + jnp.max(run.rate)),
            weight=row(run.fall, run.last[:-1] - first),
            shortest=total[-1],
        ),
        noise=Events(
            step=run.node.reshape(1, -1),
            clock=(before + run.rate).reshape(1, -1),
            lr=run.rate.reshape(1, -1),
            weight=(0.5 * count * run.rate * run.rate).reshape(1, -1),
            shortest=total[-1],
        ),
        facts=facts,
    )


def as_cells(run: Walk) -> Cells:
    """The same cells with one node each, for laws with a clock of their own; traceable."""
    edges = jnp.append(run.edge, run.edge[-1] + run.count[-1])
    return Cells(edges, run.count, run.edge + 0.5 * (run.count - 1.0))


def pieces_of(kinks: Sequence[Array], steps: Array, warmup: Array | None) -> Pieces:
    """Pieces from the steps between them; without a warm-up the first begins at step 0."""
    inner = [] if warmup is None else [warmup]
    places = [jnp.zeros_like(steps), *inner, *kinks, steps]
    pairs = list(itertools.pairwise(places))
    return Pieces(jnp.stack([a for a, _ in pairs]), jnp.stack([b for _, b in pairs]))
