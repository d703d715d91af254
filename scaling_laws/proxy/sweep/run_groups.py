"""What waits for what: chains of branches, shards of whole chains, groups that train together.

Everything here is a pure function of the plan, never of what is finished: where runs train
together on an accelerator, their numbers depend on their companions.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence, Set
from dataclasses import dataclass

from scaling_laws.common import UsageError
from scaling_laws.proxy.sweep.sweep_plan import PlannedRun

__all__ = ["Group", "chains", "depths", "groups_of", "kept_steps", "shard_of"]


@dataclass(frozen=True)
class Group:
    """Runs that train together.

    Attributes:
        number: its place in the order, from 0; a group only waits for lower numbers.
        rows: runs that can train side by side, of equal depth.
        needs: numbers of the groups that hold the parents of its rows.
    """

    number: int
    rows: tuple[PlannedRun, ...]
    needs: frozenset[int]


def depths(rows: Sequence[PlannedRun]) -> dict[str, int]:
    """Branchings above each run: 0 from scratch, 1 for a branch of such a run, and so on.

    Args:
        rows: in any order; every parent is one of them and no run descends from itself.
    """
    parents = {row.name: row.parent.run if row.parent else None for row in rows}
    found: dict[str, int] = {}
    for row in rows:
        line = [row.name]
        while (above := parents[line[-1]]) is not None and above not in found:
            line.append(above)
        depth = -1 if above is None else found[above]
        for name in reversed(line):
            depth += 1
            found[name] = depth
    return found


def kept_steps(
    rows: Sequence[PlannedRun], done: Set[str] = frozenset()
) -> dict[str, tuple[int, ...]]:
    """Updates after which each run must leave a checkpoint for its branches, increasing.

    Args:
        rows: of a plan.
        done: names of branches that need none any more.
    """
    steps: dict[str, set[int]] = {row.name: set() for row in rows}
    for row in rows:
        if row.parent is not None and row.name not in done:
            steps[row.parent.run].add(row.parent.step)
    return {name: tuple(sorted(each)) for name, each in steps.items()}


def chains(rows: Sequence[PlannedRun]) -> list[tuple[PlannedRun, ...]]:
    """Runs from scratch, each with all that descends from it, in the order of the plan."""
    parents = {row.name: row.parent.run if row.parent else None for row in rows}
    members: dict[str, list[PlannedRun]] = {
        name: [] for name, parent in parents.items() if parent is None
    }
    for row in rows:
        root = row.name
        while (above := parents[root]) is not None:
            root = above
        members[root].append(row)
    return [tuple(each) for each in members.values()]


def shard_of(
    rows: Sequence[PlannedRun], costs: Mapping[str, float], index: int, count: int
) -> tuple[PlannedRun, ...]:
    """The runs of one of `count` shards: whole chains, so that no shard waits for another.

    The dearest chain goes first, each to the shard that has least so far.

    Args:
        rows: the plan.
        costs: of each run, in any unit.
        index: which shard, from 0.
        count: how many there are; those beyond the number of chains are empty.

    Returns:
        Its rows, in the order of the plan.

    Raises:
        UsageError: if `index` is not in [0, count).
    """
    if count < 1 or not 0 <= index < count:
        raise UsageError(f"--shard {index}/{count}: I/N counts from 0, so I is in [0, N)")
    cost = {chain: sum(costs[row.name] for row in rows_of) for chain, rows_of in _numbered(rows)}
    load = [0.0] * count
    mine: set[str] = set()
    numbered = dict(_numbered(rows))
    for chain in sorted(cost, key=lambda each: (-cost[each], each)):
        target = min(range(count), key=lambda each: (load[each], each))
        load[target] += cost[chain]
        if target == index:
            mine |= {row.name for row in numbered[chain]}
    return tuple(row for row in rows if row.name in mine)


def _numbered(rows: Sequence[PlannedRun]) -> list[tuple[int, tuple[PlannedRun, ...]]]:
    return list(enumerate(chains(rows)))


def groups_of(
    rows: Sequence[PlannedRun], keys: Mapping[str, Hashable], most: int
) -> tuple[Group, ...]:
    """Split runs into groups of at most `most` that can train together, parents' groups first.

    Args:
        rows: whole chains.
        keys: what must be equal within a group, for each run.
        most: runs in a group, >= 1.

    Raises:
        UsageError: if `most` is below 1.
    """
    if most < 1:
        raise UsageError(f"--fleet {most}: a group has 1 run or more")
    depth = depths(rows)
    alike: dict[tuple[int, Hashable], list[PlannedRun]] = {}
    for row in sorted(rows, key=lambda each: depth[each.name]):  # stable: plan order within a depth
        alike.setdefault((depth[row.name], keys[row.name]), []).append(row)
    parts = [
        tuple(same[start : start + most])
        for same in alike.values()
        for start in range(0, len(same), most)
    ]
    home = {row.name: number for number, part in enumerate(parts) for row in part}
    return tuple(
        Group(number, part, frozenset(home[row.parent.run] for row in part if row.parent))
        for number, part in enumerate(parts)
    )
