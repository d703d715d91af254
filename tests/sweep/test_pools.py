"""Several processes give the same runs to the last bit, and lose nothing when one is killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scaling_laws.common.pools import BACKENDS, PoolOptions, open_pool
from scaling_laws.proxy.sweep.sweep_training import prepare_sweep, train_sweep
from tests.sweep.plans import lasting, steps_done, write_plan

BY_NAME = {backend.name: backend for backend in BACKENDS}


class Assassin(threading.Thread):
    """Kills the first process of a pool once so many updates are reported."""

    def __init__(self, work: Path, steps: int, victims: Callable[[], list[int]]) -> None:
        super().__init__(daemon=True)
        self.killed: list[int] = []
        self._work, self._steps, self._victims = work, steps, victims

    def run(self) -> None:
        while steps_done(self._work) < self._steps:
            time.sleep(0.01)
        victim = self._victims()[0]
        os.kill(victim, signal.SIGKILL)
        self.killed.append(victim)


def dask_processes(pool: Any) -> list[int]:
    import distributed

    cluster = distributed.default_client().cluster
    return [nanny.pid for nanny in cluster.workers.values()]


def joblib_processes(pool: Any) -> list[int]:
    return list(pool._executor._processes)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "processes"), [("joblib", joblib_processes), ("dask", dask_processes)]
)
def test_a_worker_killed_and_nothing_lost(
    tmp_path: Path,
    uninterrupted: dict[str, Any],
    name: str,
    processes: Callable[[Any], list[int]],
) -> None:
    pytest.importorskip("distributed" if name == "dask" else name)
    sweep = prepare_sweep(write_plan(tmp_path))
    with open_pool(BY_NAME[name], PoolOptions(workers=2), len(sweep.groups)) as pool:
        assert pool.workers == 2
        assassin = Assassin(sweep.work, 1000, lambda: processes(pool))
        assassin.start()
        before = processes(pool)
        outcomes = train_sweep(sweep, pool, checkpoint_every=0.2)
        assassin.join(10)
        assert assassin.killed and (name == "joblib" or assassin.killed[0] in before)
    # skipped: ended in the moment in which its pool broke, before it could say so
    assert {outcome.state for outcome in outcomes.values()} <= {"finished", "skipped"}, outcomes
    assert lasting(tmp_path / "runs") == uninterrupted
