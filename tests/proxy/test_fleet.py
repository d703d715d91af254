"""Runs that survive: the same bits after any interruption, alone and side by side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scaling_laws.common.errors import ProxyError
from scaling_laws.data.runs import load_runs
from scaling_laws.proxy import (
    BranchPoint,
    Destination,
    LoggedStep,
    TrainingRun,
    fleet_key,
    is_finished,
)
from scaling_laws.proxy.training import training_loop
from scaling_laws.proxy.training.checkpoints import settings_of
from scaling_laws.proxy.training.fleet import _label
from scaling_laws.proxy.training.run_files import read_curve
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
@pytest.mark.parametrize("step", [2, 4, 6])
@pytest.mark.parametrize("seconds", [0.0, 1e9])
def test_an_interrupted_run_goes_on_to_the_same_bits(
    kind: str, step: int, seconds: float, configure, whole, tmp_path: Path
) -> None:
    own = member(tmp_path, configure(**KINDS[kind]))
    with pytest.raises(Stopped):
        go(own, tmp_path, checkpoint_every=seconds, progress=stop_at(step))
    kept = list((tmp_path / "work").glob("*"))
    assert len(kept) == (step > 2 and seconds == 0.0)
    assert not is_finished(own)
    told: list[int] = []
    (result,) = go(own, tmp_path, progress=lambda news: told.append(news.step))
    assert result.state == "finished" and is_finished(own)
    assert told == [each for each in (2, 4, 6) if not kept or each >= step]
    assert_same(curve(own), whole[kind])
    assert list((tmp_path / "work").glob("*")) == []


def test_interrupted_at_every_step_one_after_the_other(configure, whole, tmp_path: Path) -> None:
    own = member(tmp_path, configure(**RICH))
    for step in (2, 4, 4, 6, 6):
        with pytest.raises(Stopped):
            go(own, tmp_path, checkpoint_every=0.0, progress=stop_at(step))
    go(own, tmp_path)
    assert_same(curve(own), whole["adamw"])


def test_what_a_kill_left_half_written_goes(configure, tmp_path: Path) -> None:
    own = member(tmp_path, configure())
    with pytest.raises(Stopped):
        go(own, tmp_path, checkpoint_every=0.0, progress=stop_at(4))
    (spare,) = (tmp_path / "work").glob("*.npz")
    (tmp_path / "work" / f".{spare.stem}.abc123.npz").write_bytes(b"half")
    other = tmp_path / "work" / "other.npz"
    other.write_bytes(b"of another run")
    go(own, tmp_path)
    assert list((tmp_path / "work").iterdir()) == [other]


def test_a_damaged_checkpoint_is_named(configure, tmp_path: Path) -> None:
    own = member(tmp_path, configure())
    with pytest.raises(Stopped):
        go(own, tmp_path, checkpoint_every=0.0, progress=stop_at(4))
    (spare,) = (tmp_path / "work").glob("*.npz")
    spare.write_bytes(spare.read_bytes()[:500])
    with pytest.raises(ProxyError, match=rf"{spare.name} is not a readable checkpoint"):
        go(own, tmp_path)
    spare.unlink()
    assert go(own, tmp_path)[0].state == "finished"


def test_a_finished_run_is_skipped_and_another_refused(configure, tmp_path: Path) -> None:
    own = member(tmp_path, configure())
    (first,) = go(own, tmp_path)
    before = {path: path.read_bytes() for path in (tmp_path / "set").iterdir()}
    told: list[int] = []
    (again,) = go(own, tmp_path, progress=lambda news: told.append(news.step))
    assert again.state == "skipped" and again.seconds == 0.0 and again.files == ()
    assert again.final_loss == pytest.approx(first.final_loss, rel=1e-7)
    assert told == []
    other = member(tmp_path, configure(seed=1))
    fresh = member(tmp_path, configure(), "fresh")
    with pytest.raises(ProxyError, match=r"already has a run 'run', with other settings"):
        go([fresh, other], tmp_path)
    assert {path: path.read_bytes() for path in (tmp_path / "set").iterdir()} == before
    over = replace(other, destination=replace(other.destination, overwrite=True))
    (result,) = go(over, tmp_path)
    assert result.state == "finished"
    assert read_curve(own.destination.curve)["loss"][-1] != first.final_loss
    assert is_finished(other)


def test_a_run_of_the_first_version_says_no_settings(configure, tmp_path: Path) -> None:
    own = member(tmp_path, configure())
    go(own, tmp_path)
    manifest = own.destination.manifest
    lines = manifest.read_text().splitlines(keepends=True)
    manifest.write_text("".join(line for line in lines if not line.startswith("settings")))
    with pytest.raises(
        ProxyError, match="already has a run 'run', which does not state its settings"
    ):
        go(own, tmp_path)


def test_two_members_with_one_place_are_refused(configure, tmp_path: Path) -> None:
    both = [member(tmp_path, configure(seed=seed)) for seed in (0, 1)]
    with pytest.raises(ProxyError, match=r"two runs would write .*run.csv"):
        go(both, tmp_path)
    assert not (tmp_path / "set").exists()


def fleet_of(configure, folder: Path, **given: Any) -> list[TrainingRun]:
    """Three that share a key: other seeds, rates and weight decays."""
    base = configure(**given)
    plans = [
        base,
        replace(base, seed=3, weight_decay=0.5),
        replace(base, schedule=dropped(at=3)),
    ]
    return [member(folder, plan, f"run_{i}") for i, plan in enumerate(plans)]


@pytest.fixture(scope="module")
def beside(configure, tmp_path_factory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("beside")
    members = fleet_of(configure, folder, **RICH)
    results = go(members, folder, fleet="vmap")
    assert [each.state for each in results] == ["finished"] * 3
    assert [each.name for each in results] == ["run_0", "run_1", "run_2"]
    return [curve(each) for each in members]


def test_side_by_side_is_one_after_the_other(configure, whole, beside, tmp_path: Path) -> None:
    members = fleet_of(configure, tmp_path, **RICH)
    assert len({fleet_key(each) for each in members}) == 1
    go(members, tmp_path, fleet="loop")
    assert_same(curve(members[0]), whole["adamw"])  # whoever else is in the fleet
    for own, found in zip(members, beside, strict=True):
        for name, column in curve(own).items():
            np.testing.assert_allclose(found[name], column, rtol=2e-4, err_msg=name)
    assert not np.array_equal(beside[0]["loss"], beside[1]["loss"])


def test_an_interrupted_fleet_goes_on_to_the_same_bits(configure, beside, tmp_path: Path) -> None:
    members = fleet_of(configure, tmp_path, **RICH)
    for step, name in ((4, "run_1"), (6, "run_2")):
        with pytest.raises(Stopped):
            go(
                members,
                tmp_path,
                fleet="vmap",
                checkpoint_every=0.0,
                progress=stop_at(step, name),
            )
    go(members, tmp_path, fleet="vmap")
    for own, found in zip(members, beside, strict=True):
        assert_same(curve(own), found)


def test_a_fleet_of_branches_is_the_fleet(configure, beside, tmp_path: Path) -> None:
    members = fleet_of(configure, tmp_path, **RICH)
    go([replace(each, keep=(2,)) for each in members], tmp_path, fleet="vmap")
    branches = [
        replace(
            each,
            destination=Destination(tmp_path / "set", f"{each.destination.name}_again"),
            parent=BranchPoint(tmp_path / "set", each.destination.name, 2),
        )
        for each in members
    ]
    go(branches, tmp_path, fleet="vmap")
    for own, found in zip(branches, beside, strict=True):
        assert_same(curve(own), found)


@pytest.mark.parametrize("fleet", ["vmap", "loop"])
def test_one_that_diverges_stops_nobody_else(configure, fleet: Any, tmp_path: Path) -> None:
    members = [
        member(tmp_path, configure(), "good"),
        member(tmp_path, replace(configure(), schedule=dropped(at=2, share=1e30)), "bad"),
    ]
    good, bad = go(members, tmp_path, fleet=fleet)
    assert (good.state, bad.state) == ("finished", "failed")
    assert "the run diverged at lr 1e+28" in bad.error
    assert set(load_runs(tmp_path / "set")) == {"good"}
    assert list((tmp_path / "work").glob("*")) == []


def test_a_failure_is_not_forgotten_by_a_resumed_fleet(
    configure, monkeypatch, tmp_path: Path
) -> None:
    """A loss that leaves its bounds and comes back fails, interrupted or not."""
    members = fleet_of(configure, tmp_path)
    monkeypatch.setattr(training_loop, "DIVERGED", 1e-3)
    first = members[0].destination.name

    def progress(news: LoggedStep) -> None:
        if (news.step, news.name) == (4, first):
            raise Stopped

    # everybody but the first is out of bounds in the first window, and only there
    real = training_loop.divergence

    def divergence(config: Any, window: Any, losses: Any, loss: float) -> str | None:
        if window.first == 0 and config is not members[0].config:
            return real(config, window, losses, loss)
        return None

    monkeypatch.setattr(training_loop, "divergence", divergence)
    with pytest.raises(Stopped):
        go(members, tmp_path, fleet="vmap", checkpoint_every=0.0, progress=progress)
    states = [each.state for each in go(members, tmp_path, fleet="vmap")]
    assert states == ["finished", "failed", "failed"]


def test_a_fleet_with_a_finished_member(configure, beside, tmp_path: Path) -> None:
    members = fleet_of(configure, tmp_path, **RICH)
    go(members, tmp_path, fleet="vmap")
    members[1].destination.curve.unlink()
    before = [each.destination.curve.read_bytes() for each in (members[0], members[2])]
    results = go(members, tmp_path, fleet="vmap")
    assert [each.state for each in results] == ["skipped", "finished", "skipped"]
    assert_same(curve(members[1]), beside[1])
    after = [each.destination.curve.read_bytes() for each in (members[0], members[2])]
    assert after == before


def test_labels_are_told_apart(configure, tmp_path: Path) -> None:
    def label(*group: TrainingRun) -> str:
        return _label(list(group), [settings_of(each.config) for each in group])

    one, two = (member(tmp_path, configure(seed=seed)) for seed in (0, 1))
    elsewhere = member(tmp_path / "else", configure())
    named = member(tmp_path, configure(), "x" * 200)
    labels = [
        label(one), label(two), label(elsewhere), label(named), label(one, two), label(two, one)
    ]  # fmt: skip
    assert len(set(labels)) == len(labels)
    assert label(one) == label(member(tmp_path, configure()))
    assert max(map(len, labels)) < 128


def test_keys_separate_what_compiles_apart(configure, tmp_path: Path) -> None:
    base = member(tmp_path, configure())
    same = [configure(seed=4), configure(weight_decay=0.3), configure(sampling="epochs")]
    assert {fleet_key(member(tmp_path, each)) for each in same} == {fleet_key(base)}
    others = [
        configure("constant:peak=1e-2,steps=8"),
        configure(every=3),
        configure(optimizer="muon"),
        configure(precision="bfloat16"),
        configure(width_rule="none"),
        configure(ema=(0.5,)),
        configure(merge=(2,)),
        configure(ramp=((2, 8),)),
        configure(size=replace(TINY, batch=8)),
    ]
    keys = {fleet_key(member(tmp_path, each)) for each in others}
    keys.add(fleet_key(replace(base, parent=BranchPoint(tmp_path, "parent", 2))))
    assert len(keys | {fleet_key(base)}) == len(others) + 2
