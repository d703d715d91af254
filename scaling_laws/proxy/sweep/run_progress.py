"""How far every run is, in one small file a run: any process can read what any other writes."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from filelock import FileLock, Timeout

from scaling_laws.common import OutputError, make_folder, write_text
from scaling_laws.proxy.sweep.sweep_plan import PlannedRun
from scaling_laws.proxy.training.run_files import read_curve

__all__ = [
    "STATES",
    "Reporter",
    "RunProgress",
    "claimed",
    "count_states",
    "read_progress",
    "reset_failed",
    "write_progress",
]

# as they follow one another; a run is interrupted when no process works on it any more
STATES = ("waiting", "interrupted", "training", "finished", "skipped", "failed")
PAUSE = 0.5  # seconds between two files of a run: a table needs no more


@dataclass(frozen=True)
class RunProgress:
    """How far one run is.

    Attributes:
        run: its name.
        state: one of `STATES`.
        step: updates done.
        steps: of the whole run, 0 where not known yet.
        loss: the last one measured, nats per token, or None.
        tokens_per_second: over the last reports, or None.
        seconds_left: at that speed, or None.
        updated: seconds since the epoch.
        error: why it failed, or nothing.
    """

    run: str
    state: str = "waiting"
    step: int = 0
    steps: int = 0
    loss: float | None = None
    tokens_per_second: float | None = None
    seconds_left: float | None = None
    updated: float = 0.0
    error: str = ""


def _file(work: Path, run: str) -> Path:
    return work / "progress" / f"{run}.json"


def write_progress(work: Path, progress: RunProgress) -> None:
    """Put a run's progress into its file.

    Raises:
        OutputError: if it cannot be written.
    """
    file = _file(work, progress.run)
    make_folder(file.parent)
    write_text(file, json.dumps(asdict(replace(progress, updated=time.time()))) + "\n")


def read_progress(work: Path, rows: Sequence[PlannedRun]) -> list[RunProgress]:
    """The progress of each row; what no file tells is taken from the sets.

    A run whose file says that it trains, while nobody holds its claim, is interrupted.
    """
    return [_read_one(work, row) for row in rows]


def _read_one(work: Path, row: PlannedRun) -> RunProgress:
    known = {field.name for field in fields(RunProgress)}
    try:
        found = json.loads(_file(work, row.name).read_text(encoding="utf-8"))
        progress = RunProgress(**{key: value for key, value in found.items() if key in known})
    except (OSError, ValueError, TypeError, AttributeError):
        # no file yet: a set that was trained elsewhere still has its curve
        curve = row.folder / f"{row.name}.csv"
        if not curve.exists():
            return RunProgress(row.name)
        columns = read_curve(curve)
        step, loss = int(columns["step"][-1]) + 1, float(columns["loss"][-1])
        return RunProgress(row.name, "finished", step, step, loss)
    if progress.state == "training" and not _is_claimed(work, row.name):
        return replace(progress, state="interrupted", tokens_per_second=None, seconds_left=None)
    return progress


def reset_failed(work: Path, rows: Sequence[PlannedRun]) -> None:
    """Let runs that failed before wait again."""
    for progress in read_progress(work, rows):
        if progress.state == "failed":
            write_progress(work, RunProgress(progress.run))


def count_states(found: Sequence[RunProgress]) -> str:
    """How many runs are in which state, in words.

    >>> count_states([RunProgress("a", "finished"), RunProgress("b"), RunProgress("c", "finished")])
    '3 runs: 1 waiting, 2 finished'
    """
    counts = {state: sum(each.state == state for each in found) for state in STATES}
    words = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    return f"{len(found)} run{'s' * (len(found) != 1)}: {words}"


def _lock(work: Path, run: str) -> FileLock:
    return FileLock(work / "claims" / f"{run}.lock", thread_local=False)


def _is_claimed(work: Path, run: str) -> bool:
    if not (work / "claims").is_dir():
        return False
    try:
        with _lock(work, run).acquire(timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        return False  # a folder that may only be read: nothing of ours trains there


@contextlib.contextmanager
def claimed(work: Path, runs: Sequence[str]) -> Iterator[None]:
    """Hold the claims of runs, waiting for a process that has them; a killed one gives them up.

    Raises:
        OutputError: if the files of the claims cannot be made.
    """
    make_folder(work / "claims")
    with contextlib.ExitStack() as stack:
        for run in sorted(runs):  # one order for all, or two processes wait for each other
            try:
                stack.enter_context(_lock(work, run))
            except OSError as error:
                raise OutputError(
                    f"cannot claim run {run!r} in {work}: {error.strerror}; give a folder that "
                    "can be written with --work"
                ) from error
        yield


class Reporter:
    """Writes the progress of a process's runs, not more often than a table needs.

    Args:
        work: folder of the sweep.
    """

    def __init__(self, work: Path) -> None:
        self._work = work
        self._last: dict[str, float] = {}
        self._began: dict[str, tuple[float, int]] = {}

    def update(self, run: str, step: int, steps: int, loss: float, speed: float) -> None:
        """Say that `step` of `steps` updates are done, the last ones at `speed` tokens a second."""
        now = time.monotonic()
        began, first = self._began.setdefault(run, (now, step))
        if now - self._last.get(run, -math.inf) < PAUSE:
            return
        self._last[run] = now
        left = (steps - step) * (now - began) / (step - first) if step > first else None
        number = loss if math.isfinite(loss) else None
        write_progress(self._work, RunProgress(run, "training", step, steps, number, speed, left))
