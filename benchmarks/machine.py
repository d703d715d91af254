"""Machine of a measurement, and timing."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any


def describe() -> str:
    """Machine, Python and the libraries that matter, in one line."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("jax", "numpy", "scipy"))
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU threads, "
        f"Python {platform.python_version()}, {packages}"
    )


def best_of(function: Callable[[], Any], repeats: int = 3) -> float:
    """Seconds of the fastest of several calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)
