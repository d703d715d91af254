"""Options of every verb whose work can run in several processes. Imports nothing heavy."""

from __future__ import annotations

import argparse
from typing import Any

from scaling_laws.common import AUTO, BACKENDS, PoolOptions
from scaling_laws.interface.cli import common

__all__ = ["POOL_FLAGS", "add_pool_options", "given_pool"]

# options of pools, by the field of `PoolOptions` that they become
POOL_FLAGS = {"backend": "--backend", "workers": "--workers", "scheduler": "--scheduler"}


def add_pool_options(group: Any, automatic: str, scheduler: str = "") -> None:
    """Backend, workers and scheduler; each is None unless it is given.

    Args:
        group: of arguments, or the parser.
        automatic: what ``auto`` takes, in words.
        scheduler: what its workers must have, in words.
    """
    group.add_argument(
        "--backend",
        choices=(AUTO, *(each.name for each in BACKENDS)),
        help="; ".join(f"{each.name}: {each.help}" for each in BACKENDS)
        + f"; auto (default): {automatic}",
    )
    group.add_argument(
        "--workers", type=common.whole, metavar="N", help="processes (default: one a core)"
    )
    group.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help=f"of a dask scheduler, tcp://host:8786{scheduler}",
    )


def given_pool(arguments: argparse.Namespace) -> PoolOptions:
    """Where the work is to run."""
    return PoolOptions(arguments.backend or AUTO, arguments.workers, arguments.scheduler)
