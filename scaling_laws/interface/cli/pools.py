"""Options of the verbs that can work in several processes. Imports nothing heavy."""

from __future__ import annotations

import argparse
from typing import Any

from scaling_laws.common import AUTO, BACKENDS, PoolOptions
from scaling_laws.interface.cli import common

__all__ = ["POOL_FLAGS", "add_pool_options", "given_pool"]

# command-line option per field of `PoolOptions`
POOL_FLAGS = {"backend": "--backend", "workers": "--workers", "scheduler": "--scheduler"}


def add_pool_options(group: Any, automatic: str, scheduler: str = "") -> None:
    """Backend, workers and scheduler; None unless given.

    Args:
        group: argument group, or the parser.
        automatic: which backend ``auto`` chooses, for the help.
        scheduler: what the workers of a scheduler need, for the help.
    """
    group.add_argument(
        "--backend",
        choices=(AUTO, *(backend.name for backend in BACKENDS)),
        help="; ".join(f"{backend.name}: {backend.help}" for backend in BACKENDS)
        + f"; auto (default): {automatic}",
    )
    group.add_argument(
        "--workers",
        type=common.whole,
        metavar="N",
        help="number of processes (default: one per core)",
    )
    group.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help=f"address of a dask scheduler, tcp://host:8786{scheduler}",
    )


def given_pool(arguments: argparse.Namespace) -> PoolOptions:
    """Where to run the work."""
    return PoolOptions(arguments.backend or AUTO, arguments.workers, arguments.scheduler)
