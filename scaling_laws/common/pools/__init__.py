"""Task pools: this process, processes of this machine, or a dask cluster."""

from scaling_laws.common.pools.backends import (
    AUTO,
    BACKENDS,
    HERE,
    Backend,
    Pool,
    PoolOptions,
    choose_backend,
    cores,
    open_pool,
    start_pool,
    usable_threads,
)
from scaling_laws.common.pools.pieces import PoolError, collect

__all__ = [
    "AUTO",
    "BACKENDS",
    "HERE",
    "Backend",
    "Pool",
    "PoolError",
    "PoolOptions",
    "choose_backend",
    "collect",
    "cores",
    "open_pool",
    "start_pool",
    "usable_threads",
]
