"""Progress of every run, in one small file per run that any process can read."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from filelock import FileLock, Timeout

from scaling_laws.common import OutputError, make_folder, parse_json, read_text, write_text
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

# in order of occurrence; a run is interrupted if no process is training it any more
STATES = ("waiting", "interrupted", "training", "finished", "skipped", "failed")
MIN_INTERVAL = 0.5  # seconds between two writes per run, enough for a table


@dataclass(frozen=True)
class RunProgress:
    """Progress of one run.

    Attributes:
        run: name of the run.
        state: one of `STATES`.
        step: updates done.
        steps: updates of the whole run, 0 if not yet known.
        loss: the last logged loss in nats per token, or None.
        tokens_per_second: since the last logged step, or None.
        seconds_left: at the mean speed so far, or None.
        updated: time of the last write, seconds since the epoch.
        error: why it failed, or "".
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
    """Write the progress of a run to its file.

    Raises:
        OutputError: if it cannot be written.
    """
    file = _file(work, progress.run)
    make_folder(file.parent)
    write_text(file, json.dumps(asdict(replace(progress, updated=time.time()))) + "\n")


def read_progress(work: Path, runs: Sequence[PlannedRun]) -> list[RunProgress]:
    """The progress of each run; of runs without a progress file, read from their sets.

    A run in state ``training`` that no process has claimed is interrupted.
    """
    return [_read_one(work, run) for run in runs]


def _read_one(work: Path, run: PlannedRun) -> RunProgress:
    known = {field.name for field in fields(RunProgress)}
    try:
        record = parse_json(read_text(_file(work, run.name)))
        progress = RunProgress(**{key: value for key, value in record.items() if key in known})
    except (OSError, ValueError, TypeError, AttributeError):
        # no file: the run may have been trained elsewhere
        curve = run.folder / f"{run.name}.csv"
        if not curve.exists():
            return RunProgress(run.name)
        columns = read_curve(curve)
        step, loss = int(columns["step"][-1]) + 1, float(columns["loss"][-1])
        return RunProgress(run.name, "finished", step, step, loss)
    if progress.state == "training" and not _is_claimed(work, run.name):
        return replace(progress, state="interrupted", tokens_per_second=None, seconds_left=None)
    return progress


def reset_failed(work: Path, runs: Sequence[PlannedRun]) -> None:
    """Set runs that failed in an earlier call back to waiting."""
    for progress in read_progress(work, runs):
        if progress.state == "failed":
            write_progress(work, RunProgress(progress.run))


def count_states(runs: Sequence[RunProgress]) -> str:
    """The number of runs in each state, as text.

    >>> count_states([RunProgress("a", "finished"), RunProgress("b"), RunProgress("c", "finished")])
    '3 runs: 1 waiting, 2 finished'
    """
    counts = {state: sum(run.state == state for run in runs) for state in STATES}
    words = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    return f"{len(runs)} run{'s' * (len(runs) != 1)}: {words}"


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
        return False  # a read-only folder: no process of ours trains there


@contextlib.contextmanager
def claimed(work: Path, runs: Sequence[str]) -> Iterator[None]:
    """Claim runs for the duration of a block, waiting for other processes that have claimed them.

    A claim is a file lock, so it ends with its process.

    Raises:
        OutputError: if the lock files cannot be created.
    """
    make_folder(work / "claims")
    with contextlib.ExitStack() as stack:
        for run in sorted(runs):  # the same order everywhere avoids deadlocks
            try:
                stack.enter_context(_lock(work, run))
            except OSError as error:
                raise OutputError(
                    f"cannot claim run {run!r} in {work}: {error.strerror}; pass a writable "
                    "folder with --work",
                    path=work,
                ) from error
        yield


class Reporter:
    """Writes the progress of a process's runs, at most every `MIN_INTERVAL` seconds per run.

    Args:
        work: folder of the sweep.
    """

    def __init__(self, work: Path) -> None:
        self._work = work
        self._last: dict[str, float] = {}
        self._began: dict[str, tuple[float, int]] = {}

    def update(self, run: str, step: int, steps: int, loss: float, speed: float) -> None:
        """Record that `step` of `steps` updates are done, at `speed` tokens per second."""
        now = time.monotonic()
        began, first = self._began.setdefault(run, (now, step))
        if now - self._last.get(run, -math.inf) < MIN_INTERVAL:
            return
        self._last[run] = now
        left = (steps - step) * (now - began) / (step - first) if step > first else None
        number = loss if math.isfinite(loss) else None
        write_progress(self._work, RunProgress(run, "training", step, steps, number, speed, left))
