"""A sweep from its plan to its runs: check everything, then train group after group."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scaling_laws.common import Pool, UsageError
from scaling_laws.proxy.sweep.budget import Budget, budget_of, measure_rates, probe
from scaling_laws.proxy.sweep.group_task import CACHE, GroupTask, RunOutcome, train_rows
from scaling_laws.proxy.sweep.plan_checks import check_branches, check_parents, finished_runs
from scaling_laws.proxy.sweep.run_groups import Group, groups_of, kept_steps, shard_of
from scaling_laws.proxy.sweep.run_progress import RunProgress, reset_failed, write_progress
from scaling_laws.proxy.sweep.sweep_configs import configs_of, known_settings, members_of
from scaling_laws.proxy.sweep.sweep_plan import PlannedRun, read_plan
from scaling_laws.proxy.training.compiled_steps import shapes_of
from scaling_laws.proxy.training.proxy_config import ProxyConfig, flops
from scaling_laws.proxy.training.training_run import TrainingRun, fleet_key

__all__ = ["Sweep", "Watch", "on_cpu", "predict_budget", "prepare_sweep", "train_sweep"]

FLEET = 16  # runs side by side on an accelerator; a CPU trains them one after the other
TRIES = 3  # that a group gets whose process dies
Watch = Callable[[RunOutcome], None]


@dataclass(frozen=True)
class Sweep:
    """A plan that has been checked.

    Attributes:
        rows: of the plan, or of one shard of it.
        configs: run name -> configuration.
        members: run name -> member of a fleet.
        groups: that train together, parents first.
        keep: run name -> updates after which it leaves a checkpoint for branches still to train.
        done: runs that are there already.
        base: folder of the plan.
        work: folder for checkpoints, progress and claims.
    """

    rows: tuple[PlannedRun, ...]
    configs: Mapping[str, ProxyConfig]
    members: Mapping[str, TrainingRun]
    groups: tuple[Group, ...]
    keep: Mapping[str, tuple[int, ...]]
    done: frozenset[str]
    base: Path
    work: Path

    def task(
        self, rows: Sequence[PlannedRun], *, leader: int = 0, every: float = 60.0
    ) -> GroupTask:
        """The work of a group, or of a part of it."""
        keep = {row.name: self.keep[row.name] for row in rows}
        return GroupTask(tuple(rows), keep, self.base, self.work, every, leader)


def on_cpu() -> bool:
    """Whether JAX has no accelerator here."""
    import jax

    return jax.default_backend() == "cpu"


def prepare_sweep(
    path: Path | str,
    *,
    work: Path | None = None,
    fleet: int | None = None,
    shard: tuple[int, int] | None = None,
) -> Sweep:
    """Read a plan and check all that can be known before anything starts.

    Args:
        path: of the plan.
        work: folder for checkpoints, progress and claims; default ``.sweep/NAME`` beside the plan.
        fleet: runs of a group at most; default 16 on an accelerator and 1 on a CPU.
        shard: (index from 0, count): only that part of the plan, whole chains of branches.

    Raises:
        ScalingLawsError: naming the place in the plan.
    """
    plan = read_plan(path, known_settings())
    work = plan.work if work is None else work.absolute()
    check_parents(plan.rows)
    configs = configs_of(plan.rows, plan.base, work / CACHE)
    check_branches(plan.rows, configs)
    found = members_of(plan.rows, configs, kept_steps(plan.rows), plan.base)
    members = {member.destination.name: member for member in found}
    rows = plan.rows
    if shard is not None:
        costs = {name: flops(each.config, each.start) for name, each in members.items()}
        rows = shard_of(rows, costs, *shard)
    done = finished_runs(rows, [members[row.name] for row in rows])
    most = fleet if fleet is not None else 1 if on_cpu() else FLEET
    keys = {row.name: fleet_key(members[row.name]) for row in rows}
    groups, keep = groups_of(rows, keys, most), kept_steps(plan.rows, done)
    return Sweep(rows, configs, members, groups, keep, done, plan.base, work)


def predict_budget(sweep: Sweep, pool: Pool | None, *, rate: float | None = None) -> Budget:
    """FLOPs and time of what is left to train.

    Args:
        sweep: what to train.
        pool: where it will train, to measure there; None to measure nothing.
        rate: FLOPs a second of one worker, if known; then nothing is measured either.

    Raises:
        UsageError: if `rate` is not above 0.
    """
    if rate is not None and not rate > 0:
        raise UsageError(f"--rate {rate}: FLOPs a second must be above 0")
    open_groups = [
        group for group in sweep.groups if any(row.name not in sweep.done for row in group.rows)
    ]
    costs = {row.name: _cost(sweep.members[row.name]) for row in sweep.rows}
    steps = {
        row.name: sweep.configs[row.name].schedule.steps - sweep.members[row.name].start
        for row in sweep.rows
    }
    rates: Mapping[int, float] | None = None
    if rate is not None:
        rates = {group.number: rate for group in open_groups}
    elif pool is not None:
        together = min(pool.workers, max(1, len(open_groups)))

        def submit(group: Group) -> list[Future[float]]:
            assert pool is not None
            task = sweep.task(group.rows)
            return [pool.submit(probe, task) for _ in range(together)]

        kinds = {group.number: _kind(sweep, group) for group in open_groups}
        rates = measure_rates(open_groups, kinds, submit)
    return budget_of(
        sweep.groups, costs, steps, sweep.done, rates, 1 if pool is None else pool.workers
    )


def _cost(member: TrainingRun) -> float:
    return flops(member.config, member.start)


def _kind(sweep: Sweep, group: Group) -> object:
    """What decides the speed of a group."""
    config = sweep.configs[group.rows[0].name]
    return shapes_of(config), config.every, config.ramp, config.merge, len(group.rows)


def train_sweep(
    sweep: Sweep, pool: Pool, *, checkpoint_every: float = 60.0, watch: Watch | None = None
) -> dict[str, RunOutcome]:
    """Train what is not there yet; a run that fails stops nobody but its own branches.

    Args:
        sweep: what to train.
        pool: where.
        checkpoint_every: seconds between two crash checkpoints: what a kill may cost.
        watch: called with every outcome as it comes.

    Returns:
        Run name -> outcome, in the order of the plan.
    """
    outcomes: dict[str, RunOutcome] = {}
    tries = dict.fromkeys((group.number for group in sweep.groups), 0)
    ended: set[int] = set()
    waiting = list(sweep.groups)
    running: dict[Future[Any], Group] = {}

    def end(group: Group, found: Sequence[RunOutcome]) -> None:
        for outcome in found:
            outcomes[outcome.run] = outcome
            if watch is not None:
                watch(outcome)
        if all(row.name in outcomes for row in group.rows):
            ended.add(group.number)

    reset_failed(sweep.work, sweep.rows)
    while waiting or running:
        for group in [each for each in waiting if each.needs <= ended]:
            if len(running) >= pool.workers:
                break
            waiting.remove(group)
            rows, orphans = _with_parents(group, outcomes)
            for orphan in orphans:
                _tell(sweep, orphan)
            end(group, orphans)
            if rows:
                task = sweep.task(rows, leader=pool.leader, every=checkpoint_every)
                running[pool.submit(train_rows, task)] = group
        done, _ = wait(running, return_when=FIRST_COMPLETED) if running else ((), ())
        for future in done:
            group = running.pop(future)
            try:
                end(group, future.result())
            except pool.lost as error:
                tries[group.number] += 1
                if tries[group.number] < TRIES:
                    waiting.insert(0, group)  # goes on from its last checkpoint
                    continue
                lost = [
                    RunOutcome(
                        row.name,
                        "failed",
                        error=f"its process died {TRIES} times ({type(error).__name__}); look for "
                        "a lack of memory, and run the sweep again to go on",
                    )
                    for row in group.rows
                    if row.name not in outcomes
                ]
                for outcome in lost:
                    _tell(sweep, outcome)
                end(group, lost)
    return {row.name: outcomes[row.name] for row in sweep.rows}


def _with_parents(
    group: Group, outcomes: Mapping[str, RunOutcome]
) -> tuple[list[PlannedRun], list[RunOutcome]]:
    """The rows of a group that can train, and an outcome for each whose parent has failed."""
    rows, orphans = [], []
    for row in group.rows:
        if row.name in outcomes:
            continue
        if row.parent is not None and outcomes[row.parent.run].state == "failed":
            error = f"its parent {row.parent.run} failed"
            orphans.append(RunOutcome(row.name, "failed", error=error))
        else:
            rows.append(row)
    return rows, orphans


def _tell(sweep: Sweep, outcome: RunOutcome) -> None:
    """Say of a run that no process works on why it failed."""
    write_progress(
        sweep.work, replace(RunProgress(outcome.run), state=outcome.state, error=outcome.error)
    )
