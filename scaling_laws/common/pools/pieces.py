"""Pieces of work given to a pool, and their results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from typing import Any, TypeVar

from scaling_laws.common.errors import ScalingLawsError
from scaling_laws.common.pools.backends import Pool
from scaling_laws.common.progress import report_progress

__all__ = ["PoolError", "collect"]

TRIES = 3  # that a piece gets whose process dies
AHEAD = 2  # pieces given to a pool for each of its processes: none waits for its next one

Result = TypeVar("Result")


class PoolError(ScalingLawsError, RuntimeError):
    """The processes that work was given to are gone."""


def collect(
    pool: Pool,
    function: Callable[..., Result],
    pieces: Sequence[tuple[Any, ...]],
    what: str,
) -> list[Result]:
    """Call a function for every piece of work, somewhere; a piece whose process dies is run again.

    Args:
        pool: where.
        function: called with the values of a piece. It leaves nothing behind but what it returns.
        pieces: arguments of each call.
        what: a piece does, for messages and for progress, which is reported after each.

    Returns:
        What the function returned for each piece, in order.

    Raises:
        PoolError: if the process of a piece has died `TRIES` times, or the scheduler is gone.
        ScalingLawsError: what a call raised, the first that is seen; the others are dropped.
    """
    found: dict[int, Result] = {}
    tries = [0] * len(pieces)
    waiting = deque(range(len(pieces)))
    running: dict[Future[Any], int] = {}
    try:
        while len(found) < len(pieces):
            while waiting and len(running) < AHEAD * pool.workers:
                place = waiting.popleft()
                running[pool.submit(function, *pieces[place])] = place
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in [each for each in running if each in done]:  # not in the set's order
                place = running.pop(future)
                try:
                    found[place] = future.result()
                except pool.lost as error:
                    tries[place] += 1
                    if tries[place] == TRIES:
                        raise PoolError(
                            f"{what}, piece {place + 1} of {len(pieces)}: its process died {TRIES} "
                            f"times ({type(error).__name__}); look for a lack of memory, or take "
                            "fewer --workers"
                        ) from error
                    waiting.appendleft(place)
                except CancelledError as error:
                    raise PoolError(
                        f"{what}, piece {place + 1} of {len(pieces)}: the dask scheduler dropped "
                        "it or is gone; start it again, or take --backend local"
                    ) from error
                else:
                    report_progress(what, len(found), len(pieces))
    finally:
        for future in running:
            future.cancel()
    return [found[place] for place in range(len(pieces))]
