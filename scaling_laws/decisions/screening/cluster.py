"""Several processes, of one host or many, as one row of devices: JAX's own runtime.

Every process runs the same command. `join` must come before anything else asks JAX for devices.
"""

from __future__ import annotations

from dataclasses import dataclass

from scaling_laws.common import UsageError

__all__ = ["Cluster", "join"]

SILENT = 20  # seconds without a sign of life after which a process counts as lost
PATIENCE = 300  # seconds that processes wait for each other at the start


@dataclass(frozen=True)
class Cluster:
    """Which processes work together.

    Attributes:
        coordinator: ``HOST:PORT`` of process 0; or ``auto``: from Slurm, Open MPI or the cloud.
        processes: how many; None with ``auto``.
        process: number of this one; None with ``auto``.
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
                f"coordinator={self.coordinator!r} is not HOST:PORT, e.g. 10.0.0.1:9876, nor auto"
            )
        count, number = self.processes, self.process
        if count is None or number is None:
            raise UsageError(
                f"coordinator={self.coordinator} needs the number of processes and of this one: "
                "--processes N --process I, counted from 0; or take --coordinator auto"
            )
        if not 0 <= number < count:
            raise UsageError(f"process={number} must be from 0 to below processes={count}")


def join(cluster: Cluster) -> tuple[int, int]:
    """Wait for the other processes.

    Returns:
        The number of this process, and how many there are.

    Raises:
        UsageError: if they do not come together.
    """
    import jax

    auto = cluster.coordinator == "auto"
    try:
        jax.distributed.initialize(
            None if auto else cluster.coordinator,
            cluster.processes,
            cluster.process,
            initialization_timeout=PATIENCE,
            heartbeat_timeout_seconds=SILENT,
            shutdown_timeout_seconds=SILENT,
        )
    except (RuntimeError, ValueError) as error:
        where = "no cluster was recognised" if auto else f"nobody answers at {cluster.coordinator}"
        raise UsageError(
            f"the processes did not come together, {where}: {str(error).splitlines()[0]}"
        ) from error
    return jax.process_index(), jax.process_count()
