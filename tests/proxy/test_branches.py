"""Branches: the same path as the whole run, and one message where there is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scaling_laws.common.errors import ProxyError
from scaling_laws.data.runs import load_runs
from scaling_laws.proxy import BranchPoint
from tests.proxy.conftest import (
    KINDS,
    RICH,
    TINY,
    Stopped,
    assert_same,
    curve,
    dropped,
    go,
    member,
    stop_at,
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", [2, 4])
def test_a_branch_is_the_whole_run_bit_for_bit(
    kind: str, step: int, configure, whole, tmp_path: Path
) -> None:
    parent = member(tmp_path, configure(**KINDS[kind]), "parent", keep=(2, 4, 6))
    go(parent, tmp_path)
    assert_same(curve(parent), whole[kind])
    kept = sorted(path.name for path in (tmp_path / "set" / "checkpoints").iterdir())
    assert kept == [f"parent@{step}.npz" for step in (2, 4, 6)]
    plan = replace(configure(**KINDS[kind]), schedule=dropped(at=step))
    branch = member(tmp_path, plan, "branch", parent=BranchPoint(tmp_path / "set", "parent", step))
    alone = member(tmp_path, plan, "alone")
    told: list[int] = []
    (result,) = go(branch, tmp_path, progress=lambda news: told.append(news.step))
    assert told == list(range(step + 2, 7, 2))
    go(alone, tmp_path)
    assert_same(curve(branch), curve(alone))
    runs = load_runs(tmp_path / "set")  # beside checkpoints and a lock
    assert set(runs) == {"parent", "branch", "alone"}
    assert f'from = "parent@{step}"' in branch.destination.manifest.read_text()
    assert result.seconds > 0


def test_an_interrupted_branch_goes_on_to_the_same_bits(configure, whole, tmp_path: Path) -> None:
    go(member(tmp_path, configure(**RICH), "parent", keep=(2,)), tmp_path)
    own = member(tmp_path, configure(**RICH), parent=BranchPoint(tmp_path / "set", "parent", 2))
    for step in (4, 6):
        with pytest.raises(Stopped):
            go(own, tmp_path, checkpoint_every=0.0, progress=stop_at(step))
    go(own, tmp_path)
    assert_same(curve(own), whole["adamw"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"seed": 1}, r"seed = 0, not 1"),
        ({"weight_decay": 0.2}, r"weight_decay = 0.1, not 0.2"),
        ({"size": replace(TINY, width=32)}, r"width = 16, not 32"),
        ({"optimizer": "muon"}, r"optimizer = 'adamw', not 'muon'"),
        ({"ema": (0.5,)}, r"ema = \[\], not \[0.5\]"),
        ({"spec": "constant:peak=2e-2,steps=6,warmup=2"}, r"other learning rates before that step"),
    ],
)
def test_a_branch_of_another_path_names_what_differs(
    configure, tmp_path: Path, given, message: str
) -> None:
    go(member(tmp_path, configure(), "parent", keep=(2,)), tmp_path)
    far = tmp_path / "far"  # the set alone would turn some of them away
    other = member(
        far, configure(**given), "other", parent=BranchPoint(tmp_path / "set", "parent", 2)
    )
    first = member(tmp_path, configure(), "first")
    with pytest.raises(
        ProxyError, match=rf"other cannot branch from parent@2, which has {message}"
    ):
        go([first, other], tmp_path)
    assert not first.destination.curve.exists()  # found out before any training


def test_a_branch_without_a_parent_says_how_to_get_one(configure, tmp_path: Path) -> None:
    parent = member(tmp_path, configure(), "parent")
    first = member(tmp_path, configure(), "first")
    own = member(tmp_path, configure(), parent=BranchPoint(tmp_path / "set", "parent", 4))
    with pytest.raises(
        ProxyError, match=r"run: parent has no checkpoint at step 4 .* with --keep 4"
    ):
        go([first, own], tmp_path)
    assert not first.destination.curve.exists()
    # and following the advice helps, also where the parent is there already
    go(parent, tmp_path)
    before = parent.destination.curve.read_bytes()
    (result,) = go(replace(parent, keep=(4,)), tmp_path)
    assert result.state == "skipped"
    assert parent.destination.curve.read_bytes() == before
    assert go(own, tmp_path)[0].state == "finished"
    assert_same(curve(own), curve(parent))


def test_a_checkpoint_asked_for_after_the_training_has_passed_it(configure, tmp_path: Path) -> None:
    own = member(tmp_path, configure())
    with pytest.raises(Stopped):
        go(own, tmp_path, checkpoint_every=0.0, progress=stop_at(6))
    told: list[int] = []
    go(replace(own, keep=(2,)), tmp_path, progress=lambda news: told.append(news.step))
    assert told == [2, 4, 6]
    assert own.checkpoint_path(2).exists()


def test_parents_and_branches_in_one_call(configure, tmp_path: Path) -> None:
    parent = member(tmp_path, configure(), "parent", keep=(2,))
    middle = member(
        tmp_path,
        configure(),
        "middle",
        parent=BranchPoint(tmp_path / "set", "parent", 2),
        keep=(4,),
    )
    last = member(tmp_path, configure(), "last", parent=BranchPoint(tmp_path / "set", "middle", 4))
    results = go([last, middle, parent], tmp_path)  # in whatever order
    assert [each.name for each in results] == ["last", "middle", "parent"]
    assert {each.state for each in results} == {"finished"}
    assert_same(curve(last), curve(parent))
    assert_same(curve(middle), curve(parent))


def test_a_branch_of_a_run_that_diverges_fails_with_it(configure, tmp_path: Path) -> None:
    bad = member(
        tmp_path, replace(configure(), schedule=dropped(at=2, share=1e30)), "bad", keep=(2, 4)
    )
    early, late = (
        member(
            tmp_path,
            configure() if step == 2 else bad.config,
            f"from_{step}",
            parent=BranchPoint(tmp_path / "set", "bad", step),
        )
        for step in (2, 4)
    )
    good = member(tmp_path, configure(), "good")
    results = {each.name: each for each in go([late, early, good, bad], tmp_path)}
    states = {name: each.state for name, each in results.items()}
    assert states == {
        "bad": "failed",
        "from_2": "finished",
        "from_4": "failed",
        "good": "finished",
    }
    assert results["from_4"].error == "from_4: bad failed before step 4"
    assert "diverged at lr 1e+28" in results["bad"].error and np.isnan(results["bad"].final_loss)
    assert set(load_runs(tmp_path / "set")) == {"from_2", "good"}
    assert not bad.checkpoint_path(4).exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"keep": (3,)}, r"step 3 must lie in \[1, 6\] and be a multiple of the 2 steps"),
        ({"keep": (8,)}, r"step 8 must lie in \[1, 6\]"),
        ({"keep": (0,)}, r"step 0 must lie in \[1, 6\]"),
        ({"parent": BranchPoint(Path(), "parent", 3)}, r"step 3 must lie in \[1, 5\]"),
        ({"parent": BranchPoint(Path(), "parent", 6)}, r"step 6 must lie in \[1, 5\]"),
        (
            {"parent": BranchPoint(Path(), "parent", 4), "keep": (2,)},
            r"step 2 must lie in \[5, 6\]",
        ),
    ],
)
def test_branches_lie_between_two_windows(configure, tmp_path: Path, given, message: str) -> None:
    with pytest.raises(ProxyError, match=f"run: a branch at {message}"):
        member(tmp_path, configure(), **given)
