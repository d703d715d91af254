"""The unit of work: train one group, wherever that is. Everything that comes back is in files."""

from __future__ import annotations

import os
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from scaling_laws.common import ScalingLawsError, write_text
from scaling_laws.proxy.sweep.run_progress import Reporter, claimed, read_progress, write_progress
from scaling_laws.proxy.sweep.sweep_configs import configs_of, members_of
from scaling_laws.proxy.sweep.sweep_plan import PlannedRun
from scaling_laws.proxy.training.fleet import train_fleet
from scaling_laws.proxy.training.training_run import LoggedStep

__all__ = ["CACHE", "GroupTask", "RunOutcome", "train_rows"]

CACHE = "corpora"  # folder in the work folder


@dataclass(frozen=True)
class GroupTask:
    """A group as it travels to a process, plain values only.

    Attributes:
        rows: of the group.
        keep: updates after which each run leaves a checkpoint for its branches.
        base: folder of the plan.
        work: folder of the sweep, the same for all processes.
        checkpoint_every: seconds between two crash checkpoints.
        leader: id of the process whose death ends the work, or 0.
    """

    rows: tuple[PlannedRun, ...]
    keep: Mapping[str, tuple[int, ...]]
    base: Path
    work: Path
    checkpoint_every: float = 60.0
    leader: int = 0


@dataclass(frozen=True)
class RunOutcome:
    """What became of a run.

    Attributes:
        run: its name.
        state: ``finished`` now, ``skipped`` because it was there, or ``failed``.
        final_loss: the last logged one in nats per token, or None.
        seconds: wall time of the training, 0 if it was there.
        error: why it failed, or nothing.
    """

    run: str
    state: str
    final_loss: float | None = None
    seconds: float = 0.0
    error: str = ""


def train_rows(task: GroupTask) -> tuple[RunOutcome, ...]:
    """Train a group and write its runs; never raises for a run that fails.

    Another process that has a claim on one of the runs is waited for: two sweeps of one plan at
    the same time do no harm.
    """
    with claimed(task.work, [row.name for row in task.rows]):
        before = read_progress(task.work, task.rows)
        for progress in before:
            write_progress(task.work, replace(progress, state="training", seconds_left=None))
        try:
            outcomes = _train(task)
        except ScalingLawsError as error:
            outcomes = _all_failed(task, str(error))
        except Exception as error:
            # one broken run must not take the others of a sweep with it; the trace is kept
            trace = write_text(task.work / f"{task.rows[0].name}.error.txt", traceback.format_exc())
            outcomes = _all_failed(task, f"{type(error).__name__}: {error}; see {trace}")
        for progress, outcome in zip(read_progress(task.work, task.rows), outcomes, strict=True):
            steps = progress.steps if outcome.state == "finished" else progress.step
            write_progress(
                task.work,
                replace(
                    progress,
                    state=outcome.state,
                    step=steps,
                    loss=outcome.final_loss if outcome.final_loss is not None else progress.loss,
                    seconds_left=None,
                    error=outcome.error,
                ),
            )
    return outcomes


def _train(task: GroupTask) -> tuple[RunOutcome, ...]:
    configs = configs_of(task.rows, task.base, task.work / CACHE)
    members = members_of(task.rows, configs, task.keep, task.base)
    reporter = Reporter(task.work)

    def report(update: LoggedStep) -> None:
        if task.leader and os.getppid() != task.leader:
            os._exit(1)  # the sweep was killed; the next one goes on from the checkpoint
        reporter.update(
            update.name, update.step, update.steps, update.loss, update.tokens_per_second
        )

    results = train_fleet(
        members,
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
    return tuple(RunOutcome(row.name, "failed", error=error) for row in task.rows)
