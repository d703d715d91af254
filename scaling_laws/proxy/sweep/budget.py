"""What a sweep will cost, before it starts: FLOPs by count, time by a short measurement."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from scaling_laws.proxy.sweep.run_groups import Group

__all__ = ["Budget", "GroupBudget", "budget_of", "makespan", "measure_rates", "probe"]

PROBED = 1.0  # seconds of updates that a measurement takes, compilation left out
WINDOWS = 6  # between two logged losses each, at most


@dataclass(frozen=True)
class GroupBudget:
    """What a group will cost.

    Attributes:
        number: of the group.
        runs: names of its runs.
        left: of these, those that are not there yet.
        steps: updates left to do, those of all runs together.
        flops: of those updates and of the losses logged on the way.
        seconds: predicted, compilation left out; None without a rate.
    """

    number: int
    runs: tuple[str, ...]
    left: tuple[str, ...]
    steps: int
    flops: float
    seconds: float | None


@dataclass(frozen=True)
class Budget:
    """What a sweep will cost.

    Attributes:
        groups: in their order.
        workers: groups that train at the same time.
        flops: of all groups.
        seconds: from the start to the end, or None without a rate.
    """

    groups: tuple[GroupBudget, ...]
    workers: int
    flops: float
    seconds: float | None


def probe(task: Any) -> float:
    """FLOPs a second that the first updates of a group run at, compilation left out.

    Args:
        task: a `task.GroupTask`; nothing of it is written.
    """
    import jax
    import jax.numpy as jnp

    from scaling_laws.proxy.sweep.group_task import CACHE
    from scaling_laws.proxy.sweep.sweep_configs import configs_of
    from scaling_laws.proxy.training.proxy_config import flops
    from scaling_laws.proxy.training.training_loop import advance, begin

    found = configs_of(task.rows, task.base, task.work / CACHE)
    configs = [found[row.name] for row in task.rows]
    fleet = jax.default_backend() != "cpu" and len(configs) > 1
    if not fleet:
        configs = configs[:1]  # they will train one after the other
    position = begin(configs, fleet)
    held_out = jnp.asarray(configs[0].validation_windows)
    done = spent = 0.0
    for number, window in enumerate(configs[0].log_intervals()):
        start = time.perf_counter()
        position, _ = advance(configs, position, window, held_out, fleet)
        if number:  # the first one compiles
            spent += time.perf_counter() - start
            done += sum(flops(each, window.first) - flops(each, window.end) for each in configs)
        if spent > PROBED or number == WINDOWS:
            break
    if not done:  # a run of one window: compilation is all there is to measure
        spent = time.perf_counter() - start
        done = sum(flops(each) for each in configs)
    return done / spent


def measure_rates(
    groups: Sequence[Group],
    kinds: Mapping[int, object],
    submit: Callable[[Group], Sequence[Future[float]]],
) -> dict[int, float]:
    """The rate of every group: one measurement for each kind, on all workers at once.

    Args:
        groups: to measure.
        kinds: group number -> what decides its speed.
        submit: starts the measurements of a group, as many as will train at the same time.

    Returns:
        Group number -> FLOPs a second of one worker while all are busy.
    """
    known: dict[object, float] = {}
    for group in groups:
        kind = kinds[group.number]
        if kind not in known:
            rates = [future.result() for future in submit(group)]
            known[kind] = sum(rates) / len(rates)
    return {group.number: known[kinds[group.number]] for group in groups}


def budget_of(
    groups: Sequence[Group],
    costs: Mapping[str, float],
    steps: Mapping[str, int],
    done: frozenset[str],
    rates: Mapping[int, float] | None,
    workers: int,
) -> Budget:
    """Put counts and rates together.

    Args:
        groups: of the sweep.
        costs: FLOPs of each run, its own updates alone.
        steps: updates that each run does itself.
        done: runs that are there already.
        rates: group number -> FLOPs a second, for groups with a run that is not; None if unknown.
        workers: groups that train at the same time.
    """
    found = []
    for group in groups:
        names = tuple(row.name for row in group.rows)
        left = tuple(name for name in names if name not in done)
        flops = sum(costs[name] for name in left)
        seconds = None
        if rates is not None:
            seconds = flops / rates[group.number] if left else 0.0
        number = sum(steps[name] for name in left)
        found.append(GroupBudget(group.number, names, left, number, flops, seconds))
    total = None
    if rates is not None:
        total = makespan(groups, {each.number: each.seconds or 0.0 for each in found}, workers)
    return Budget(tuple(found), workers, sum(each.flops for each in found), total)


def makespan(groups: Sequence[Group], seconds: Mapping[int, float], workers: int) -> float:
    """Time until the last group ends, if a free worker takes the first one that is ready.

    >>> from scaling_laws.proxy.sweep.run_groups import Group
    >>> first, branch = Group(0, (), frozenset()), Group(1, (), frozenset({0}))
    >>> makespan([first, branch, Group(2, (), frozenset())], {0: 2.0, 1: 1.0, 2: 1.0}, 2)
    3.0
    """
    waiting = list(groups)
    running: list[tuple[float, int]] = []  # (end, group)
    ended: set[int] = set()
    now = 0.0
    while waiting or running:
        for group in [each for each in waiting if each.needs <= ended]:
            if len(running) == workers:
                break
            waiting.remove(group)
            running.append((now + seconds[group.number], group.number))
        now, number = min(running)
        running.remove((now, number))
        ended.add(number)
    return now
