"""float64 for clocks and fits, switched on locally: importing changes no JAX setting.

The first call also switches on the cache of compiled programs; see `common/compile_cache.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import jax

from scaling_laws.common import use_compile_cache

__all__ = ["in_float64"]

P = ParamSpec("P")
R = TypeVar("R")


def in_float64(function: Callable[P, R]) -> Callable[P, R]:
    """Run `function` with 64-bit JAX arrays, whatever the caller's setting."""

    @wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        use_compile_cache()
        with jax.enable_x64(True):
            return function(*args, **kwargs)

    return wrapped
