"""Several processes, on one or more hosts, sharing one mesh of devices (JAX's distributed runtime).

Every process runs the same command. `join` must be called before JAX is asked for devices.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from scaling_laws.common import UsageError

__all__ = ["Cluster", "join"]

HEARTBEAT_TIMEOUT = 20  # seconds without a heartbeat after which a process counts as lost
START_TIMEOUT = 300  # seconds that processes wait for each other at the start


@dataclass(frozen=True)
class Cluster:
    """The processes that share a screen.

    Attributes:
        coordinator: ``HOST:PORT`` of process 0; or ``auto``: from Slurm, Open MPI or the cloud.
        processes: their number; None with ``auto``.
        process: index of this one, from 0; None with ``auto``.
    """

    coordinator: str
    processes: int | None = None
    process: int | None = None

    def __post_init__(self) -> None:
        if self.coordinator == "auto":
            return
        host, _, port = self.coordinator.rpartition(":")
        if not host or not port.isdigit():
            raise UsageError(
                f"coordinator={self.coordinator!r} is not HOST:PORT, e.g. 10.0.0.1:9876, or auto"
            )
        count, number = self.processes, self.process
        if count is None or number is None:
            raise UsageError(
                f"coordinator={self.coordinator} needs the number of processes and the index of "
                "this one: --processes N --process I, from 0; or use --coordinator auto"
            )
        if not 0 <= number < count:
            raise UsageError(f"process={number} must be from 0 to below processes={count}")


def _bind_address(coordinator: str) -> str | None:
    """Where process 0 listens: on the loopback interface if the others are told to connect there.

    Otherwise None, JAX's default, all interfaces: a name by which other hosts reach this one need
    not be that of an interface.
    """
    host = coordinator.rpartition(":")[0].strip("[]")
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # the name of a host
        loopback = False
    return coordinator if loopback else None


def join(cluster: Cluster) -> tuple[int, int]:
    """Connect to the other processes.

    Returns:
        The index of this process, and the number of processes.

    Raises:
        UsageError: if the process group cannot be initialised.
    """
    import jax

    auto = cluster.coordinator == "auto"
    try:
        jax.distributed.initialize(
            None if auto else cluster.coordinator,
            cluster.processes,
            cluster.process,
            coordinator_bind_address=_bind_address(cluster.coordinator),
            initialization_timeout=START_TIMEOUT,
            heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT,
            shutdown_timeout_seconds=HEARTBEAT_TIMEOUT,
        )
    except (RuntimeError, ValueError) as error:
        cause = "no cluster was recognised" if auto else f"no response from {cluster.coordinator}"
        raise UsageError(
            f"could not initialise the process group: {cause} ({str(error).splitlines()[0]})"
        ) from error
    return jax.process_index(), jax.process_count()
