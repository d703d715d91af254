"""Groups, shards and what waits for what, of random forests of branches."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling_laws.common.errors import UsageError
from scaling_laws.proxy.sweep.run_groups import chains, depths, groups_of, kept_steps, shard_of
from scaling_laws.proxy.sweep.sweep_plan import Parent, PlannedRun


def row(name: str, parent: Parent | None = None) -> PlannedRun:
    return PlannedRun(name, Path("/set"), {}, parent, f"[[run]] ({name})")


@st.composite
def forests(draw: st.DrawFn) -> tuple[PlannedRun, ...]:
    """Rows in any order, each from scratch or a branch of one that was drawn before."""
    rows: list[PlannedRun] = []
    for index in range(draw(st.integers(1, 12))):
        above = draw(st.none() | st.integers(0, index - 1)) if index else None
        parent = None if above is None else Parent(f"r{above}", draw(st.integers(1, 9)))
        rows.append(row(f"r{index}", parent))
    return tuple(draw(st.permutations(rows)))


def roots(rows: tuple[PlannedRun, ...]) -> dict[str, str]:
    parents = {each.name: each.parent.run if each.parent else None for each in rows}
    found = {}
    for name in parents:
        root = name
        while parents[root] is not None:
            root = parents[root]
        found[name] = root
    return found


@given(forests(), st.integers(1, 5), st.data())
def test_shards_hold_every_row_once_and_chains_whole(
    rows: tuple[PlannedRun, ...], count: int, data: st.DataObject
) -> None:
    costs = {each.name: data.draw(st.floats(0, 1e6)) for each in rows}
    shards = [shard_of(rows, costs, index, count) for index in range(count)]
    assert sorted(each.name for shard in shards for each in shard) == sorted(costs)
    root = roots(rows)
    homes: dict[str, set[int]] = {}
    for index, shard in enumerate(shards):
        for each in shard:
            homes.setdefault(root[each.name], set()).add(index)
        assert list(shard) == [each for each in rows if each in shard]
    assert all(len(where) == 1 for where in homes.values())
    assert len(chains(rows)) == len(homes)
    if count <= len(homes) and all(costs[name] > 0 for name in costs):
        assert all(shards)


@given(forests(), st.integers(1, 5), st.data())
def test_groups_hold_every_row_once_after_its_parent(
    rows: tuple[PlannedRun, ...], most: int, data: st.DataObject
) -> None:
    keys = {each.name: data.draw(st.sampled_from("xyz")) for each in rows}
    groups = groups_of(rows, keys, most)
    depth = depths(rows)
    assert [group.number for group in groups] == list(range(len(groups)))
    home = {each.name: group.number for group in groups for each in group.runs}
    assert sum(len(group.runs) for group in groups) == len(home) == len(rows)
    for group in groups:
        assert 1 <= len(group.runs) <= most
        assert len({(keys[each.name], depth[each.name]) for each in group.runs}) == 1
        assert group.depends_on == {home[each.parent.run] for each in group.runs if each.parent}
        assert all(number < group.number for number in group.depends_on)
    for each in rows:
        assert depth[each.name] == (depth[each.parent.run] + 1 if each.parent else 0)


def test_groups_are_full_before_the_next() -> None:
    rows = [row(f"r{index}") for index in range(5)]
    groups = groups_of(rows, dict.fromkeys((each.name for each in rows), 0), 2)
    assert [len(group.runs) for group in groups] == [2, 2, 1]


def test_kept_steps() -> None:
    rows = [row("a"), row("b", Parent("a", 7)), row("c", Parent("a", 3)), row("d", Parent("a", 7))]
    assert kept_steps(rows) == {"a": (3, 7), "b": (), "c": (), "d": ()}
    assert kept_steps(rows, {"b", "c"})["a"] == (7,)
    assert kept_steps(rows, {"b", "d"})["a"] == (3,)


def test_numbers_out_of_range() -> None:
    with pytest.raises(UsageError, match="--shard 2/2"):
        shard_of([row("a")], {"a": 1.0}, 2, 2)
    with pytest.raises(UsageError, match="--fleet 0"):
        groups_of([row("a")], {"a": 0}, 0)
