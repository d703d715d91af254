"""The last step of a run in cells, each represented by its mean rate; traceable.

A cell counts at its centre, which causes an error of second order in its width; with cells of one
step every sum is that of `FINAL`, exactly. Cell k has n_k steps of mean rate m_k, its node is the
middle step p_k. The change between two nodes counts halfway between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from scaling_laws.models.numerics.cells import Cells
from scaling_laws.models.numerics.discretisations.discretisation import RunInputs
from scaling_laws.models.numerics.grids.single_steps import SingleSteps
from scaling_laws.models.numerics.history import Events, EventStreams, History

__all__ = ["FinalOnCells"]

Array = Any


@dataclass(frozen=True)
class FinalOnCells:
    """One point, one change between neighbouring nodes; a `Discretisation` in JAX.

    For laws that read nothing but the LR and the weight decay per step (`Law.accepts_cells`).

    Attributes:
        cells: how the steps are gathered.
    """

    cells: Cells

    def with_events(self, run: RunInputs, rate: Array, *, noise: bool) -> History:
        """See `Discretisation`; lr and rate are the mean of each cell, (K,)."""
        count, node = self.cells.count, self.cells.node
        total = jnp.cumsum(count * rate)
        # clock before the update of the node
        before = total - count * rate + 0.5 * (count - 1.0) * rate
        distance = jnp.maximum(node[1:] - node[:-1], 1e-6)  # empty cells share a node
        share = 0.5 * (distance + 1.0) / distance  # of the way to the next node, for the change
        level = rate[:-1] + share * (rate[1:] - rate[:-1])
        first = jnp.zeros_like(rate[:1])
        changes = Events(
            step=jnp.concatenate([first, node[:-1] + share * distance])[None],
            clock=jnp.concatenate(
                [rate[:1], 0.5 * (before[:-1] + rate[:-1] + before[1:]) + level],
            )[None],
            lr=jnp.concatenate([rate[:1], level])[None],
            weight=jnp.concatenate([first, rate[:-1] - rate[1:]])[None],
            min_distance=total[-1],
        )
        noises = Events(
            step=node[None],
            clock=(before + rate)[None],
            lr=rate[None],
            weight=(count * rate * rate)[None],
            min_distance=total[-1],
        )
        streams = EventStreams(changes, noises if noise else None)
        return self._history(run, rate, events=streams)

    def with_grid(self, run: RunInputs, decay: Array, norm: Array | None) -> History:
        """See `Discretisation`; lr, decay and norm are the mean of each cell, (K,)."""
        count = self.cells.count
        within = 0.5 * (count + 1.0)  # steps from a node to the end of its cell, its own included
        beyond = jnp.append(0.5 * (count[1:] - 1.0), 0.0)  # and on to the next node

        def to_next(row: Array) -> Array:
            return within * row + beyond * jnp.append(row[1:], row[-1:])

        total = to_next(decay)
        grid = SingleSteps(
            lr=run.lr[None],
            count=count,
            decay_to_next=total,
            lr_squared_to_next=to_next(run.lr * run.lr),
            residual_decay=0.5 * total,
            norm=None if norm is None else norm[None],
            block=run.lr.shape[0],
        )
        return self._history(run, run.lr, time_grid=grid)

    def _history(self, run: RunInputs, rate: Array, **past: Any) -> History:
        count, node = self.cells.count, self.cells.node
        return History(
            step=(node + 0.5 * (count - 1.0))[None, -1:],
            clock=jnp.cumsum(count * rate)[None, -1:],
            lr=rate[None, -1:],
            peak_lr=jnp.max(rate),
            facts=dict(run.facts),
            **past,
        )
