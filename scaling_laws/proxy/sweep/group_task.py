"""The unit of work of a sweep: train one group, in any process. Results are exchanged as files."""

from __future__ import annotations

import os
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from scaling_laws.common import ScalingLawsError, write_text
from scaling_laws.proxy.sweep.run_progress import Reporter, claimed, read_progress, write_progress
from scaling_laws.proxy.sweep.sweep_configs import configs_of, training_runs_of
from scaling_laws.proxy.sweep.sweep_plan import PlannedRun
from scaling_laws.proxy.training.fleet import train_fleet
from scaling_laws.proxy.training.training_run import LoggedStep

__all__ = ["CACHE", "GroupTask", "RunOutcome", "train_group"]

CACHE = "corpora"  # folder in the work folder


@dataclass(frozen=True)
class GroupTask:
    """A group in the form in which it is sent to a process: plain values only.

    Attributes:
        runs: of the group.
        keep: updates after which each run keeps a checkpoint for its branches.
        base: folder of the plan.
        work: work folder of the sweep, the same for all processes.
        checkpoint_every: seconds between two crash checkpoints.
        leader: id of the process whose death ends the work, or 0.
    """

    runs: tuple[PlannedRun, ...]
    keep: Mapping[str, tuple[int, ...]]
    base: Path
    work: Path
    checkpoint_every: float = 60.0
    leader: int = 0


@dataclass(frozen=True)
class RunOutcome:
    """The outcome of a run of a sweep.

    Attributes:
        run: name of the run.
        state: ``finished`` now, ``skipped`` because it already existed, or ``failed``.
        final_loss: the last logged loss in nats per token, or None.
        seconds: wall time of the training, 0 if it was skipped.
        error: why it failed, or "".
    """

    run: str
    state: str
    final_loss: float | None = None
    seconds: float = 0.0
    error: str = ""


def train_group(task: GroupTask) -> tuple[RunOutcome, ...]:
    """Train a group and write its runs; a run that fails is reported, not raised.

    If another process has claimed one of the runs, wait for it: two sweeps of the same plan can
    run at the same time.
    """
    with claimed(task.work, [run.name for run in task.runs]):
        for progress in read_progress(task.work, task.runs):
            write_progress(task.work, replace(progress, state="training", seconds_left=None))
        try:
            outcomes = _train(task)
        except ScalingLawsError as error:
            outcomes = _all_failed(task, str(error))
        except Exception as error:
            # one broken run must not stop the rest of a sweep; the traceback is kept in a file
            trace = write_text(task.work / f"{task.runs[0].name}.error.txt", traceback.format_exc())
            outcomes = _all_failed(task, f"{type(error).__name__}: {error}; see {trace}")
        for progress, outcome in zip(read_progress(task.work, task.runs), outcomes, strict=True):
            write_progress(
                task.work,
                replace(
                    progress,
                    state=outcome.state,
                    step=progress.steps if outcome.state == "finished" else progress.step,
                    loss=progress.loss if outcome.final_loss is None else outcome.final_loss,
                    seconds_left=None,
                    error=outcome.error,
                ),
            )
    return outcomes


def _train(task: GroupTask) -> tuple[RunOutcome, ...]:
    configs = configs_of(task.runs, task.base, task.work / CACHE)
    training_runs = training_runs_of(task.runs, configs, task.keep, task.base)
    reporter = Reporter(task.work)

    def report(logged: LoggedStep) -> None:
        if task.leader and os.getppid() != task.leader:
            os._exit(1)  # the sweep was killed; the next one resumes from the checkpoint
        reporter.update(
            logged.name, logged.step, logged.steps, logged.loss, logged.tokens_per_second
        )

    results = train_fleet(
        training_runs,
        work=task.work / "checkpoints",
        checkpoint_every=task.checkpoint_every,
        progress=report,
    )
    return tuple(
        RunOutcome(
            result.name,
            result.state,
            None if result.state == "failed" else result.final_loss,
            result.seconds,
            result.error,
        )
        for result in results
    )


def _all_failed(task: GroupTask, error: str) -> tuple[RunOutcome, ...]:
    return tuple(RunOutcome(run.name, "failed", error=error) for run in task.runs)
