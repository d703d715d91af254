"""The protocol that every time grid satisfies.

A law whose clock depends on its parameters has to follow a recursion over the steps of a run. It
does so through a grid: K cells of consecutive steps, each sampled at J nodes. All arrays of nodes
have the shape (J, K): nodes first, cells last and in the order of time.

    grid             J   a cell is                                  losses at
    SingleSteps      1   one step, or a few represented by a mean   all steps, or the last one
    QuadraticCells   3   steps over which the LR is nearly linear   chosen steps
    GaussCells       2   steps of a smooth segment (2-node Gauss)   the last step
"""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["TimeGrid"]

Array = Any  # a NumPy array outside jit, a JAX tracer inside


class TimeGrid(Protocol):
    """Steps sampled at nodes, with the sums and the recursion that laws need."""

    @property
    def lr(self) -> Array:
        """Learning rate at each node: (J, K)."""

    @property
    def norm(self) -> Array | None:
        """Logged parameter norm at each node, (J, K), where a law reads it."""

    def squared_norms(self, start: Array, decay_factor: Array = 1.0) -> Array:
        """Squared norm before the update of every node.

        The recursion is that of decoupled weight decay and updates of size lr,
        n <- n·exp(-2 d) + lr²·exp(-d)·sinh(d)/d with d = decay_factor·lr·weight_decay.

        Args:
            start: squared norm before the first step: ().
            decay_factor: multiplies the weight decay: ().

        Returns:
            Squared norms, (J, K).
        """

    def cumulative_at_nodes(self, row: Array) -> Array:
        """Sums of a row up to the middle of the step of every node: (J, K) -> (J, K)."""

    def cumulative_at_points(self, row: Array) -> Array:
        """Sums of a row up to and including the step of every point: (J, K) -> (points,)."""

    def memory_average(
        self, dtau: Array, gain: Array, speed: Array, exponent: Array
    ) -> tuple[Array, Array]:
        """Clock and remembered gain at every point.

        average(t) = Σ_{k<=t} gain_k·[K(τ_t - τ_k) - K(τ_t - τ_{k-1})] with τ the cumulative sum of
        dtau and K(x) = (1 + speed·x)^-exponent.

        Args:
            dtau: increment of the clock per step at each node, >= 0: (J, K).
            gain: at each node: (J, K).
            speed: of the memory, > 0: ().
            exponent: of the memory, > 0: ().

        Returns:
            Clock and average, (points,) each.
        """
