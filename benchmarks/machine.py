"""What the numbers were measured on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version


def describe() -> str:
    """Machine, Python and the libraries that matter, in one line."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("jax", "numpy", "scipy"))
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU threads, "
        f"Python {platform.python_version()}, {packages}"
    )
