"""Compiled programs are kept on disk: a second process need not compile them again.

JAX compiles a law once for each shape of data, which takes seconds; its persistent cache makes that
milliseconds in every later process. It is put into the platform's cache folder, bounded in size
(the least recently used programs are dropped, under a lock that all processes share), and keyed on
the processor's features, because programs compiled for one processor may crash on another that
shares the folder. A cache that the caller has configured in JAX is left as it is.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import time
import warnings
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["COMPILE_CACHE_VARIABLE", "MAX_BYTES", "compile_cache_folder", "use_compile_cache"]

COMPILE_CACHE_VARIABLE = "SCALING_LAWS_COMPILE_CACHE"  # a folder, or "off"
MAX_BYTES = 2**29  # some thousand programs
STALE = 60.0  # seconds after which an empty entry is not one that is just being written
FASTEST = 0.05  # seconds of compilation below which a program is not worth a file


def compile_cache_folder() -> Path | None:
    """Where compiled programs are kept; None if that is switched off."""
    chosen = os.environ.get(COMPILE_CACHE_VARIABLE, "")
    if chosen.lower() == "off":
        return None
    if chosen:
        return Path(chosen) / _processor()
    from platformdirs import user_cache_path

    return user_cache_path("scaling-laws") / "compiled" / _processor()


@cache
def use_compile_cache() -> Path | None:
    """Switch the cache on for this process, unless it is off or the caller has one; once.

    Returns:
        The folder in use, or None.
    """
    import jax

    config: Any = jax.config  # its attributes and methods are untyped
    folder = compile_cache_folder()
    if folder is None or config.jax_compilation_cache_dir is not None:
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # a home that cannot be written to, as in some containers
        return None
    if not os.access(folder, os.W_OK):
        return None
    _drop_empty(folder)
    # another process dropped the entry, or is just writing it: this one compiles, which is no news
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache entry")
    config.update("jax_compilation_cache_dir", str(folder))
    config.update("jax_compilation_cache_max_size", MAX_BYTES)
    config.update("jax_persistent_cache_min_compile_time_secs", FASTEST)
    return folder


def _drop_empty(folder: Path) -> None:
    """Remove entries of processes that were killed before they wrote: JAX would warn of each."""
    for entry in folder.glob("*-cache"):
        with contextlib.suppress(OSError):  # another process may be faster
            status = entry.stat()
            if status.st_size == 0 and time.time() - status.st_mtime > STALE:
                entry.unlink()


def _processor() -> str:
    """A name for processors that can run the same programs."""
    features = platform.processor()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            features = next(
                (line for line in lines if line.startswith(("flags", "Features"))), features
            )
    except OSError:  # not Linux
        pass
    digest = hashlib.sha256(features.encode()).hexdigest()[:12]
    return f"{platform.machine()}-{digest}"
