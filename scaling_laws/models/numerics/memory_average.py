"""What a run remembers of a gain, on a clock that a law works out itself.

    average(t) = Σ_{k<=t} gain_k·[K(τ_t - τ_k) - K(τ_t - τ_{k-1})]
    K(x) = (1 + speed·x)^-exponent

with τ the sum of the ticks. It is the gain's newest value less a memory of its changes (summation
by parts), Σ (gain_k - gain_{k-1})·[1 - K(τ_t - τ_{k-1})], and so one formula serves schedules that
fall and schedules that rise.

Over single steps the engine of `memory.py` is exact and linear in time. Over stretches the gain is
a straight line in τ, and what a line leaves at its two ends is K and its integral. Cells of two
nodes have sums of their own (`pairs.py`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from scaling_laws.models.numerics.gauss_cells import Pairs
from scaling_laws.models.numerics.history import History
from scaling_laws.models.numerics.memory import PowerKernel, annealed_drop
from scaling_laws.models.numerics.quadratic_cells import Stretches

__all__ = ["clock_and_average", "sums_at_points"]

Array = Any
OCTAVES_SPARED = 8  # a clock may be this much less even than the sum of the learning rate


def clock_and_average(
    history: History, tick: Array, gain: Array, speed: Array, exponent: Array
) -> tuple[Array, Array]:
    """The clock and the remembered gain at every point of a history.

    Args:
        history: with stretches.
        tick: what the clock gains by a step at each node, >= 0: (K, J).
        gain: at each node: (K, J).
        speed: of the memory, > 0.
        exponent: of the memory, > 0.

    Returns:
        Clock and average, (points,) each.
    """
    assert history.stretches is not None, "build the history with stretches"
    if isinstance(history.stretches, Pairs):
        return history.stretches.clock_and_average(tick, gain, speed, exponent)
    if history.stretches.points is None:
        return _of_steps(history, history.stretches, tick[:, 0], gain[:, 0], speed, exponent)
    return _of_stretches(history, tick, gain, speed, exponent)


def sums_at_points(history: History, row: Array) -> Array:
    """What a row sums to at every point of a history, its own step included.

    Args:
        history: with stretches.
        row: what a step adds at each node: (K, J).

    Returns:
        Sums, (points,).
    """
    assert history.stretches is not None, "build the history with stretches"
    if isinstance(history.stretches, Pairs):
        return jnp.sum(history.stretches.passed(row), keepdims=True)
    weight, points = history.stretches.weight, history.stretches.points
    passed = jnp.sum(weight * row, axis=1)
    end = jnp.cumsum(passed)
    if points is None:
        table, wanted = history.changes.step.shape, history.step.shape[1]
        return end.reshape(table)[:, table[1] - wanted :].reshape(-1)
    since = jnp.sum(points.weight * row[points.stretch], axis=1)
    return (end - passed)[points.stretch] + since


def _of_steps(
    history: History, single: Stretches, tick: Array, gain: Array, speed: Array, exponent: Array
) -> tuple[Array, Array]:
    """Every step, or cell of steps, an event; points are all steps, or the last one."""
    points = history.step.shape[1]
    tick = tick * single.weight[:, 0]
    clock = jnp.cumsum(tick)
    table = history.changes.step.shape
    fall = jnp.concatenate([-gain[:1], gain[:-1] - gain[1:]])
    # steps that only fill up a block change nothing
    fall = jnp.where(single.weight[:, 0] > 0, fall, 0.0)
    ticking = clock.reshape(table)
    octaves = 2 * history.changes.octaves + OCTAVES_SPARED
    own = replace(
        history,
        clock=ticking[:, table[1] - points :],
        changes=replace(
            history.changes,
            clock=ticking,
            lr=tick.reshape(table),
            weight=fall.reshape(table),
            shortest=clock[-1] * 2.0**-octaves,
            octaves=octaves,
        ),
    )
    kernel = PowerKernel(
        scale=speed,
        exponent=exponent,
        level_exponent=jnp.zeros_like(exponent),
        lr_floor=jnp.ones_like(speed),
    )
    return own.clock.reshape(-1), -annealed_drop(own, kernel)


def _of_stretches(
    history: History, tick: Array, gain: Array, speed: Array, exponent: Array
) -> tuple[Array, Array]:
    assert isinstance(history.stretches, Stretches) and history.stretches.points is not None
    weight, points = history.stretches.weight, history.stretches.points
    passed = jnp.sum(weight * tick, axis=1)  # (K,)
    some = passed > 0
    safe = jnp.where(some, passed, 1.0)
    end = jnp.cumsum(passed)
    start = end - passed
    steps = jnp.sum(weight, axis=1)
    inside = jnp.where(steps > 1.0, (steps - 1.0) / jnp.maximum(steps, 1.0), 1.0)
    # a line with the mean of the gain over the clock, through the change from first to last step
    mean = jnp.where(some, jnp.sum(weight * tick * gain, axis=1) / safe, gain[:, -1])
    slope = jnp.where(some & (steps > 1.0), (gain[:, -1] - gain[:, 0]) / (safe * inside), 0.0)
    low, high = mean - 0.5 * slope * passed, mean + 0.5 * slope * passed
    jump = jnp.concatenate([jnp.zeros_like(high[:1]), high[:-1]]) - low
    bend = jnp.concatenate([jnp.zeros_like(slope[:1]), slope[:-1]]) - slope
    since = jnp.sum(points.weight * tick[points.stretch], axis=1)
    clock = start[points.stretch] + since
    now = low[points.stretch] + slope[points.stretch] * since
    return clock, now + _past(clock, points.stretch, start, jump, bend, speed, exponent)


@jax.custom_jvp
def _past(
    clock: Array, last: Array, start: Array, jump: Array, bend: Array, speed: Array, exponent: Array
) -> Array:
    """Σ_b jump_b·K(clock - start_b) + bend_b·∫K over the stretches b up to `last`: (P,)."""
    kept, summed, _, _ = _kernels(clock, last, start, speed, exponent)
    return kept @ jump + summed @ bend


@_past.defjvp
def _past_and_slope(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> Any:
    """By hand: every derivative is a product with the same few tables, (P, K).

    Left to itself, the derivative in each parameter is a table of its own.
    """
    clock, last, start, jump, bend, speed, exponent = primals
    by_clock, _, by_start, by_jump, by_bend, by_speed, by_exponent = tangents
    kept, summed, age, long = _kernels(clock, last, start, speed, exponent)
    falling = -exponent * kept / (1.0 + speed * age)
    slope = speed * falling * jump[None, :] + kept * bend[None, :]
    by_speed_only = (age * falling) @ jump + ((age * kept - summed) @ bend) / speed
    remaining = long * long * _phi((1.0 - exponent) * long, (1.0 + speed * age) * kept) / speed
    by_exponent_only = -((long * kept) @ jump + remaining @ bend)
    tangent = (
        kept @ by_jump
        + summed @ by_bend
        + jnp.sum(slope, axis=1) * by_clock
        - slope @ by_start
        + by_speed_only * by_speed
        + by_exponent_only * by_exponent
    )
    return kept @ jump + summed @ bend, tangent


def _kernels(
    clock: Array, last: Array, start: Array, speed: Array, exponent: Array
) -> tuple[Array, Array, Array, Array]:
    """K and its integral, 0 after `last`, with the age and log(1 + speed·age): (P, K) each."""
    age = jnp.maximum(clock[:, None] - start[None, :], 0.0)
    past = jnp.arange(start.shape[0])[None, :] <= last[:, None]
    base = 1.0 + speed * age
    long = jnp.log(base)
    kept = jnp.where(past, jnp.exp(-exponent * long), 0.0)
    long = jnp.where(past, long, 0.0)
    summed = long * _expm1c((1.0 - exponent) * long, base * kept) / speed
    return kept, summed, age, long


def _expm1c(x: Array, exp: Array) -> Array:
    """(exp(x) - 1)/x with exp(x) at hand, smooth at 0."""
    small = jnp.abs(x) < 1e-5
    safe = jnp.where(small, 1.0, x)
    return jnp.where(small, 1.0 + 0.5 * x * (1.0 + x / 3.0), (exp - 1.0) / safe)


def _phi(x: Array, exp: Array) -> Array:
    """∫ s·exp(x s) ds over 0..1 = (exp(x)(x - 1) + 1)/x² with exp(x) at hand, smooth at 0."""
    small = jnp.abs(x) < 1e-2
    safe = jnp.where(small, 1.0, x)
    series = 0.5 + x * (1.0 / 3.0 + x * (0.125 + x * (1.0 / 30.0 + x / 144.0)))
    return jnp.where(small, series, (exp * (safe - 1.0) + 1.0) / (safe * safe))
