"""A run as some hundred cells of two nodes each: the final loss of laws with their own clock.

Where a law works out its own rate, what `pieces` knows of a cell is not enough: the norm has to be
followed, and what a step adds to the law's clock is known only then. A cell is seen at the two
nodes that sum any cubic over its steps (Gauss), and between them every row is a straight line. The
norm is carried from cell to cell by the same two nodes. What a run remembers of a gain,

    Σ_k gain_k·[K(τ_end - τ_k) - K(τ_end - τ_{k-1})],   K(x) = (1 + speed·x)^-exponent,

is a sum over cells of the exact change of K over the cell times a mean of the gain there: of its
two nodes, weighted by the density of that change. The sums telescope and distances are summed from
the end, so that float32 bears them. The error is of fourth order in the width of a cell; cells of
one step make every formula exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from scaling_laws.models.numerics.scans import linear_of_many, sums_of_many

__all__ = ["Pairs"]

Array = Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Pairs:
    """K cells of steps with two nodes each. Traceable.

    Attributes:
        lr: learning rate at each node: (2, K).
        decay: LR times weight decay at each node: (2, K).
        count: steps in each cell, not always whole: (K,).
        since: steps of the cell before each node: (2, K).
        apart: steps between the two nodes, 0 in a cell of one step: (K,).
    """

    lr: Array
    decay: Array
    count: Array
    since: Array
    apart: Array

    def passed(self, row: Array) -> Array:
        """Sums over the steps of each cell: (2, K) -> (K,)."""
        found: Array = 0.5 * self.count * (row[0] + row[1])
        return found

    def before_nodes(self, row: Array) -> Array:
        """Sums over the steps of its cell before each node, along a line: (2, K) -> (2, K)."""
        some = self.apart > 0
        bend = jnp.where(some, (row[1] - row[0]) / jnp.where(some, self.apart, 1.0), 0.0)
        mean = 0.5 * (row[0] + row[1])
        rest = self.since - self.count[None]
        found: Array = self.since * (mean[None] + 0.5 * bend[None] * rest)
        return found

    def norms(self, start: Array, decay_factor: Array) -> Array:
        """The squared norm before the update of every node: (2, K); see `stretches.norms`.

        The step's own sinh(d)/d is 1 to d²/6, 1e-9 at LR 1e-3 and weight decay 0.1.
        """
        decay, squared = decay_factor * self.decay, self.lr * self.lr
        ahead_of_node = self.before_nodes(decay)
        passed = self.passed(decay)
        # what an update adds decays from its own middle to the end of the cell
        remaining = passed[None] - ahead_of_node - 0.5 * decay
        added = self.passed(squared * jnp.exp(-2.0 * remaining))
        kept, summed = linear_of_many(jnp.exp(-2.0 * passed), added)
        following = kept * start + summed
        begin = jnp.concatenate([jnp.reshape(start, (1,)).astype(following.dtype), following[:-1]])
        fade = jnp.exp(-ahead_of_node)
        found: Array = fade * (fade * begin[None] + self.before_nodes(squared))
        return found

    def sums_at_nodes(self, row: Array) -> Array:
        """What a row sums to up to the middle of every node's step: (2, K) -> (2, K)."""
        passed = self.passed(row)
        begin = sums_of_many(passed) - passed
        found: Array = begin[None] + self.before_nodes(row) + 0.5 * row
        return found

    def clock_and_average(
        self, tick: Array, gain: Array, speed: Array, exponent: Array
    ) -> tuple[Array, Array]:
        """The clock and the remembered gain after the last step: (1,) each; see `averages`."""
        passed = self.passed(tick)
        ahead = sums_of_many(passed, reverse=True)  # from the beginning of a cell to the end
        later = jnp.append(ahead[1:], jnp.zeros_like(ahead[:1]))
        middle = later[None] + passed[None] - self.before_nodes(tick) - 0.5 * tick
        kernel = jnp.exp(-exponent * jnp.log1p(speed * ahead))
        change = jnp.append(kernel[1:], jnp.ones_like(kernel[:1])) - kernel
        away = jnp.log1p(speed * jnp.maximum(middle, 0.0))
        density = tick * jnp.exp(-(1.0 + exponent) * away)
        whole = density[0] + density[1]
        mean = (density[0] * gain[0] + density[1] * gain[1]) / jnp.where(whole > 0, whole, 1.0)
        return ahead[:1], jnp.sum(change * mean, keepdims=True)
