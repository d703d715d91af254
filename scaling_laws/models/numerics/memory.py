"""The memory of past events: one engine for every schedule-aware law.

    memory(t) = Σ_{k<=t} weight_k · G_k(distance from k to t)

Events are changes of the LR (weight lr[k-1] - lr[k]) or updates (weight lr[k]²). Inside a block
the kernel G is evaluated directly. Across blocks it is a mixture of exponentials with rates that
are the same for every event, so that the past is a few numbers carried from block to block: linear
time in the length of the run. For power kernels the mixture comes from the Gamma integral

    (1 + s x)^-β = ∫ w(u; s, β) exp(-e^u x) du,    w(u; s, β) = exp(β (u - log s) - e^u / s) / Γ(β),

by the trapezoidal rule in u, whose relative error at step h is about exp(-π²/h) (2π/h)^β: 1e-10 at
h = 1/3 for β <= 3. Exponentials slower than the grid are a straight line in x to LOW²; the weight
faster than the grid is put on its top node, which has decayed wherever two blocks are apart, so
that G is exact at distance zero too (the clock stands still where the LR is zero).

Blocks are gathered in superblocks: all that is done to their points and events is one fused loop
each, and only M numbers are carried along.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln

from scaling_laws.models.numerics.history import Events, History

__all__ = [
    "ExponentialKernel",
    "Kernel",
    "Mixture",
    "NoiseKernel",
    "PowerKernel",
    "annealed_drop",
    "noise_level",
]

Array = Any
STEP = 1.0 / 3.0  # spacing of the grid in log rate
LOW = 1e-5  # lowest rate times the longest distance: what a straight line leaves is its square
HIGH = 40.0  # highest rate times the shortest distance: exp(-40) is below float64's resolution
SUPERBLOCK = 256  # blocks


class Mixture(NamedTuple):
    """A kernel as exponentials, for events of shape (..., K) and rates of shape (M,).

    G(x) = still + slope·x + right·Σ_m left_m·exp(-rate_m·(x + shift)) + top·exp(-rate_M·x)

    Attributes:
        left: factor of each rate, (M,).
        right: factor of each event, (..., K).
        shift: added to an event's distance, (..., K).
        still: what does not decay, (..., K).
        slope: of what hardly decays, (..., K).
        top: extra weight on the highest rate, (..., K).
    """

    left: Array
    right: Array
    shift: Array
    still: Array
    slope: Array
    top: Array


class Kernel(Protocol):
    """A memory G_k(distance)."""

    def distance(self, history: History, events: Events) -> tuple[Array, Array]:
        """Positions of points (N, Q) and of events (N, K) whose difference is the distance."""

    def near(self, distance: Array, lr: Array) -> Array:
        """G for distances (..., Q, K) and events of LR (..., 1, K)."""

    def rates(self, events: Events) -> Array:
        """Rates of the mixture, increasing: (M,)."""

    def far(self, rates: Array, lr: Array) -> Mixture:
        """The mixture for events of LR (..., K)."""


def _clocks(history: History, events: Events) -> tuple[Array, Array]:
    """Summed LR at points and after events, counted from the point where that is more exact."""
    if events.ahead is None:
        return history.clock, events.clock
    return jnp.zeros_like(history.clock), -events.ahead


def _grid(events: Events) -> Array:
    """Geometric rates from far below 1/longest to far above 1/shortest."""
    top = jnp.log(HIGH / events.shortest)
    nodes = math.ceil((math.log(HIGH / LOW) + events.octaves * math.log(2.0)) / STEP)
    return jnp.exp(top - STEP * jnp.arange(nodes, dtype=jnp.result_type(top))[::-1])


def _below(power: Array, lowest: Array, order: int) -> Array:
    """Σ h·rate^(power + order) over the nodes below the grid: a geometric series."""
    total = power + order
    return STEP * jnp.exp(total * (jnp.log(lowest) - STEP)) / -jnp.expm1(-total * STEP)


def _along(values: Array, rank: int) -> Array:
    """A row of M values with leading axes of length one, so that ranks agree."""
    return jnp.reshape(values, (1,) * (rank - 1) + (-1,))


def _total(rates: Array, left: Array, shift: Array) -> Array:
    """Σ_m left_m·exp(-rate_m·shift) for shifts (..., K)."""
    rank = shift.ndim + 1
    return jnp.sum(_along(left, rank) * jnp.exp(-_along(rates, rank) * shift[..., None]), axis=-1)


@dataclass(frozen=True)
class PowerKernel:
    """G = 1 - (1 + scale · lr_k^-level_exponent · x)^-exponent, x in summed LR.

    Attributes:
        scale: C > 0.
        exponent: β > 0.
        level_exponent: γ >= 0; the rate after the change sets how fast it is felt.
        lr_floor: rates below it count as it in lr_k^-γ.
        inclusive: whether a change is felt from its own step on: x then counts the LR of step k.
    """

    scale: Array
    exponent: Array
    level_exponent: Array
    lr_floor: Array
    inclusive: bool = True

    def _log_speed(self, lr: Array) -> Array:
        level = jnp.maximum(lr, self.lr_floor)
        return jnp.log(self.scale) - self.level_exponent * jnp.log(level)

    def distance(self, history: History, events: Events) -> tuple[Array, Array]:
        """Summed LR at points, and at events."""
        point, event = _clocks(history, events)
        return point, event - events.lr if self.inclusive else event

    def near(self, distance: Array, lr: Array) -> Array:
        """The kernel itself."""
        speed = jnp.exp(self._log_speed(lr))
        return -jnp.expm1(-self.exponent * jnp.log1p(speed * distance))

    def rates(self, events: Events) -> Array:
        """The grid."""
        return _grid(events)

    def far(self, rates: Array, lr: Array) -> Mixture:
        """Trapezoidal weights with their tails."""
        beta, lowest = self.exponent, rates[0]
        log_speed = self._log_speed(lr)
        speed, shift = jnp.exp(log_speed), jnp.exp(-log_speed)
        right = jnp.exp(-beta * log_speed - gammaln(beta))
        left = STEP * jnp.exp(beta * jnp.log(rates))
        # tails by series where they are small next to the grid's sums, else from the sums: all
        # weights make 1, their mean rate is beta·speed
        on_grid = right * _total(rates, left, shift)
        covered = rates[-1] * shift > HIGH  # nothing lies above the grid
        slow = jnp.where(covered, 1.0 - on_grid, right * _below(beta, lowest, 0))
        near_lowest = lowest * shift > 1e-3
        mean = jax.lax.cond(  # hardly ever needed, and it costs as much as `on_grid`
            jnp.any(near_lowest),
            lambda: right * _total(rates, left * rates, shift),
            lambda: jnp.zeros_like(right),
        )
        series = right * (_below(beta, lowest, 1) - shift * _below(beta, lowest, 2))
        slope = jnp.where(near_lowest, beta * speed - mean, series)
        return Mixture(
            left=left,
            right=-right,
            shift=shift,
            still=1.0 - slow,
            slope=slope,
            top=slow + on_grid - 1.0,
        )


@dataclass(frozen=True)
class NoiseKernel:
    """G = (offset + x)^-exponent, x the LR summed after the event's own step.

    Attributes:
        exponent: a > 0.
        offset: B >= 0 in summed LR. With B = 0 an event at distance zero counts as at the
            distance of its own LR.
    """

    exponent: Array
    offset: Array

    def distance(self, history: History, events: Events) -> tuple[Array, Array]:
        """Summed LR at points, and after events."""
        return _clocks(history, events)

    def _at_zero(self, lr: Array) -> Array:
        return jnp.where(self.offset > 0, self.offset, jnp.where(lr > 0, lr, 1.0))

    def near(self, distance: Array, lr: Array) -> Array:
        """The kernel itself."""
        reach = self.offset + distance
        return jnp.where(reach > 0, reach, self._at_zero(lr)) ** -self.exponent

    def rates(self, events: Events) -> Array:
        """The grid."""
        return _grid(events)

    def far(self, rates: Array, lr: Array) -> Mixture:
        """Trapezoidal weights with their tails."""
        power = self.exponent
        one = jnp.ones_like(lr)
        log_rate = jnp.log(rates)
        scale = jnp.exp(-gammaln(power))
        left = scale * STEP * jnp.exp(power * log_rate - rates * self.offset)
        below = [scale * _below(power, rates[0], order) for order in range(3)]
        slow = below[0] - self.offset * below[1]  # exp(-rate·offset) is a straight line there
        return Mixture(
            left=left,
            right=one,
            shift=0.0 * one,
            still=slow * one,
            slope=(self.offset * below[2] - below[1]) * one,
            top=self._at_zero(lr) ** -power - slow - jnp.sum(left),
        )


@dataclass(frozen=True)
class ExponentialKernel:
    """G = 1 - exp(-rate · (steps + 1)): a change is felt from its own step on.

    Attributes:
        rate: forgetting per step, -log λ > 0.
    """

    rate: Array

    def distance(self, history: History, events: Events) -> tuple[Array, Array]:
        """Steps; the point counts as one further, the inclusive convention."""
        return history.step + 1.0, events.step

    def near(self, distance: Array, lr: Array) -> Array:
        """The kernel itself."""
        return -jnp.expm1(-self.rate * distance)

    def rates(self, events: Events) -> Array:
        """One rate."""
        return jnp.reshape(self.rate, (1,))

    def far(self, rates: Array, lr: Array) -> Mixture:
        """Weight one."""
        one = jnp.ones_like(lr)
        return Mixture(jnp.ones_like(rates), -one, 0.0 * one, one, 0.0 * one, 0.0 * one)


def annealed_drop(history: History, kernel: Kernel) -> Array:
    """The kernel-weighted sum of LR changes at every point of a history.

    Args:
        history: N blocks of Q points.
        kernel: the memory.

    Returns:
        Σ change · G at each point, flattened to (N·Q,), in units of LR times G.
    """
    return _memory(history, history.changes, kernel)


def noise_level(history: History, kernel: Kernel) -> Array:
    """The kernel-weighted sum of squared LRs at every point of a history.

    Args:
        history: N blocks of Q points, built with `noise=True`.
        kernel: the memory.

    Returns:
        Σ lr² · G at each point, flattened to (N·Q,), in units of LR² times G.
    """
    assert history.noise is not None, "build the history with noise=True"
    return _memory(history, history.noise, kernel)


def _memory(history: History, events: Events, kernel: Kernel) -> Array:
    point, event = kernel.distance(history, events)
    rows = (point, history.step, event, events.step, events.weight, events.lr)

    def direct(
        point: Array, step: Array, event: Array, event_step: Array, weight: Array, lr: Array
    ) -> Array:
        felt = event_step[..., None, :] <= step[..., :, None]
        ahead = jnp.maximum(point[..., :, None] - event[..., None, :], 0.0)
        kept = kernel.near(jnp.where(felt, ahead, 0.0), lr[..., None, :])
        # a factor: a second `where` would keep the compiler from vectorising the loop
        return jnp.sum(weight[..., None, :] * felt.astype(kept.dtype) * kept, axis=-1)

    if history.step.shape == (1, 1):
        # one point has felt every event: no mask, and the sum is one fused loop
        kept = kernel.near(jnp.maximum(point - event, 0.0), events.lr)
        return jnp.sum(events.weight * kept, axis=-1)
    if point.shape[0] == 1:
        return direct(*rows).reshape(-1)
    rates = kernel.rates(events)
    blocks = point.shape[0]
    size = min(SUPERBLOCK, blocks)
    fill = -(-blocks // size) * size - blocks

    def gather(values: Array, last: Array) -> Array:
        # padding blocks repeat the last point and hold no events: they change nothing
        tail = jnp.broadcast_to(last, (fill, values.shape[1]))
        return jnp.concatenate([values, tail]).reshape(-1, size, values.shape[1])

    ends = (point[-1, -1], history.step[-1, -1], point[-1, -1], history.step[-1, -1], 0.0, 1.0)
    gathered = tuple(
        gather(jnp.asarray(row), jnp.asarray(end, point.dtype))
        for row, end in zip(rows, ends, strict=True)
    )

    def superblock(carry: tuple[Array, ...], row: tuple[Array, ...]) -> Any:
        state, still, slope, offset, at = carry
        point, _, event, _, weight, lr = row
        mixture = kernel.far(rates, lr)
        end = point[:, -1]
        begin = jnp.concatenate([at[None], end[:-1]])
        # what a block's events leave behind, seen from the block's end
        age = jnp.maximum(end[:, None] - event, 0.0)
        aged = jnp.exp(-rates[None, :, None] * (age + mixture.shift)[:, None, :])
        left_behind = jnp.sum(aged * (weight * mixture.right)[:, None, :], axis=-1)
        left_behind = left_behind * mixture.left[None, :]
        newest = jnp.sum(weight * mixture.top * jnp.exp(-rates[-1] * age), axis=-1)
        left_behind = left_behind.at[:, -1].add(newest)
        fade = jnp.exp(-rates[None, :] * (end - begin)[:, None])

        def carry_on(state: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
            fade, added = step
            return fade * state + added, state

        final, states = jax.lax.scan(carry_on, state, (fade, left_behind))
        stills = _running(still, weight * mixture.still)
        slopes = _running(slope, weight * mixture.slope)
        offsets = _running(offset, weight * mixture.slope * event)
        since = jnp.exp(-(point - begin[:, None])[:, :, None] * rates[None, None, :])
        far = jnp.sum(since * states[:, None, :], axis=-1)
        far += stills[:-1, None] + slopes[:-1, None] * point - offsets[:-1, None]
        return (final, stills[-1], slopes[-1], offsets[-1], end[-1]), direct(*row) + far

    zero = jnp.zeros_like(rates[0])
    start = (jnp.zeros_like(rates), zero, zero, zero, zero)
    _, sums = jax.lax.scan(jax.checkpoint(superblock), start, gathered)
    return sums.reshape(-1)[: history.step.size]


def _running(start: Array, added: Array) -> Array:
    """Totals before and after each block: (blocks + 1,)."""
    return jnp.concatenate([start[None], start + jnp.cumsum(jnp.sum(added, axis=-1))])
