"""Predict the cost of a sweep before it starts: FLOPs by counting, time by a short measurement."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from scaling_laws.proxy.sweep.group_task import CACHE, GroupTask
from scaling_laws.proxy.sweep.run_groups import RunGroup

__all__ = ["Budget", "GroupBudget", "budget_of", "makespan", "measure_rates", "probe"]

PROBE_SECONDS = 1.0  # of updates in one measurement, compilation excluded
PROBE_INTERVALS = 6  # largest number of logging intervals in one measurement


@dataclass(frozen=True)
class GroupBudget:
    """Predicted cost of a group.

    Attributes:
        number: of the group.
        runs: names of its runs.
        left: names of those that are not finished.
        steps: updates still to train, summed over runs.
        flops: of these updates and of the losses logged on the way.
        seconds: predicted, compilation excluded; None if no rate is known.
    """

    number: int
    runs: tuple[str, ...]
    left: tuple[str, ...]
    steps: int
    flops: float
    seconds: float | None


@dataclass(frozen=True)
class Budget:
    """Predicted cost of a sweep.

    Attributes:
        groups: in their order.
        workers: number of groups that train at the same time.
        flops: of all groups.
        seconds: from start to end; None if no rate is known.
    """

    groups: tuple[GroupBudget, ...]
    workers: int
    flops: float
    seconds: float | None


def probe(task: GroupTask) -> float:
    """FLOPs per second of the first updates of a group, compilation excluded; writes no run."""
    import jax
    import jax.numpy as jnp

    from scaling_laws.proxy.sweep.sweep_configs import configs_of
    from scaling_laws.proxy.training.proxy_config import flops
    from scaling_laws.proxy.training.training_loop import advance, begin

    config_of_run = configs_of(task.runs, task.base, task.work / CACHE)
    configs = [config_of_run[run.name] for run in task.runs]
    fleet = jax.default_backend() != "cpu" and len(configs) > 1
    if not fleet:
        configs = configs[:1]  # they will train one after the other
    position = begin(configs, fleet)
    held_out = jnp.asarray(configs[0].validation_windows)
    done = spent = 0.0
    for number, interval in enumerate(configs[0].log_intervals()):
        start = time.perf_counter()
        position, _ = advance(configs, position, interval, held_out, fleet)
        if number:  # the first one includes compilation
            spent += time.perf_counter() - start
            done += sum(
                flops(config, interval.first) - flops(config, interval.end) for config in configs
            )
        if spent > PROBE_SECONDS or number == PROBE_INTERVALS:
            break
    if not done:  # a run of one interval: only compilation can be measured
        spent = time.perf_counter() - start
        done = sum(flops(config) for config in configs)
    return done / spent


def measure_rates(
    groups: Sequence[RunGroup],
    speed_keys: Mapping[int, Hashable],
    submit: Callable[[RunGroup], Sequence[Future[float]]],
) -> dict[int, float]:
    """Rate of every group: one measurement per distinct key, on all workers at once.

    Args:
        groups: to measure.
        speed_keys: group number -> everything that determines its speed.
        submit: starts the measurements of a group, as many as will train at the same time.

    Returns:
        Group number -> FLOPs per second of one worker while all workers are busy.
    """
    measured: dict[Hashable, float] = {}
    for group in groups:
        key = speed_keys[group.number]
        if key not in measured:
            rates = [future.result() for future in submit(group)]
            measured[key] = sum(rates) / len(rates)
    return {group.number: measured[speed_keys[group.number]] for group in groups}


def budget_of(
    groups: Sequence[RunGroup],
    costs: Mapping[str, float],
    steps: Mapping[str, int],
    done: frozenset[str],
    rates: Mapping[int, float] | None,
    workers: int,
) -> Budget:
    """Combine counts and rates.

    Args:
        groups: of the sweep.
        costs: FLOPs of each run, excluding the updates of its parent.
        steps: updates that each run trains itself.
        done: finished runs.
        rates: group number -> FLOPs per second, for groups with unfinished runs; None if unknown.
        workers: number of groups that train at the same time.
    """
    budgets = []
    for group in groups:
        names = tuple(run.name for run in group.runs)
        left = tuple(name for name in names if name not in done)
        flops = sum(costs[name] for name in left)
        seconds = None
        if rates is not None:
            seconds = flops / rates[group.number] if left else 0.0
        steps_left = sum(steps[name] for name in left)
        budgets.append(GroupBudget(group.number, names, left, steps_left, flops, seconds))
    total = None
    if rates is not None:
        total = makespan(groups, {item.number: item.seconds or 0.0 for item in budgets}, workers)
    return Budget(tuple(budgets), workers, sum(item.flops for item in budgets), total)


def makespan(groups: Sequence[RunGroup], seconds: Mapping[int, float], workers: int) -> float:
    """Time until the last group ends, if an idle worker takes the first group that is ready.

    >>> from scaling_laws.proxy.sweep.run_groups import RunGroup
    >>> first, branch = RunGroup(0, (), frozenset()), RunGroup(1, (), frozenset({0}))
    >>> makespan([first, branch, RunGroup(2, (), frozenset())], {0: 2.0, 1: 1.0, 2: 1.0}, 2)
    3.0
    """
    waiting = list(groups)
    running: list[tuple[float, int]] = []  # (end, group)
    ended: set[int] = set()
    now = 0.0
    while waiting or running:
        for group in [group for group in waiting if group.depends_on <= ended]:
            if len(running) == workers:
                break
            waiting.remove(group)
            running.append((now + seconds[group.number], group.number))
        now, number = min(running)
        running.remove((now, number))
        ended.add(number)
    return now
