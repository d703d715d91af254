"""The memory of past LR changes: one engine for every schedule-aware law.

    drop(t) = Σ_{k<=t} (lr[k-1] - lr[k]) · G_k(distance from k to t)

Inside a block the kernel G is evaluated directly. Across blocks it is a positive mixture of
exponentials with rates that are the same for every change k, so that the past is a few numbers
carried from block to block: linear time in the length of the run. For the power kernel

    1 - (1 + s x)^-β = ∫ w(u; s, β) (1 - exp(-e^u x)) du,
    w(u; s, β) = exp(β (u - log s) - e^u / s) / Γ(β),

and the trapezoidal rule in u with step h has relative error about exp(-π²/h) (2π/h)^β: 1e-10 at
h = 1/3 for β <= 3. Nodes below the grid sum to a closed geometric tail whose exponentials have not
begun to decay; the weight above the grid is put on its top node, which has decayed wherever two
blocks are apart, so that G(0) = 0 exactly and G(∞) = 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln

from scaling_laws.numerics.history import History

__all__ = ["ExponentialKernel", "Kernel", "PowerKernel", "annealed_drop"]

Array = Any
STEP = 1.0 / 3.0  # spacing of the grid in log rate
LOW = 1e-10  # lowest rate times the longest distance
HIGH = 40.0  # highest rate times the shortest distance: exp(-40) is below float64's resolution


class Kernel(Protocol):
    """A memory G_k(distance); `events` arrays are those of one block."""

    def distance(self, history: History) -> tuple[Array, Array]:
        """Positions of points (N, Q) and of events (N, K) whose difference is the distance."""

    def near(self, distance: Array, event_lr: Array) -> Array:
        """G for distances of shape (K, Q) and events (K, 1)."""

    def rates(self, history: History) -> Array:
        """Rates of the mixture: (M,)."""

    def weights(self, rates: Array, event_lr: Array) -> tuple[Array, Array]:
        """Mixture weights (K, M) and the weight (K,) of rates too slow to matter."""


@dataclass(frozen=True)
class PowerKernel:
    """G = 1 - (1 + scale · lr_k^-level_exponent · x)^-exponent, x in summed LR.

    Attributes:
        scale: C > 0.
        exponent: β > 0.
        level_exponent: γ >= 0; the rate after the change sets how fast it is felt.
        lr_floor: rates below it count as it in lr_k^-γ.
    """

    scale: Array
    exponent: Array
    level_exponent: Array
    lr_floor: Array

    def _log_speed(self, event_lr: Array) -> Array:
        level = jnp.maximum(event_lr, self.lr_floor)
        return jnp.log(self.scale) - self.level_exponent * jnp.log(level)

    def distance(self, history: History) -> tuple[Array, Array]:
        """Summed LR at points and before events."""
        return history.clock, history.event_clock

    def near(self, distance: Array, event_lr: Array) -> Array:
        """The kernel itself."""
        speed = jnp.exp(self._log_speed(event_lr))
        return -jnp.expm1(-self.exponent * jnp.log1p(speed * distance))

    def rates(self, history: History) -> Array:
        """Geometric rates from far below 1/longest to far above 1/shortest."""
        top = jnp.log(HIGH / history.shortest)
        nodes = math.ceil((math.log(HIGH / LOW) + history.octaves * math.log(2.0)) / STEP)
        return jnp.exp(top - STEP * jnp.arange(nodes, dtype=jnp.result_type(top))[::-1])

    def weights(self, rates: Array, event_lr: Array) -> tuple[Array, Array]:
        """Trapezoidal weights; the last node takes what lies above the grid."""
        beta = self.exponent
        log_rate = jnp.log(rates)
        log_speed = jnp.maximum(self._log_speed(event_lr), log_rate[0] + math.log(10.0))[:, None]
        scale = math.log(STEP) - gammaln(beta)
        gap = log_rate[None, :] - log_speed
        inner = jnp.exp(scale + beta * gap - jnp.exp(gap))
        slow = jnp.exp(scale + beta * (gap[:, 0] - STEP)) / -jnp.expm1(-beta * STEP)
        return inner.at[:, -1].add(1.0 - slow - inner.sum(axis=1)), slow


@dataclass(frozen=True)
class ExponentialKernel:
    """G = 1 - exp(-rate · (steps + 1)): a change is felt from its own step on.

    Attributes:
        rate: forgetting per step, -log λ > 0.
    """

    rate: Array

    def distance(self, history: History) -> tuple[Array, Array]:
        """Steps; the point counts as one further, the inclusive convention."""
        return history.step + 1.0, history.event_step

    def near(self, distance: Array, event_lr: Array) -> Array:
        """The kernel itself."""
        return -jnp.expm1(-self.rate * distance)

    def rates(self, history: History) -> Array:
        """One rate."""
        return jnp.reshape(self.rate, (1,))

    def weights(self, rates: Array, event_lr: Array) -> tuple[Array, Array]:
        """Weight one."""
        return jnp.ones((event_lr.shape[0], 1), rates.dtype), jnp.zeros_like(event_lr)


def annealed_drop(history: History, kernel: Kernel) -> Array:
    """The kernel-weighted sum of LR changes at every point of a history.

    Args:
        history: N blocks of Q points and K events.
        kernel: the memory.

    Returns:
        Σ change · G at each point, flattened to (N·Q,), in units of LR.
    """
    point, event = kernel.distance(history)

    def direct(
        point: Array, step: Array, event: Array, event_step: Array, change: Array, level: Array
    ) -> Array:
        felt = event_step[:, None] <= step[None, :]
        distance = jnp.where(felt, jnp.maximum(point[None, :] - event[:, None], 0.0), 0.0)
        return change @ jnp.where(felt, kernel.near(distance, level[:, None]), 0.0)

    rows = (
        point,
        history.step,
        event,
        history.event_step,
        history.event_change,
        history.event_lr,
    )
    if history.blocks == 1:
        return direct(*(row[0] for row in rows))
    rates = kernel.rates(history)

    def block(carry: tuple[Array, Array, Array], row: tuple[Array, ...]) -> Any:
        state, settled, at = carry
        point, _, event, _, change, level = row
        decay = jnp.exp(-rates[None, :] * (point - at)[:, None])
        drop = direct(*row) + settled - decay @ state
        end = point[-1]
        weights, slow = kernel.weights(rates, level)
        fading = jnp.exp(-rates[None, :] * jnp.maximum(end - event, 0.0)[:, None])
        state = decay[-1] * state + change @ (weights * fading)
        return (state, settled + change @ (1.0 - slow), end), drop

    start = (jnp.zeros_like(rates), jnp.zeros_like(rates[0]), jnp.zeros_like(rates[0]))
    _, drops = jax.lax.scan(jax.checkpoint(block), start, rows)
    return drops.reshape(-1)
