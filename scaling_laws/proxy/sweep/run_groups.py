"""Dependencies between runs: chains of branches, shards of chains, groups that train together.

Everything here is a pure function of the plan and does not depend on which runs are finished:
where runs train side by side on an accelerator, their last bits depend on the other runs of the
group.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence, Set
from dataclasses import dataclass

from scaling_laws.common import UsageError
from scaling_laws.proxy.sweep.sweep_plan import PlannedRun

__all__ = ["RunGroup", "chains", "depths", "groups_of", "kept_steps", "shard_of"]


@dataclass(frozen=True)
class RunGroup:
    """Runs that train together.

    Attributes:
        number: position in the order, from 0; a group depends on lower numbers only.
        runs: runs that can train side by side, of equal depth.
        depends_on: numbers of the groups with the parents of its runs.
    """

    number: int
    runs: tuple[PlannedRun, ...]
    depends_on: frozenset[int]


def depths(runs: Sequence[PlannedRun]) -> dict[str, int]:
    """Number of branch points above each run: 0 from scratch, 1 for a branch of such a run, etc.

    Args:
        runs: in any order; every parent is one of them and no run descends from itself.
    """
    parents = {run.name: run.parent.run if run.parent else None for run in runs}
    result: dict[str, int] = {}
    for run in runs:
        ancestry = [run.name]
        while (parent := parents[ancestry[-1]]) is not None and parent not in result:
            ancestry.append(parent)
        depth = -1 if parent is None else result[parent]
        for name in reversed(ancestry):
            depth += 1
            result[name] = depth
    return result


def kept_steps(
    runs: Sequence[PlannedRun], done: Set[str] = frozenset()
) -> dict[str, tuple[int, ...]]:
    """Updates after which each run must keep a checkpoint for its branches, increasing.

    Args:
        runs: of a plan.
        done: names of finished branches, which no longer need one.
    """
    steps: dict[str, set[int]] = {run.name: set() for run in runs}
    for run in runs:
        if run.parent is not None and run.name not in done:
            steps[run.parent.run].add(run.parent.step)
    return {name: tuple(sorted(kept)) for name, kept in steps.items()}


def chains(runs: Sequence[PlannedRun]) -> list[tuple[PlannedRun, ...]]:
    """Each run from scratch with all its descendants, in the order of the plan."""
    parents = {run.name: run.parent.run if run.parent else None for run in runs}
    result: dict[str, list[PlannedRun]] = {
        name: [] for name, parent in parents.items() if parent is None
    }
    for run in runs:
        root = run.name
        while (parent := parents[root]) is not None:
            root = parent
        result[root].append(run)
    return [tuple(chain) for chain in result.values()]


def shard_of(
    runs: Sequence[PlannedRun], costs: Mapping[str, float], index: int, count: int
) -> tuple[PlannedRun, ...]:
    """The runs of one of `count` shards: whole chains, so that no shard waits for another.

    Greedy balancing: chains in order of decreasing cost, each to the least loaded shard.

    Args:
        runs: the plan.
        costs: cost of each run, in any unit.
        index: which shard, from 0.
        count: number of shards; those beyond the number of chains are empty.

    Returns:
        The runs of the shard, in the order of the plan.

    Raises:
        UsageError: if `index` is not in [0, count).
    """
    if count < 1 or not 0 <= index < count:
        raise UsageError(
            f"--shard {index}/{count}: I/N counts from 0, so I is in [0, N)", value=index
        )
    numbered = list(enumerate(chains(runs)))
    priced = [(-sum(costs[run.name] for run in chain), number) for number, chain in numbered]
    load = [0.0] * count
    selected: set[str] = set()
    for negative_cost, number in sorted(priced):
        shard = min(range(count), key=lambda candidate: (load[candidate], candidate))
        load[shard] -= negative_cost
        if shard == index:
            selected |= {run.name for run in numbered[number][1]}
    return tuple(run for run in runs if run.name in selected)


def groups_of(
    runs: Sequence[PlannedRun], keys: Mapping[str, Hashable], max_runs: int
) -> tuple[RunGroup, ...]:
    """Split runs into groups of at most `max_runs` that can train together, parents first.

    Args:
        runs: whole chains.
        keys: for each run, the value that must be equal within a group.
        max_runs: largest number of runs in a group, >= 1.

    Raises:
        UsageError: if `max_runs` is below 1.
    """
    if max_runs < 1:
        raise UsageError(f"--fleet {max_runs}: must be at least 1", value=max_runs)
    depth = depths(runs)
    alike: dict[tuple[int, Hashable], list[PlannedRun]] = {}
    for run in sorted(runs, key=lambda run: depth[run.name]):  # stable: plan order within a depth
        alike.setdefault((depth[run.name], keys[run.name]), []).append(run)
    parts = [
        tuple(same[start : start + max_runs])
        for same in alike.values()
        for start in range(0, len(same), max_runs)
    ]
    group_of_run = {run.name: number for number, part in enumerate(parts) for run in part}
    return tuple(
        RunGroup(
            number, part, frozenset(group_of_run[run.parent.run] for run in part if run.parent)
        )
        for number, part in enumerate(parts)
    )
