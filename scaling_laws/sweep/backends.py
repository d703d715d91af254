"""Where groups train: in this process, in processes of this machine, or on a dask cluster.

A backend is a way to call functions and to get futures; what a group leaves behind is files, so
all backends give the same runs, and one can take over from another.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from scaling_laws.errors import UsageError

__all__ = ["BACKENDS", "Backend", "Options", "Pool", "choose_backend", "cores", "open_pool"]

IDLE = 300.0  # seconds after which a process without work ends, should its sweep be gone


@dataclass(frozen=True)
class Options:
    """What a backend is opened with.

    Attributes:
        workers: processes, or None for one a core.
        scheduler: address of a running dask scheduler, or None for a cluster of this machine.
    """

    workers: int | None = None
    scheduler: str | None = None


class Pool(Protocol):
    """Somewhere to call functions.

    Attributes:
        workers: calls at the same time.
        leader: id of the process that its processes should not outlive, or 0.
        lost: what a call raises when its process has died.
    """

    workers: int
    leader: int
    lost: tuple[type[BaseException], ...]

    def submit(self, function: Callable[..., Any], *arguments: object) -> Future[Any]:
        """Call it somewhere, soon."""


@dataclass(frozen=True)
class Backend:
    """One way to train groups.

    Attributes:
        name: the word after ``--backend``.
        library: what must be installed for it, or None.
        open: makes the pool, and ends its processes.
        help: one line.
    """

    name: str
    library: str | None
    open: Callable[[Options], AbstractContextManager[Pool]]
    help: str


def cores() -> int:
    """CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def thread_environment(threads: int) -> dict[str, str]:
    """Variables that hold a process to a number of threads; read when JAX starts.

    With one thread XLA must also be told not to split products for a pool of threads: that is
    faster, and only then are the bits those of a process with more.
    """
    count = str(threads)
    found = {
        name: count
        for name in ("NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    }
    if threads == 1:
        flags = os.environ.get("XLA_FLAGS", "")
        found["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()
    return found


class _Here:
    """Calls at once, in this process."""

    workers = 1
    leader = 0
    lost: tuple[type[BaseException], ...] = ()

    def submit(self, function: Callable[..., Any], *arguments: object) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


@contextlib.contextmanager
def _open_here(options: Options) -> Iterator[Pool]:
    if options.workers not in (None, 1):
        raise UsageError(
            f"--workers {options.workers}: the local backend trains in this process; take "
            "--backend joblib"
        )
    yield _Here()


class _Processes:
    """Processes of joblib's pool, started again when one of them dies."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.leader = os.getpid()
        self.lost: tuple[type[BaseException], ...] = (BrokenProcessPool,)
        self._executor = self._start()

    def _start(self) -> Any:
        loky: Any = importlib.import_module("joblib.externals.loky")
        threads = max(1, cores() // self.workers)
        return loky.ProcessPoolExecutor(self.workers, timeout=IDLE, env=thread_environment(threads))

    def submit(self, function: Callable[..., Any], *arguments: object) -> Future[Any]:
        future: Future[Any]
        try:
            future = self._executor.submit(function, *arguments)
        except BrokenProcessPool:
            self.close()
            self._executor = self._start()
            future = self._executor.submit(function, *arguments)
        return future

    def close(self) -> None:
        self._executor.shutdown(wait=True, kill_workers=True)


@contextlib.contextmanager
def _open_processes(options: Options) -> Iterator[Pool]:
    pool = _Processes(options.workers or cores())
    try:
        yield pool
    finally:
        pool.close()


class _Cluster:
    """Workers of a dask scheduler; it gives a dead worker's call to another one by itself."""

    leader = 0  # dask's own processes look after that

    def __init__(self, client: Any, workers: int) -> None:
        distributed: Any = importlib.import_module("distributed")
        self.workers = workers
        self.lost: tuple[type[BaseException], ...] = (distributed.KilledWorker,)
        self._executor = client.get_executor(pure=False)

    def submit(self, function: Callable[..., Any], *arguments: object) -> Future[Any]:
        future: Future[Any] = self._executor.submit(function, *arguments)
        return future

    def close(self) -> None:
        self._executor.shutdown(wait=False)


@contextlib.contextmanager
def _open_cluster(options: Options) -> Iterator[Pool]:
    distributed: Any = importlib.import_module("distributed")
    with contextlib.ExitStack() as stack:
        if options.scheduler is None:
            count = options.workers or cores()
            cluster = distributed.LocalCluster(
                n_workers=count,
                threads_per_worker=1,
                processes=True,
                dashboard_address=None,
                memory_limit=0,  # the text is mapped, and a worker killed for it helps nobody
                env=thread_environment(max(1, cores() // count)),
            )
            client = stack.enter_context(distributed.Client(stack.enter_context(cluster)))
        else:
            try:
                client = stack.enter_context(distributed.Client(options.scheduler, timeout="10s"))
            except (OSError, ValueError) as error:
                raise UsageError(
                    f"--scheduler {options.scheduler}: no dask scheduler answers there ({error}); "
                    "start one with: dask scheduler"
                ) from error
            count = len(client.scheduler_info(n_workers=-1)["workers"])
            if not count:
                raise UsageError(
                    f"--scheduler {options.scheduler} has no worker; start some with: "
                    f"dask worker {options.scheduler} --nthreads 1"
                )
        pool = _Cluster(client, count)
        try:
            yield pool
        finally:
            pool.close()


BACKENDS: tuple[Backend, ...] = (
    Backend("local", None, _open_here, "this process, one group after the other"),
    Backend("joblib", "joblib", _open_processes, "processes of this machine"),
    Backend(
        "dask",
        "distributed",
        _open_cluster,
        "a dask cluster: --scheduler ADDRESS, whose workers see the same folders, or --workers N "
        "processes of this machine",
    ),
)


def choose_backend(name: str, groups: int, options: Options, *, on_cpu: bool) -> Backend:
    """The backend of that name; ``auto`` takes processes where they help.

    Args:
        name: of a backend, or ``auto``: joblib for several groups on several cores without an
            accelerator, else local.
        groups: how many there are.
        options: for the backend.
        on_cpu: whether this machine has no accelerator.

    Raises:
        UsageError: if its library is missing, or options do not fit it.
    """
    known = {backend.name: backend for backend in BACKENDS}
    if name == "auto":
        if options.scheduler is not None:
            name = "dask"
        elif options.workers is not None:
            name = "joblib" if options.workers > 1 else "local"
        else:
            several = on_cpu and groups > 1 and cores() > 1
            name = "joblib" if several and _installed("joblib") else "local"
    backend = known[name]
    if backend.library is not None and not _installed(backend.library):
        raise UsageError(
            f"--backend {name} needs {backend.library}; pip install 'scaling-laws[sweep]'"
        )
    if options.scheduler is not None and name != "dask":
        raise UsageError(f"--scheduler is for dask, and --backend {name} was asked for")
    if options.workers is not None and options.workers < 1:
        raise UsageError(f"--workers {options.workers}: 1 or more are needed")
    if options.workers is not None and options.scheduler is not None:
        raise UsageError(
            "--workers is for a cluster of this machine; that of --scheduler has its own"
        )
    return backend


def open_pool(backend: Backend, options: Options, groups: int) -> AbstractContextManager[Pool]:
    """Its pool, with no more processes than there are groups."""
    workers = options.workers
    if backend.name != "local" and options.scheduler is None:
        workers = max(1, min(workers or cores(), groups))
    return backend.open(Options(workers, options.scheduler))


def _installed(library: str) -> bool:
    return importlib.util.find_spec(library) is not None
