"""The last step of a run of smooth segments, from samples at two nodes per cell; traceable.

The fall from one segment to the next is an event of its own. With cells of one step every sum is
that of `FINAL`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from scaling_laws.models.numerics.discretisations.discretisation import RunInputs
from scaling_laws.models.numerics.grids.gauss_cells import GaussCells
from scaling_laws.models.numerics.history import Events, EventStreams, History
from scaling_laws.models.numerics.scans import cumsum_sequential
from scaling_laws.models.numerics.segments import SampledSegments

__all__ = ["FinalOnSegments"]

Array = Any


@dataclass(frozen=True)
class FinalOnSegments:
    """One point, two changes per cell; a `Discretisation` in JAX.

    For laws that read nothing but the LR per step (`Law.accepts_cells`).

    Attributes:
        samples: the run, cell by cell; its `lr` is that of the history.
    """

    samples: SampledSegments

    def with_events(self, run: RunInputs, rate: Array, *, noise: bool) -> History:
        """See `Discretisation`; lr and rate are `samples.lr`, (2, K)."""
        samples = self.samples
        sums = samples.count * samples.mean
        total = cumsum_sequential(sums)
        begin = total - sums
        # a late cell may sum to less than the resolution of the sum before it
        to_end = cumsum_sequential(sums, reverse=True)
        later = jnp.append(to_end[1:], jnp.zeros_like(to_end[:1]))
        distance = samples.node[1] - samples.node[0]
        apart = distance > 0
        slope = jnp.where(apart, (rate[1] - rate[0]) / jnp.where(apart, distance, 1.0), 0.0)
        count = samples.count[None]
        since = samples.node - samples.edge[None]
        # the rates of the steps before the node, which lie on a straight line within the cell
        before = (
            begin[None] + samples.mean[None] * since + 0.5 * slope[None] * since * (since - count)
        )
        after = (
            later[None] + (count - since) * (samples.mean[None] + 0.5 * slope[None] * since) - rate
        )

        def joined(inside: Array, jumps: Array) -> Array:
            return jnp.concatenate([inside.reshape(-1), jumps])[None]

        def flat(inside: Array) -> Array:
            return inside.reshape(1, -1)

        jump = samples.jump_cell
        changes = Events(
            step=joined(samples.node, samples.edge[jump]),
            clock=joined(before + rate, begin[jump] + samples.jump_lr),
            lr=joined(rate, samples.jump_lr),
            weight=joined(samples.fall, samples.jump_fall),
            min_distance=total[-1],
            distance_to_end=joined(after, to_end[jump] - samples.jump_lr),
        )
        noises = Events(
            step=flat(samples.node),
            clock=flat(before + rate),
            lr=flat(rate),
            weight=flat(0.5 * count * rate * rate),
            min_distance=total[-1],
            distance_to_end=flat(after),
        )
        streams = EventStreams(changes, noises if noise else None)
        return self._history(run, total[None, -1:], events=streams)

    def with_grid(self, run: RunInputs, decay: Array, norm: Array | None) -> History:
        """See `Discretisation`; lr, decay and norm are those at the nodes, (2, K)."""
        samples = self.samples
        grid = GaussCells(
            lr=samples.lr,
            decay=decay,
            count=samples.count,
            since=samples.node - samples.edge[None],
            node_distance=samples.node[1] - samples.node[0],
            norm=norm,
        )
        total = cumsum_sequential(samples.count * samples.mean)
        return self._history(run, total[None, -1:], time_grid=grid)

    def _history(self, run: RunInputs, clock: Array, **past: Any) -> History:
        samples = self.samples
        return History(
            step=(samples.edge[-1:] + samples.count[-1:] - 1.0)[None],
            clock=clock,
            lr=samples.last[None, None],
            peak_lr=jnp.max(samples.lr),
            facts=dict(run.facts),
            **past,
        )
