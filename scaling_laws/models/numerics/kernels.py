"""Memory kernels, each in closed form and as a mixture of exponentials with shared rates.

For power kernels the mixture is the Gamma integral

    (1 + s x)^-β = ∫ w(u; s, β) exp(-e^u x) du,    w(u; s, β) = exp(β (u - log s) - e^u / s) / Γ(β),

by the trapezoidal rule in u, whose relative error at step h is about exp(-π²/h) (2π/h)^β: 1e-10 at
h = 1/3 for β <= 3. Exponentials slower than the grid are a straight line in x to LOW²; the weight
faster than the grid is put on its highest rate, which has decayed wherever two blocks are apart, so
that G is exact at distance zero too (the clock does not advance where the LR is zero).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln

from scaling_laws.models.numerics.history import Events, History

__all__ = ["ExponentialKernel", "Kernel", "Mixture", "NoiseKernel", "PowerKernel"]

Array = Any
STEP = 1.0 / 3.0  # spacing of the grid in log rate
LOW = 1e-5  # lowest rate times the longest distance: the error of a straight line is its square
HIGH = 40.0  # highest rate times the shortest distance: exp(-40) is below float64's resolution


class Mixture(NamedTuple):
    """A kernel as exponentials, for events of shape (..., K) and rates of shape (M,).

    G(x) = constant + linear·x + event_factor·Σ_m rate_factor_m·exp(-rate_m·(x + shift))
         + fast_weight·exp(-rate_M·x)

    Attributes:
        rate_factor: factor of each rate, (M,).
        event_factor: factor of each event, (..., K).
        shift: added to an event's distance, (..., K).
        constant: weight that does not decay, (..., K).
        linear: slope of the part that hardly decays, (..., K).
        fast_weight: extra weight on the highest rate, (..., K).
    """

    rate_factor: Array
    event_factor: Array
    shift: Array
    constant: Array
    linear: Array
    fast_weight: Array


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
    if events.distance_to_end is None:
        return history.clock, events.clock
    return jnp.zeros_like(history.clock), -events.distance_to_end


def _grid(events: Events) -> Array:
    """Geometric rates from far below 1/longest to far above 1/shortest distance."""
    highest = jnp.log(HIGH / events.min_distance)
    nodes = math.ceil((math.log(HIGH / LOW) + events.log2_range * math.log(2.0)) / STEP)
    return jnp.exp(highest - STEP * jnp.arange(nodes, dtype=jnp.result_type(highest))[::-1])


def _below(power: Array, lowest: Array, order: int) -> Array:
    """Σ h·rate^(power + order) over the nodes below the grid: a geometric series."""
    total = power + order
    return STEP * jnp.exp(total * (jnp.log(lowest) - STEP)) / -jnp.expm1(-total * STEP)


def _along(values: Array, rank: int) -> Array:
    """A row of M values with leading axes of length one, so that ranks agree."""
    return jnp.reshape(values, (1,) * (rank - 1) + (-1,))


def _total(rates: Array, rate_factor: Array, shift: Array) -> Array:
    """Σ_m left_m·exp(-rate_m·shift) for shifts (..., K)."""
    rank = shift.ndim + 1
    return jnp.sum(
        _along(rate_factor, rank) * jnp.exp(-_along(rates, rank) * shift[..., None]), axis=-1
    )


@dataclass(frozen=True)
class PowerKernel:
    """G = 1 - (1 + scale · lr_k^-level_exponent · x)^-exponent, x in summed LR.

    Attributes:
        scale: C > 0.
        exponent: β > 0.
        level_exponent: γ >= 0; the rate after the change sets how fast it takes effect.
        lr_floor: lower rates are replaced by it in lr_k^-γ.
        inclusive: whether a change takes effect from its own step on: x then includes the LR of
            step k.
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
        event_factor = jnp.exp(-beta * log_speed - gammaln(beta))
        rate_factor = STEP * jnp.exp(beta * jnp.log(rates))
        # tails by series where they are small next to the grid's sums, else from the sums: all
        # weights sum to 1, their mean rate is beta·speed
        on_grid = event_factor * _total(rates, rate_factor, shift)
        covered = rates[-1] * shift > HIGH  # nothing lies above the grid
        slow = jnp.where(covered, 1.0 - on_grid, event_factor * _below(beta, lowest, 0))
        near_lowest = lowest * shift > 1e-3
        mean = jax.lax.cond(  # rarely needed, and it costs as much as `on_grid`
            jnp.any(near_lowest),
            lambda: event_factor * _total(rates, rate_factor * rates, shift),
            lambda: jnp.zeros_like(event_factor),
        )
        series = event_factor * (_below(beta, lowest, 1) - shift * _below(beta, lowest, 2))
        linear = jnp.where(near_lowest, beta * speed - mean, series)
        return Mixture(
            rate_factor=rate_factor,
            event_factor=-event_factor,
            shift=shift,
            constant=1.0 - slow,
            linear=linear,
            fast_weight=slow + on_grid - 1.0,
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
        rate_factor = scale * STEP * jnp.exp(power * log_rate - rates * self.offset)
        below = [scale * _below(power, rates[0], order) for order in range(3)]
        slow = below[0] - self.offset * below[1]  # exp(-rate·offset) is a straight line there
        return Mixture(
            rate_factor=rate_factor,
            event_factor=one,
            shift=0.0 * one,
            constant=slow * one,
            linear=(self.offset * below[2] - below[1]) * one,
            fast_weight=self._at_zero(lr) ** -power - slow - jnp.sum(rate_factor),
        )


@dataclass(frozen=True)
class ExponentialKernel:
    """G = 1 - exp(-rate · (steps + 1)): a change takes effect from its own step on.

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
