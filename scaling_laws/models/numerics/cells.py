"""A run as some hundred cells of steps, for the loss after its last step only.

A schedule search asks for one number, many times. Steps far from the end of a run are felt through
the sum of their learning rates, so they are gathered to cells that a law sees through their mean:
cells are single steps near both ends and grow in proportion to the distance from the nearer one.
What lies inside a cell counts at its centre, which leaves an error of second order in its width;
with cells of one step every sum is that of `history.last_step`, exactly.

Cell k holds n_k steps of mean rate m_k, its node is the middle one, p_k. The change between two
nodes counts halfway between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from scaling_laws.models.numerics.history import Events, History, bucket
from scaling_laws.models.numerics.quadratic_cells import Stretches

__all__ = ["Cells", "cells_of", "last_of_cells", "means", "stretches_of_cells"]

Array = Any
Index = NDArray[np.int64]
GROWTH = 1.0 / 64.0  # width of a cell over its distance from the nearer end of the run


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Cells:
    """How steps are gathered.

    Attributes:
        edges: first step of each cell, and the number of steps: (K + 1,).
        count: steps in each cell: (K,).
        node: middle of each cell, as a step: (K,).
    """

    edges: Array
    count: Array
    node: Array


def cells_of(steps: int, cuts: tuple[int, ...] = (), *, growth: float = GROWTH) -> Cells:
    """Cells for a run of some steps.

    Args:
        steps: of the run.
        cuts: steps at which a cell must begin, such as the end of the warm-up.
        growth: width of a cell over its distance from the nearer end; 0 for single steps.
    """
    edges, place = [0], 0
    half = steps - steps // 2
    while place < half:
        place += max(1, int(growth * place))
        edges.append(place)
    near = np.array([edge for edge in edges if edge <= half])
    both = np.concatenate([near, steps - near, [step for step in cuts if 0 < step < steps]])
    found = _split(np.unique(both).astype(np.int64))
    count = np.diff(found).astype(np.float64)
    return Cells(found, count, found[:-1] + 0.5 * (count - 1.0))


def _split(edges: Index) -> Index:
    """The widest cells halved until there are as many as a bucket holds: few compilations."""
    missing = min(bucket(len(edges) - 1), int(edges[-1])) - (len(edges) - 1)
    while missing > 0:
        width = np.diff(edges)
        widest = np.argsort(-width, kind="stable")[:missing]
        widest = widest[width[widest] > 1]
        edges = np.sort(np.append(edges, edges[widest] + width[widest] // 2))
        missing -= len(widest)
    return edges


def means(lr: NDArray[np.float64], cells: Cells) -> NDArray[np.float64]:
    """Mean rate of each cell: (..., steps) -> (..., K)."""
    sums = np.add.reduceat(lr, cells.edges[:-1], axis=-1)
    return np.asarray(sums / np.diff(cells.edges))


def last_of_cells(lr: Array, cells: Cells, facts: dict[str, Array] | None = None) -> History:
    """The last step of a run of cells: one point, a change between all nodes; traceable.

    Args:
        lr: mean rate of each cell: (K,).
        cells: how the steps were gathered.
        facts: numbers known of the run.
    """
    count, node = cells.count, cells.node
    total = jnp.cumsum(count * lr)
    before = total - count * lr + 0.5 * (count - 1.0) * lr  # clock before the update of the node
    apart = jnp.maximum(node[1:] - node[:-1], 1e-6)  # empty cells share a place
    share = 0.5 * (apart + 1.0) / apart  # of the way to the next node, where a change counts
    level = lr[:-1] + share * (lr[1:] - lr[:-1])
    first = jnp.zeros_like(lr[:1])
    changes = Events(
        step=jnp.concatenate([first, node[:-1] + share * apart])[None],
        clock=jnp.concatenate(
            [lr[:1], 0.5 * (before[:-1] + lr[:-1] + before[1:]) + level],
        )[None],
        lr=jnp.concatenate([lr[:1], level])[None],
        weight=jnp.concatenate([first, lr[:-1] - lr[1:]])[None],
        shortest=total[-1],
    )
    noise = Events(
        step=node[None],
        clock=(before + lr)[None],
        lr=lr[None],
        weight=(count * lr * lr)[None],
        shortest=total[-1],
    )
    return History(
        step=(node + 0.5 * (count - 1.0))[None, -1:],
        clock=total[None, -1:],
        lr=lr[None, -1:],
        peak_lr=jnp.max(lr),
        changes=changes,
        noise=noise,
        facts=dict(facts or {}),
    )


def stretches_of_cells(lr: Array, decay: Array, cells: Cells) -> Stretches:
    """Every cell a stretch of one node; traceable.

    Args:
        lr: mean rate of each cell: (K,).
        decay: rate times weight decay of each cell: (K,).
        cells: how the steps were gathered.
    """
    count = cells.count
    here = 0.5 * (count + 1.0)  # steps from a node to the end of its cell, its own included
    there = jnp.append(0.5 * (count[1:] - 1.0), 0.0)  # and on to the next node

    def following(row: Array) -> Array:
        return here * row + there * jnp.append(row[1:], row[-1:])

    passed = following(decay)
    return Stretches(
        lr=lr[:, None],
        weight=count[:, None],
        decay=passed[:, None],
        source=following(lr * lr)[:, None],
        lag=0.5 * passed[:, None],
    )
