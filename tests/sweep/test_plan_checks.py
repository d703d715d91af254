"""What is refused before anything starts: parents, histories, places, settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from scaling_laws.common.errors import ScalingLawsError
from scaling_laws.proxy.sweep.sweep_training import prepare_sweep
from tests.sweep.plans import write_plan


def table(name: str, schedule: str = "constant:peak=1e-3,steps=100", **keys: object) -> str:
    lines = [f'name = "{name}"', f'schedule = "{schedule}"']
    for key, value in keys.items():
        text = f'"{value}"' if isinstance(value, str) else str(value).lower()
        lines.append(f"{key.rstrip('_')} = {text}")
    return "\n".join(["[[run]]", *lines, ""])


ROOT = table("root")
COSINE = "cosine:peak=1e-3,steps=100"
WSD = "wsd:peak=1e-3,steps=100,decay_start=50"
WRONG = {
    ROOT + table("a", WSD, from_="rot@50"): "unknown run 'rot'; did you mean 'root'?",
    ROOT + table("a", WSD, from_="root@50", out="other"): "share a set",
    table("a", from_="b@5") + table("b", from_="a@10"): "a run cannot descend from itself: a -> b",
    table("a", from_="a@5"): "a -> a",
    ROOT + table("a", WSD.replace("=100", "=300"), from_="root@105"): "root ends after 100 updates",
    ROOT + table("a", "constant:peak=1e-3,steps=50", from_="root@50"): "nothing is left to train",
    ROOT
    + table("a", WSD, from_="root@55"): "the schedules differ before update 55, first at step 51",
    ROOT + table("a", WSD, from_="root@48"): "multiple of the 5 steps",
    ROOT + table("a", COSINE, from_="root@50"): "first at step 1: root has lr 0.001 and a 0.00099",
    ROOT + table("a", WSD, from_="root@50", seed=1): "root has seed = 0 and a 1",
    ROOT + table("a", WSD, from_="root@50", width=32): "root has width = 16 and a 32",
    ROOT
    + table("a", WSD, from_="root@50")
    + table("b", WSD, from_="a@20"): "a is itself a branch and begins at update 50; branch from "
    "root@20",
    table("a", "cosin:peak=1e-3,steps=100"): "[[run]] 1 (run 'a'): unknown schedule family 'cosin'",
    table("a", seed="x"): "[[run]] 1 (run 'a'): seed='x'",
    table("a", weight_decay=-1): "weight_decay=-1.0 must be a finite number >= 0",
    table("a/b"): "run name 'a/b'",
    table("a", corpus="nowhere/*.txt"): "nowhere",
}


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_refused(text: str, tmp_path: Path) -> None:
    plan = write_plan(tmp_path, text)
    with pytest.raises(ScalingLawsError) as caught:
        prepare_sweep(plan)
    assert WRONG[text] in str(caught.value)
    assert str(plan) in str(caught.value) and "[[run]] " in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_paths_start_from_the_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = "step,lr\n" + "".join(f"{step},1e-3\n" for step in range(20))
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans" / "rates.csv").write_text(rates)
    (tmp_path / "plans" / "text.txt").write_text("some words and others " * 400)
    plan = write_plan(tmp_path / "plans", table("a", "csv:rates.csv", corpus="text.txt"))
    monkeypatch.chdir(tmp_path)
    sweep = prepare_sweep(plan)
    assert sweep.configs["a"].schedule.lr.tolist() == [1e-3] * 20
    assert sweep.configs["a"].corpus.train.size > 7000
    command = sweep.training_runs["a"].command
    assert "--schedule csv:rates.csv" in command and "--corpus text.txt" in command
    assert command.endswith("--out runs --name a")


def test_runs_that_share_a_text_share_its_memory(tmp_path: Path) -> None:
    sweep = prepare_sweep(write_plan(tmp_path, table("a_{seed}", seed=[0, 1]) + table("b", COSINE)))
    corpora = {id(config.corpus) for config in sweep.configs.values()}
    assert len(sweep.configs) == 3 and len(corpora) == 1
    assert [sweep.configs[name].seed for name in ("a_0", "a_1", "b")] == [0, 1, 0]
