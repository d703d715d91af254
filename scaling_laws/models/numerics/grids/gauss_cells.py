"""A time grid of some hundred cells with two Gauss nodes each: the loss after the last step.

A cell is sampled at the two nodes that sum any cubic over its steps (Gauss), and between them every
row is linear. The norm is propagated from cell to cell by the same two nodes. The memory of a gain,

    Σ_k gain_k·[K(τ_end - τ_k) - K(τ_end - τ_{k-1})],   K(x) = (1 + speed·x)^-exponent,

is a sum over cells of the exact change of K over the cell times a mean of the gain there: of its
two nodes, weighted by the density of that change. The sums telescope and distances are summed from
the end, so that float32 suffices. The error is of fourth order in the width of a cell; cells of one
step make every formula exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from scaling_laws.models.numerics.scans import affine_scan_sequential, cumsum_sequential

__all__ = ["GaussCells"]

Array = Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class GaussCells:
    """K cells of steps with J = 2 nodes each; satisfies `TimeGrid`. Traceable.

    Attributes:
        lr: learning rate at each node: (2, K).
        decay: LR times weight decay at each node: (2, K).
        count: steps in each cell, not always whole: (K,).
        since: steps of the cell before each node: (2, K).
        node_distance: steps between the two nodes, 0 in a cell of one step: (K,).
        norm: logged parameter norm at each node, (2, K), where a law reads it.
    """

    lr: Array
    decay: Array
    count: Array
    since: Array
    node_distance: Array
    norm: Array | None = None

    def cell_sums(self, row: Array) -> Array:
        """Sums over the steps of each cell: (2, K) -> (K,)."""
        sums: Array = 0.5 * self.count * (row[0] + row[1])
        return sums

    def sums_before_nodes(self, row: Array) -> Array:
        """Sums over the steps of its cell before each node, along a line: (2, K) -> (2, K)."""
        apart = self.node_distance > 0
        distance = jnp.where(apart, self.node_distance, 1.0)
        slope = jnp.where(apart, (row[1] - row[0]) / distance, 0.0)
        mean = 0.5 * (row[0] + row[1])
        offset = self.since - self.count[None]
        sums: Array = self.since * (mean[None] + 0.5 * slope[None] * offset)
        return sums

    def squared_norms(self, start: Array, decay_factor: Array = 1.0) -> Array:
        """See `TimeGrid`: (2, K).

        The step's own sinh(d)/d is 1 to d²/6, 1e-9 at LR 1e-3 and weight decay 0.1.
        """
        decay, squared = decay_factor * self.decay, self.lr * self.lr
        before_node = self.sums_before_nodes(decay)
        total = self.cell_sums(decay)
        # an update decays from its own middle to the end of the cell
        residual = total[None] - before_node - 0.5 * decay
        added = self.cell_sums(squared * jnp.exp(-2.0 * residual))
        kept, summed = affine_scan_sequential(jnp.exp(-2.0 * total), added)
        following = kept * start + summed
        begin = jnp.concatenate([jnp.reshape(start, (1,)).astype(following.dtype), following[:-1]])
        fade = jnp.exp(-before_node)
        norms: Array = fade * (fade * begin[None] + self.sums_before_nodes(squared))
        return norms

    def cumulative_at_nodes(self, row: Array) -> Array:
        """See `TimeGrid`: (2, K) -> (2, K)."""
        sums = self.cell_sums(row)
        begin = cumsum_sequential(sums) - sums
        cumulative: Array = begin[None] + self.sums_before_nodes(row) + 0.5 * row
        return cumulative

    def cumulative_at_points(self, row: Array) -> Array:
        """See `TimeGrid`: (2, K) -> (1,)."""
        return jnp.sum(self.cell_sums(row), keepdims=True)

    def memory_average(
        self, dtau: Array, gain: Array, speed: Array, exponent: Array
    ) -> tuple[Array, Array]:
        """See `TimeGrid`: clock and average after the last step, (1,) each."""
        total = self.cell_sums(dtau)
        to_end = cumsum_sequential(total, reverse=True)  # from the beginning of a cell to the end
        later = jnp.append(to_end[1:], jnp.zeros_like(to_end[:1]))
        middle = later[None] + total[None] - self.sums_before_nodes(dtau) - 0.5 * dtau
        kernel = jnp.exp(-exponent * jnp.log1p(speed * to_end))
        change = jnp.append(kernel[1:], jnp.ones_like(kernel[:1])) - kernel
        log_base = jnp.log1p(speed * jnp.maximum(middle, 0.0))
        density = dtau * jnp.exp(-(1.0 + exponent) * log_base)
        both = density[0] + density[1]
        mean = (density[0] * gain[0] + density[1] * gain[1]) / jnp.where(both > 0, both, 1.0)
        return to_end[:1], jnp.sum(change * mean, keepdims=True)
