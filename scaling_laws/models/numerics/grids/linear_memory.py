"""The memory of a gain that is linear in the clock over each cell, with its derivative by hand.

memory(t) = Σ_b jump_b·K(τ_t - start_b) + slope_change_b·∫_0^{τ_t - start_b} K(x) dx
K(x) = (1 + speed·x)^-exponent
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["linear_memory"]

Array = Any


@jax.custom_jvp
def linear_memory(
    clock: Array,
    last: Array,
    start: Array,
    jump: Array,
    slope_change: Array,
    speed: Array,
    exponent: Array,
) -> Array:
    """Σ_b jump_b·K(clock - start_b) + slope_change_b·∫K over the cells b up to `last`.

    Args:
        clock: at each point: (P,).
        last: index of the cell that contains each point: (P,).
        start: clock at the first step of each cell: (K,).
        jump: by how much the gain falls from the end of a cell to the start of the next: (K,).
        slope_change: by how much its slope falls there: (K,).
        speed: of the memory: ().
        exponent: of the memory: ().

    Returns:
        Sums, (P,).
    """
    kept, integral, _, _ = _kernels(clock, last, start, speed, exponent)
    return kept @ jump + integral @ slope_change


@linear_memory.defjvp
def _linear_memory_jvp(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> Any:
    """By hand: every derivative is a product with the same few tables, (P, K).

    Without it, the derivative in each parameter is a table of its own.
    """
    clock, last, start, jump, slope_change, speed, exponent = primals
    by_clock, _, by_start, by_jump, by_slope_change, by_speed, by_exponent = tangents
    kept, integral, age, log_base = _kernels(clock, last, start, speed, exponent)
    derivative = -exponent * kept / (1.0 + speed * age)
    slope = speed * derivative * jump[None, :] + kept * slope_change[None, :]
    by_speed_only = (age * derivative) @ jump + ((age * kept - integral) @ slope_change) / speed
    log_moment = (
        log_base * log_base * _phi((1.0 - exponent) * log_base, (1.0 + speed * age) * kept) / speed
    )
    by_exponent_only = -((log_base * kept) @ jump + log_moment @ slope_change)
    tangent = (
        kept @ by_jump
        + integral @ by_slope_change
        + jnp.sum(slope, axis=1) * by_clock
        - slope @ by_start
        + by_speed_only * by_speed
        + by_exponent_only * by_exponent
    )
    return kept @ jump + integral @ slope_change, tangent


def _kernels(
    clock: Array, last: Array, start: Array, speed: Array, exponent: Array
) -> tuple[Array, Array, Array, Array]:
    """K and its integral, 0 after `last`, with the age and log(1 + speed·age): (P, K) each."""
    age = jnp.maximum(clock[:, None] - start[None, :], 0.0)
    past = jnp.arange(start.shape[0])[None, :] <= last[:, None]
    base = 1.0 + speed * age
    log_base = jnp.log(base)
    kept = jnp.where(past, jnp.exp(-exponent * log_base), 0.0)
    log_base = jnp.where(past, log_base, 0.0)
    integral = log_base * _expm1c((1.0 - exponent) * log_base, base * kept) / speed
    return kept, integral, age, log_base


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
