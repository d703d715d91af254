"""Strict numerics for every test; the public curves beside the project, where they are."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest
from hypothesis import settings

from scaling_laws.common import use_compile_cache

# CI repeats the same examples; a run at a desk looks for new ones
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

ROOT = Path(__file__).resolve().parents[1]
MAPS = Path("/proc/self/maps")  # Linux only; elsewhere there is no such limit
MANY_MAPS = 25_000


def pytest_configure() -> None:
    """What one worker compiled, the others read, in this run and in the next.

    Most of the time of a first run is compilation, a third of it optimisations that hardly any test
    is long enough to profit from.
    """
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # for the processes that tests start
    jax.config.update("jax_disable_most_optimizations", True)
    if use_compile_cache() is not None:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
        jax.config.update("jax_compilation_cache_max_size", -1)  # thousands of small ones


@pytest.fixture(autouse=True, scope="session")
def strict_numerics() -> Iterator[None]:
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture(autouse=True)
def few_compiled_programs() -> Iterator[None]:
    """Compiled programs map memory, and a process may map 65,530 pieces: drop them in time."""
    yield
    if MAPS.exists():
        with MAPS.open("rb") as lines:
            if sum(1 for _ in lines) > MANY_MAPS:
                jax.clear_caches()
                gc.collect()


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the public loss curves of ../shared/data are not beside this checkout")
    return folder
