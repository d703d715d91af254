"""A sweep from its plan to its curves: check everything, then train group after group."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaling_laws.common import Pool, UsageError
from scaling_laws.proxy.sweep.budget import Budget, budget_of, measure_rates, probe
from scaling_laws.proxy.sweep.group_task import CACHE, GroupTask, RunOutcome, train_group
from scaling_laws.proxy.sweep.plan_checks import check_branches, check_parents, finished_runs
from scaling_laws.proxy.sweep.run_groups import RunGroup, groups_of, kept_steps, shard_of
from scaling_laws.proxy.sweep.run_progress import RunProgress, reset_failed, write_progress
from scaling_laws.proxy.sweep.sweep_configs import configs_of, known_settings, training_runs_of
from scaling_laws.proxy.sweep.sweep_plan import PlannedRun, read_plan
from scaling_laws.proxy.training.compiled_steps import shapes_of
from scaling_laws.proxy.training.proxy_config import ProxyConfig, flops
from scaling_laws.proxy.training.training_run import TrainingRun, fleet_key

__all__ = ["OutcomeCallback", "Sweep", "on_cpu", "predict_budget", "prepare_sweep", "train_sweep"]

FLEET = 16  # runs side by side on an accelerator; a CPU trains them one after the other
MAX_TRIES = 3  # of a group whose process dies
OutcomeCallback = Callable[[RunOutcome], None]


@dataclass(frozen=True)
class Sweep:
    """A plan that has been checked.

    Attributes:
        runs: of the plan, or of one shard of it.
        configs: run name -> configuration.
        training_runs: run name -> run to train.
        groups: runs that train together, parents first.
        keep: run name -> updates after which it keeps a checkpoint for branches still to train.
        done: names of finished runs.
        base: folder of the plan.
        work: folder for checkpoints, progress and claims.
    """

    runs: tuple[PlannedRun, ...]
    configs: Mapping[str, ProxyConfig]
    training_runs: Mapping[str, TrainingRun]
    groups: tuple[RunGroup, ...]
    keep: Mapping[str, tuple[int, ...]]
    done: frozenset[str]
    base: Path
    work: Path

    def task(
        self, runs: Sequence[PlannedRun], *, leader: int = 0, checkpoint_every: float = 60.0
    ) -> GroupTask:
        """The task that trains a group, or a part of it."""
        keep = {run.name: self.keep[run.name] for run in runs}
        return GroupTask(tuple(runs), keep, self.base, self.work, checkpoint_every, leader)


def on_cpu() -> bool:
    """Whether JAX runs on the CPU here."""
    import jax

    return jax.default_backend() == "cpu"


def prepare_sweep(
    path: Path | str,
    *,
    work: Path | None = None,
    fleet: int | None = None,
    shard: tuple[int, int] | None = None,
) -> Sweep:
    """Read a plan and check everything that can be checked before training.

    Args:
        path: of the plan.
        work: folder for checkpoints, progress and claims; default ``.sweep/NAME`` beside the plan.
        fleet: largest number of runs in a group; default 16 on an accelerator and 1 on a CPU.
        shard: (index from 0, count): only that part of the plan, whole chains of branches.

    Raises:
        ScalingLawsError: naming the run and the key in the plan.
    """
    plan = read_plan(path, known_settings())
    work = plan.work if work is None else work.absolute()
    check_parents(plan.runs)
    configs = configs_of(plan.runs, plan.base, work / CACHE)
    check_branches(plan.runs, configs)
    training_runs = {
        run.destination.name: run
        for run in training_runs_of(plan.runs, configs, kept_steps(plan.runs), plan.base)
    }
    runs = plan.runs
    if shard is not None:
        costs = {name: flops(run.config, run.start) for name, run in training_runs.items()}
        runs = shard_of(runs, costs, *shard)
    done = finished_runs(runs, [training_runs[run.name] for run in runs])
    if fleet is None:
        fleet = 1 if on_cpu() else FLEET
    keys = {run.name: fleet_key(training_runs[run.name]) for run in runs}
    groups, keep = groups_of(runs, keys, fleet), kept_steps(plan.runs, done)
    return Sweep(runs, configs, training_runs, groups, keep, done, plan.base, work)


def predict_budget(sweep: Sweep, pool: Pool | None, *, rate: float | None = None) -> Budget:
    """FLOPs and time of everything still to train.

    Args:
        sweep: what to train.
        pool: the workers on which to measure the speed; None to measure nothing.
        rate: FLOPs per second of one worker, if known; nothing is measured then.

    Raises:
        UsageError: if `rate` is not positive.
    """
    if rate is not None and not rate > 0:
        raise UsageError(f"--rate {rate}: FLOPs per second must be positive", value=rate)
    open_groups = [
        group for group in sweep.groups if any(run.name not in sweep.done for run in group.runs)
    ]
    costs, steps = {}, {}
    for run in sweep.runs:
        config, start = sweep.configs[run.name], sweep.training_runs[run.name].start
        costs[run.name] = flops(config, start)
        steps[run.name] = config.schedule.steps - start
    rates: Mapping[int, float] | None = None
    if rate is not None:
        rates = {group.number: rate for group in open_groups}
    elif pool is not None:
        simultaneous = min(pool.workers, max(1, len(open_groups)))

        def submit(group: RunGroup) -> list[Future[float]]:
            assert pool is not None
            task = sweep.task(group.runs)
            return [pool.submit(probe, task) for _ in range(simultaneous)]

        keys = {group.number: _speed_key(sweep, group) for group in open_groups}
        rates = measure_rates(open_groups, keys, submit)
    workers = 1 if pool is None else pool.workers
    return budget_of(sweep.groups, costs, steps, sweep.done, rates, workers)


def _speed_key(sweep: Sweep, group: RunGroup) -> Hashable:
    """Everything that determines the speed of a group."""
    config = sweep.configs[group.runs[0].name]
    return shapes_of(config), config.every, config.ramp, config.merge, len(group.runs)


def train_sweep(
    sweep: Sweep,
    pool: Pool,
    *,
    checkpoint_every: float = 60.0,
    on_outcome: OutcomeCallback | None = None,
) -> dict[str, RunOutcome]:
    """Train every unfinished run; if a run fails, only its own branches fail with it.

    Args:
        sweep: what to train.
        pool: the workers.
        checkpoint_every: seconds between two crash checkpoints, the most that a kill can cost.
        on_outcome: called with every outcome as soon as it is known.

    Returns:
        Run name -> outcome, in the order of the plan.
    """
    scheduler = _Scheduler(sweep, pool, checkpoint_every, on_outcome)
    reset_failed(sweep.work, sweep.runs)
    scheduler.run()
    return {run.name: scheduler.outcomes[run.name] for run in sweep.runs}


class _Scheduler:
    """Submits groups whose parents have ended, and resubmits those whose process dies."""

    def __init__(
        self,
        sweep: Sweep,
        pool: Pool,
        checkpoint_every: float,
        on_outcome: OutcomeCallback | None,
    ) -> None:
        self.outcomes: dict[str, RunOutcome] = {}
        self._sweep, self._pool = sweep, pool
        self._checkpoint_every, self._on_outcome = checkpoint_every, on_outcome
        self._waiting = list(sweep.groups)
        self._running: dict[Future[Any], RunGroup] = {}
        self._ended: set[int] = set()
        self._deaths = dict.fromkeys((group.number for group in sweep.groups), 0)

    def run(self) -> None:
        """Return when every run has an outcome."""
        while self._waiting or self._running:
            self._submit_ready()
            if not self._running:
                continue
            done, _ = wait(self._running, return_when=FIRST_COMPLETED)
            for future in done:
                group = self._running.pop(future)
                try:
                    self._record(group, future.result())
                except self._pool.lost as error:
                    self._retry(group, error)

    def _submit_ready(self) -> None:
        for group in [group for group in self._waiting if group.depends_on <= self._ended]:
            if len(self._running) >= self._pool.workers:
                break
            self._waiting.remove(group)
            runs, orphans = _split_orphans(group, self.outcomes)
            self._record_failures(group, orphans)
            if runs:
                task = self._sweep.task(
                    runs, leader=self._pool.leader, checkpoint_every=self._checkpoint_every
                )
                self._running[self._pool.submit(train_group, task)] = group

    def _retry(self, group: RunGroup, error: BaseException) -> None:
        self._deaths[group.number] += 1
        if self._deaths[group.number] < MAX_TRIES:
            self._waiting.insert(0, group)  # resumes from its last checkpoint
            return
        message = (
            f"its process died {MAX_TRIES} times ({type(error).__name__}), possibly out of memory; "
            "rerun the same command to resume"
        )
        names = [run.name for run in group.runs if run.name not in self.outcomes]
        self._record_failures(group, [RunOutcome(name, "failed", error=message) for name in names])

    def _record_failures(self, group: RunGroup, failures: Sequence[RunOutcome]) -> None:
        """Record the outcomes of runs that no process trains, also in their progress files."""
        for outcome in failures:
            progress = RunProgress(outcome.run, state=outcome.state, error=outcome.error)
            write_progress(self._sweep.work, progress)
        self._record(group, failures)

    def _record(self, group: RunGroup, outcomes: Sequence[RunOutcome]) -> None:
        for outcome in outcomes:
            self.outcomes[outcome.run] = outcome
            if self._on_outcome is not None:
                self._on_outcome(outcome)
        if all(run.name in self.outcomes for run in group.runs):
            self._ended.add(group.number)


def _split_orphans(
    group: RunGroup, outcomes: Mapping[str, RunOutcome]
) -> tuple[list[PlannedRun], list[RunOutcome]]:
    """The runs of a group that can train, and one outcome per run whose parent has failed."""
    runs, orphans = [], []
    for run in group.runs:
        if run.name in outcomes:
            continue
        if run.parent is not None and outcomes[run.parent.run].state == "failed":
            error = f"its parent {run.parent.run} failed"
            orphans.append(RunOutcome(run.name, "failed", error=error))
        else:
            runs.append(run)
    return runs, orphans
