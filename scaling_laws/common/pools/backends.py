"""Backends that run tasks: this process, processes of this machine, or a dask cluster.

A backend calls functions and returns futures. Work is divided into tasks whose results do not
depend on where they run, so that all backends give the same results and are interchangeable.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Protocol

from scaling_laws._version import __version__
from scaling_laws.common.errors import UsageError, find_by_name

__all__ = [
    "BACKENDS",
    "HERE",
    "Backend",
    "Pool",
    "PoolOptions",
    "choose_backend",
    "cores",
    "open_pool",
    "start_pool",
]

AUTO = "auto"
LARGE = "distributed.admin.large-graph-warning-threshold"  # size of arguments that warns
IDLE = 300.0  # seconds after which an idle process ends, in case its leader has died


@dataclass(frozen=True)
class PoolOptions:
    """Backend and resources for a pool.

    Attributes:
        backend: the name of one of `BACKENDS`; ``"auto"``: dask if there is a scheduler, joblib if
            there are several workers, else as decided by `choose_backend`.
        workers: processes of this machine, or None for one per core.
        scheduler: address of a running dask scheduler, or None for a cluster of this machine.
    """

    backend: str = AUTO
    workers: int | None = None
    scheduler: str | None = None


class Pool(Protocol):
    """A pool of workers that call functions.

    Attributes:
        workers: number of concurrent calls.
        here: whether calls run in this process, so that arguments need not be picklable.
        leader: id of the process that the workers should not outlive, or 0.
        lost: exceptions of a call whose process has died.
    """

    workers: int
    here: bool
    leader: int
    lost: tuple[type[BaseException], ...]

    def submit(self, function: Callable[..., Any], *arguments: object) -> Future[Any]:
        """Schedule a call."""


@dataclass(frozen=True)
class Backend:
    """A way to run tasks.

    Attributes:
        name: value of ``--backend``.
        library: the required package, or None.
        open: context manager that creates the pool and ends its processes.
        help: one line.
    """

    name: str
    library: str | None
    open: Callable[[PoolOptions], AbstractContextManager[Pool]]
    help: str


def cores() -> int:
    """CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def usable_threads() -> int:
    """Threads that a computation in this process may use: ``OMP_NUM_THREADS``, or all its CPUs."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores(), int(given)) if given.isdecimal() and int(given) > 0 else cores()


def thread_environment(threads: int) -> dict[str, str]:
    """Environment variables that limit a process to a number of threads; read when JAX starts.

    With one thread, XLA must also be prevented from splitting products for a thread pool: this is
    faster, and only then are results bit-identical to those of a process with more threads.
    """
    count = str(threads)
    variables = {
        name: count
        for name in ("NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    }
    if threads == 1:
        flags = os.environ.get("XLA_FLAGS", "")
        variables["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()
    return variables


class _Here:
    """Immediate calls in this process."""

    workers = 1
    here = True
    leader = 0
    lost: tuple[type[BaseException], ...] = ()

    def submit(self, function: Callable[..., Any], *arguments: object) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


HERE: Pool = _Here()  # stateless


@contextlib.contextmanager
def _open_here(options: PoolOptions) -> Iterator[Pool]:
    if options.workers not in (None, 1):
        raise UsageError(
            f"--workers {options.workers}: the local backend runs in this process only; use "
            "--backend joblib"
        )
    yield HERE


class _Processes:
    """Processes of joblib's pool, restarted when one of them dies."""

    here = False

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
def _open_processes(options: PoolOptions) -> Iterator[Pool]:
    pool = _Processes(options.workers or cores())
    try:
        yield pool
    finally:
        pool.close()


class _Cluster:
    """Workers of a dask scheduler, which itself reassigns the calls of a dead worker."""

    here = False
    leader = 0  # dask ends its workers itself

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
def _quiet(name: str) -> Iterator[None]:
    """Suppress the log lines of one logger."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def _open_cluster(options: PoolOptions) -> Iterator[Pool]:
    dask: Any = importlib.import_module("dask")
    distributed: Any = importlib.import_module("distributed")
    with contextlib.ExitStack() as stack:
        # the arguments of a task are sent with it and dropped with it: no warning needed
        stack.enter_context(dask.config.set({LARGE: "1TB"}))
        stack.enter_context(_quiet("distributed.client"))  # `collect` reports a lost scheduler
        if options.scheduler is None:
            count = options.workers or cores()
            try:
                cluster = distributed.LocalCluster(
                    n_workers=count,
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address=None,
                    memory_limit=0,  # memory-mapped texts would count towards the limit
                    env=thread_environment(max(1, cores() // count)),
                )
            except RuntimeError as error:  # e.g. a script without a __main__ guard
                raise UsageError(
                    f"--backend dask: its processes do not start ({error}); in a script, call this "
                    "under if __name__ == '__main__', or use --backend joblib"
                ) from error
            client = stack.enter_context(distributed.Client(stack.enter_context(cluster)))
        else:
            try:
                client = stack.enter_context(distributed.Client(options.scheduler, timeout="10s"))
            except (OSError, ValueError) as error:
                raise UsageError(
                    f"--scheduler {options.scheduler}: no dask scheduler responds there ({error}); "
                    "start one with: dask scheduler"
                ) from error
            count = len(client.scheduler_info(n_workers=-1)["workers"])
            if not count:
                raise UsageError(
                    f"--scheduler {options.scheduler} has no workers; start some with: "
                    f"dask worker {options.scheduler} --nthreads 1"
                )
            _check_workers(client, options.scheduler)
        pool = _Cluster(client, count)
        try:
            yield pool
        finally:
            pool.close()


def _versions() -> dict[str, str]:
    """Versions of the packages that determine the bits of a result."""
    from importlib.metadata import version

    versions = {"scaling-laws": __version__}
    return versions | {library: version(library) for library in ("jax", "jaxlib", "numpy")}


def _check_workers(client: Any, scheduler: str) -> None:
    """Reject workers that cannot run a task or would give different results."""
    local_versions = _versions()
    try:
        worker_versions: dict[str, dict[str, str]] = client.run(_versions)
    except ImportError as error:
        raise UsageError(
            f"--scheduler {scheduler}: a worker cannot import scaling_laws ({error}); install "
            f"scaling-laws {__version__} where its workers run"
        ) from error
    for worker, remote in worker_versions.items():
        for library, required in local_versions.items():
            if remote[library] != required:
                raise UsageError(
                    f"--scheduler {scheduler}: worker {worker} has {library} {remote[library]} and "
                    f"this machine {required}, so that results may differ; install {required} there"
                )


BACKENDS: tuple[Backend, ...] = (
    Backend("local", None, _open_here, "this process, one task after the other"),
    Backend("joblib", "joblib", _open_processes, "processes of this machine"),
    Backend(
        "dask",
        "distributed",
        _open_cluster,
        "the workers of --scheduler ADDRESS, or --workers N processes of this machine",
    ),
)


def choose_backend(options: PoolOptions, pieces: int, *, on_cpu: bool = False) -> Backend:
    """The backend for some options; ``auto`` uses processes where they are faster.

    Args:
        options: of the pool. ``auto`` without workers or a scheduler is joblib for several tasks on
            several cores if `on_cpu`, else local.
        pieces: number of tasks.
        on_cpu: whether tasks are long and this machine has no accelerator.

    Raises:
        UsageError: if the name is unknown, its library is missing, or options are not valid for it.
    """
    name = options.backend
    if name == AUTO:
        if options.scheduler is not None:
            name = "dask"
        elif options.workers is not None:
            name = "joblib" if options.workers > 1 else "local"
        else:
            several = on_cpu and pieces > 1 and cores() > 1
            name = "joblib" if several and _installed("joblib") else "local"
    backend = find_by_name("backend", name, BACKENDS, UsageError)
    if backend.library is not None and not _installed(backend.library):
        raise UsageError(
            f"--backend {name} needs {backend.library}; pip install 'scaling-laws[sweep]'"
        )
    if options.scheduler is not None and name != "dask":
        raise UsageError(f"--scheduler requires --backend dask, not --backend {name}")
    if options.workers is not None and options.workers < 1:
        raise UsageError(f"--workers {options.workers} must be >= 1")
    if options.workers is not None and options.scheduler is not None:
        raise UsageError(
            "--workers is for a cluster of this machine; the one at --scheduler has its own workers"
        )
    return backend


def open_pool(backend: Backend, options: PoolOptions, pieces: int) -> AbstractContextManager[Pool]:
    """The pool of a backend, with at most as many processes as there are tasks."""
    workers = options.workers
    if backend.name != "local" and options.scheduler is None:
        workers = max(1, min(workers or cores(), pieces))
    return backend.open(replace(options, workers=workers))


def start_pool(where: str | PoolOptions, pieces: int) -> AbstractContextManager[Pool]:
    """The pool for the name of a backend, or for options.

    Raises:
        UsageError: as `choose_backend`; and on entering, if no scheduler responds or its workers
            cannot run the tasks.
    """
    options = PoolOptions(where) if isinstance(where, str) else where
    return open_pool(choose_backend(options, pieces), options, pieces)


def _installed(library: str) -> bool:
    return importlib.util.find_spec(library) is not None
