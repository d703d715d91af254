"""Kill -9 at random moments, then go on: the curves are those of a sweep without a break."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.sweep.plans import call_json, lasting, start, steps_done, write_plan

TOTAL = 2 * 3000 + 2 * 2500  # updates that the progress of all runs adds up to
FAST = ("--no-probe", "--checkpoint-every", "0.2")


def kill_after(work: Path, steps: int, *words: object) -> None:
    """Start a sweep and kill its process, and no other, once so many updates are reported."""
    process = start(*words)
    try:
        while steps_done(work) < steps:
            assert process.poll() is None, process.stdout and process.stdout.read()
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    finally:
        process.kill()
        if process.stdout:
            process.stdout.close()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0])
def test_killed_three_times(tmp_path: Path, uninterrupted: dict[str, Any], seed: int) -> None:
    plan = write_plan(tmp_path)
    work = tmp_path / ".sweep" / "plan"
    moments = sorted(random.Random(seed).sample(range(200, TOTAL - 2500), 3))
    backends = (["local"], ["joblib", "--workers", "2"], ["local"])
    for steps, backend in zip(moments, backends, strict=True):
        kill_after(work, steps, plan, *FAST, "--backend", *backend)
    assert len(list((tmp_path / "runs").glob("*.csv"))) < 4
    found = call_json(plan, *FAST, "--backend", "local")
    states = {run["state"] for run in found["runs"].values()}
    assert states <= {"finished", "skipped"}
    assert lasting(tmp_path / "runs") == uninterrupted
    assert not list((work / "checkpoints").glob("*.npz"))
