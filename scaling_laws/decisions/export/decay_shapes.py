"""Decay shapes of native schedules that several trainers share, as functions of arrays.

A rate is peak·u + end·v.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["DECAYS", "after_warmup", "cosine", "linear", "one_minus_sqrt", "polynomial"]

Array = NDArray[np.float64]
Curve = Callable[[Array], Array]


def linear(progress: Array) -> Array:
    """From 1 to 0 on a straight line: progress (steps,) from 0 to 1 -> (steps,)."""
    return 1.0 - progress


def cosine(progress: Array) -> Array:
    """From 1 to 0 along half a cosine."""
    return 0.5 * (1.0 + np.cos(np.pi * progress))


def one_minus_sqrt(progress: Array) -> Array:
    """From 1 to 0 as 1 minus the square root of the progress."""
    return 1.0 - np.sqrt(progress)


def polynomial(power: float) -> Curve:
    """From 1 to 0 as a power of one minus the progress."""

    def curve(progress: Array) -> Array:
        return np.asarray((1.0 - progress) ** power)

    return curve


DECAYS: dict[str, Curve] = {"linear": linear, "cosine": cosine, "sqrt": one_minus_sqrt}


def after_warmup(
    rising: NDArray[np.bool_], ramp: Array, curve: Array, *, ramp_end: bool = False
) -> tuple[Array, Array]:
    """Prepend a warm-up to a decay from peak to end.

    Args:
        rising: which steps belong to the warm-up: (steps,).
        ramp: share of the peak during the warm-up: (steps,).
        curve: position between end, 0, and peak, 1, after it: (steps,).
        ramp_end: whether the warm-up starts from `end` instead of 0.

    Returns:
        u and v, each (steps,).
    """
    zero = np.zeros_like(curve)
    u = np.where(rising, ramp, curve)
    v = np.where(rising, 1.0 - ramp if ramp_end else zero, 1.0 - curve)
    return u, v
