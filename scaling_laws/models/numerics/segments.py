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

from scaling_laws.models.numerics.gauss_cells import Pairs
from scaling_laws.models.numerics.history import Events, History
from scaling_laws.models.numerics.scans import sums_of_many

__all__ = ["Pieces", "Walk", "cell_counts", "last_of_pieces", "pairs_of", "pieces_of", "walk"]

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
        jump_cell: first cell of each piece but the first: (J,); padded with 0.
        jump_rate: its first rate: (J,); padded with the highest rate.
        jump_fall: by how much that is below the last rate before it: (J,); padded with 0.
        last: the last rate: ().
    """

    edge: Array
    count: Array
    mean: Array
    node: Array
    rate: Array
    fall: Array
    jump_cell: Array
    jump_rate: Array
    jump_fall: Array
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


def walk(
    rate: Callable[[Array], Array], pieces: Pieces, cells: Sequence[int], most_pieces: int = 0
) -> Walk:
    """Look at a run cell by cell.

    Args:
        rate: steps, of any shape, as floats -> learning rates; smooth within each piece.
        pieces: of the run.
        cells: how many each piece gets.
        most_pieces: make room for the jumps between so many: runs of as many cells then have walks
            of one shape.
    """
    kind = pieces.starts.dtype
    piece = np.repeat(np.arange(len(cells)), cells)

    def of_cells(row: Array) -> Array:
        """A number a piece, for each of its cells; selected, not joined: then all is one loop."""
        found = jnp.broadcast_to(row[0], piece.shape)
        for number in range(1, len(cells)):
            found = jnp.where(piece == number, row[number], found)
        return found

    length = of_cells(pieces.stops - pieces.starts)
    start = of_cells(pieces.starts)
    end = of_cells(jnp.maximum(pieces.stops - 1.0, pieces.starts))
    size = np.repeat(np.array(cells, float), cells)
    grade = of_cells(_grades(pieces.stops - pieces.starts, jnp.asarray(cells, kind)))
    lowest = jax.nn.sigmoid(-2.0 * grade)
    within = np.concatenate([np.arange(m, dtype=float) for m in cells])

    def edge(number: Any) -> Array:
        unit = jnp.asarray(2.0 * number / size - 1.0, kind)
        place = jax.nn.sigmoid(2.0 * grade * unit) - lowest
        graded = length / (1.0 - 2.0 * lowest) * place
        singly = jnp.minimum(jnp.asarray(number, kind), length)
        return start + jnp.where(length <= jnp.asarray(size, kind), singly, graded)

    low, high = edge(within), edge(within + 1.0)
    count = high - low
    middle = low + 0.5 * (count - 1.0)
    reach = 0.5 * NODE * jnp.sqrt(jnp.maximum(count * count - 1.0, 0.0))
    inside = start[None], end[None]
    node = jnp.clip(jnp.stack([middle - reach, middle + reach]), *inside)
    found = rate(node)
    change = jnp.abs(rate(jnp.clip(node - 1.0, *inside)) - found)
    both = change[0] + change[1]
    share = jnp.where((both > 0)[None], change / jnp.where(both > 0, both, 1.0)[None], 0.5)
    before = rate(jnp.clip(jnp.stack([low, high]) - 1.0, *inside))
    first = rate(pieces.starts)
    last = rate(jnp.maximum(pieces.stops - 1.0, pieces.starts))
    missing = max(0, most_pieces - len(cells))
    cell = np.array([sum(cells[:place]) for place in range(1, len(cells))], np.int32)
    return Walk(
        edge=low,
        count=count,
        mean=0.5 * (found[0] + found[1]),
        node=node,
        rate=found,
        fall=share * (before[0] - before[1])[None],
        jump_cell=jnp.asarray(np.append(cell, np.zeros(missing, np.int32))),
        jump_rate=jnp.append(first[1:], jnp.broadcast_to(jnp.max(first), (missing,))),
        jump_fall=jnp.append(last[:-1] - first[1:], jnp.zeros(missing, kind)),
        last=last[-1],
    )


def last_of_pieces(run: Walk, facts: dict[str, Array], *, noise: bool = True) -> History:
    """The last step of a run of pieces: one point, two changes a cell; traceable.

    Args:
        run: cell by cell.
        facts: numbers known of the run.
        noise: also build the noise events.
    """
    sums = run.count * run.mean
    total = sums_of_many(sums)
    begin = total - sums
    # a late cell may sum to less than the resolution of what lies before it
    left = sums_of_many(sums, reverse=True)
    later = jnp.append(left[1:], jnp.zeros_like(left[:1]))
    apart = run.node[1] - run.node[0]
    bend = jnp.where(apart > 0, (run.rate[1] - run.rate[0]) / jnp.where(apart > 0, apart, 1.0), 0.0)
    count = run.count[None]
    since = run.node - run.edge[None]
    # the rates of the steps before the node, which lie on a straight line within the cell
    before = begin[None] + run.mean[None] * since + 0.5 * bend[None] * since * (since - count)
    after = later[None] + (count - since) * (run.mean[None] + 0.5 * bend[None] * since) - run.rate

    def row(inside: Array, jumps: Array) -> Array:
        return jnp.concatenate([inside.reshape(-1), jumps])[None]

    def every(inside: Array) -> Array:
        return inside.reshape(1, -1)

    changes = Events(
        step=row(run.node, run.edge[run.jump_cell]),
        clock=row(before + run.rate, begin[run.jump_cell] + run.jump_rate),
        lr=row(run.rate, run.jump_rate),
        weight=row(run.fall, run.jump_fall),
        shortest=total[-1],
        ahead=row(after, left[run.jump_cell] - run.jump_rate),
    )
    noises = Events(
        step=every(run.node),
        clock=every(before + run.rate),
        lr=every(run.rate),
        weight=every(0.5 * count * run.rate * run.rate),
        shortest=total[-1],
        ahead=every(after),
    )
    return History(
        step=(run.edge[-1:] + run.count[-1:] - 1.0)[None],
        clock=total[None, -1:],
        lr=run.last[None, None],
        peak_lr=jnp.max(run.rate),
        changes=changes,
        noise=noises if noise else None,
        facts=facts,
    )


def pairs_of(run: Walk, decay: Array) -> Pairs:
    """The same cells for laws with a clock of their own; traceable.

    Args:
        run: cell by cell.
        decay: rate times weight decay at the nodes: (2, K).
    """
    return Pairs(
        lr=run.rate,
        decay=decay,
        count=run.count,
        since=run.node - run.edge[None],
        apart=run.node[1] - run.node[0],
    )


def pieces_of(kinks: Sequence[Array], steps: Array, warmup: Array | None) -> Pieces:
    """Pieces from the steps between them; without a warm-up the first begins at step 0."""
    inner = [] if warmup is None else [warmup]
    places = [jnp.zeros_like(steps), *inner, *kinks, steps]
    pairs = list(itertools.pairwise(places))
    return Pieces(jnp.stack([a for a, _ in pairs]), jnp.stack([b for _, b in pairs]))
