"""A time grid of one node per cell: every step by itself, or cells represented by their mean.

With single steps every formula is exact. With wider cells, sampled at their middle step, the error
is of second order in the width of a cell.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from scaling_laws.models.numerics.convolution import annealed_drop
from scaling_laws.models.numerics.grids.norm_recursion import squared_norms
from scaling_laws.models.numerics.history import Events, EventStreams, History
from scaling_laws.models.numerics.kernels import PowerKernel

__all__ = ["SingleSteps"]

Array = Any
EXTRA_LOG2_RANGE = 8  # a clock may be this much less even than the sum of the learning rate


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SingleSteps:
    """K steps, or cells of steps, with one node each; satisfies `TimeGrid`. Traceable.

    Attributes:
        lr: learning rate at each node, (1, K).
        count: steps in each cell, (K,); 0 is padding.
        decay_to_next: LR times weight decay, summed from a node up to the next, (K,).
        lr_squared_to_next: squared LR summed over the same steps, (K,).
        residual_decay: decay that this sum still undergoes on average before the next node, (K,).
        norm: logged parameter norm at each node, (1, K), where a law reads it.
        block: cells per block of the memory sum; static.
        points: points per block, the last cells of each: `block`, or 1 for the last cell only.
        log2_range: of the summed LR; see `Events`.
    """

    lr: Array
    count: Array
    decay_to_next: Array
    lr_squared_to_next: Array
    residual_decay: Array
    norm: Array | None = None
    block: int = field(default=1, metadata={"static": True})
    points: int = field(default=1, metadata={"static": True})
    log2_range: int = field(default=0, metadata={"static": True})

    @classmethod
    def of(cls, lr: Array, decay: Array, norm: Array | None = None) -> SingleSteps:
        """Every step a cell, one point after the last one.

        Args:
            lr: learning rate of every step: (steps,).
            decay: lr·weight_decay of every step: (steps,).
            norm: parameter norm of every step: (steps,).
        """
        return cls(
            lr=lr[None],
            count=jnp.ones_like(lr),
            decay_to_next=decay,
            lr_squared_to_next=lr * lr,
            residual_decay=0.5 * decay,
            norm=None if norm is None else norm[None],
            block=lr.shape[0],
        )

    def squared_norms(self, start: Array, decay_factor: Array = 1.0) -> Array:
        """See `TimeGrid`: (1, K)."""
        rows = self.decay_to_next, self.lr_squared_to_next, self.residual_decay
        return squared_norms(*rows, start, decay_factor)[None]

    def cumulative_at_nodes(self, row: Array) -> Array:
        """See `TimeGrid`: (1, K) -> (1, K)."""
        sums = self.count * row[0]
        begin = jnp.cumsum(sums) - sums
        return (begin + 0.5 * sums)[None]

    def cumulative_at_points(self, row: Array) -> Array:
        """See `TimeGrid`: (1, K) -> (points,)."""
        return self._at_points(jnp.cumsum(self.count * row[0])).reshape(-1)

    def memory_average(
        self, dtau: Array, gain: Array, speed: Array, exponent: Array
    ) -> tuple[Array, Array]:
        """See `TimeGrid`. Summation by parts turns the average into a memory of changes of gain.

        Average = newest gain less the memory Σ (gain_k - gain_{k-1})·[1 - K(τ_t - τ_{k-1})] of its
        changes, so that one formula serves gains that fall and gains that rise.
        """
        increment, level = dtau[0] * self.count, gain[0]
        clock = jnp.cumsum(increment)
        change = jnp.concatenate([-level[:1], level[:-1] - level[1:]])
        change = jnp.where(self.count > 0, change, 0.0)  # padding changes nothing
        log2_range = 2 * self.log2_range + EXTRA_LOG2_RANGE
        blocks = clock.reshape(-1, self.block)
        step = jnp.arange(clock.shape[0], dtype=clock.dtype)
        changes = Events(
            step=step.reshape(blocks.shape),
            clock=blocks,
            lr=increment.reshape(blocks.shape),
            weight=change.reshape(blocks.shape),
            min_distance=clock[-1] * 2.0**-log2_range,
            log2_range=log2_range,
        )
        on_own_clock = History(
            step=self._at_points(step),
            clock=self._at_points(clock),
            lr=self._at_points(increment),
            peak_lr=jnp.ones_like(speed),
            events=EventStreams(changes),
        )
        kernel = PowerKernel(
            scale=speed,
            exponent=exponent,
            level_exponent=jnp.zeros_like(exponent),
            lr_floor=jnp.ones_like(speed),
        )
        return on_own_clock.clock.reshape(-1), -annealed_drop(on_own_clock, kernel)

    def _at_points(self, row: Array) -> Array:
        """The entries of a row at the points: (K,) -> (blocks, points)."""
        return row.reshape(-1, self.block)[:, self.block - self.points :]
