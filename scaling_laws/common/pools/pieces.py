"""Tasks submitted to a pool, and their results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from typing import Any, TypeVar

from scaling_laws.common.errors import ScalingLawsError
from scaling_laws.common.pools.backends import Pool
from scaling_laws.common.progress import report_progress

__all__ = ["PoolError", "collect"]

TRIES = 3  # attempts per task whose process dies
AHEAD = 2  # tasks submitted per process, so that none waits for its next one

Result = TypeVar("Result")


class PoolError(ScalingLawsError, RuntimeError):
    """The processes of a pool have died."""


def collect(
    pool: Pool,
    function: Callable[..., Result],
    pieces: Sequence[tuple[Any, ...]],
    what: str,
) -> list[Result]:
    """Call a function for every task in a pool; a task whose process dies is rerun.

    Args:
        pool: the pool.
        function: called with the arguments of a task; it must not have side effects.
        pieces: arguments per call.
        what: label for messages and for progress, which is reported after every task.

    Returns:
        The return values, in the order of the tasks.

    Raises:
        PoolError: if the process of a task has died `TRIES` times, or the scheduler has stopped.
        ScalingLawsError: the first error of a call; the other tasks are dropped.
    """
    results: dict[int, Result] = {}
    tries = [0] * len(pieces)
    waiting = deque(range(len(pieces)))
    running: dict[Future[Any], int] = {}
    try:
        while len(results) < len(pieces):
            while waiting and len(running) < AHEAD * pool.workers:
                index = waiting.popleft()
                running[pool.submit(function, *pieces[index])] = index
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in [
                future_ for future_ in running if future_ in done
            ]:  # not in the set's order
                index = running.pop(future)
                try:
                    results[index] = future.result()
                except pool.lost as error:
                    tries[index] += 1
                    if tries[index] == TRIES:
                        raise PoolError(
                            f"{what}, piece {index + 1} of {len(pieces)}: its process died {TRIES} "
                            f"times ({type(error).__name__}); check the memory, or use fewer "
                            "--workers"
                        ) from error
                    waiting.appendleft(index)
                except CancelledError as error:
                    raise PoolError(
                        f"{what}, piece {index + 1} of {len(pieces)}: the dask scheduler dropped "
                        "it or has stopped; restart it, or use --backend local"
                    ) from error
                else:
                    report_progress(what, len(results), len(pieces))
    finally:
        for future in running:
            future.cancel()
    return [results[index] for index in range(len(pieces))]
