"""The plans beside the shipped curves: each says what is there, to the last setting."""

from __future__ import annotations

from pathlib import Path

import pytest

from scaling_laws.data.runs import load_runs
from scaling_laws.proxy import load_corpus
from scaling_laws.proxy.sweep.sweep_training import prepare_sweep

DATA = Path(__file__).resolve().parents[2] / "data"
PLANS = sorted(DATA.glob("*/*/plan.toml")) + sorted(DATA.glob("*/plan.toml"))
PLANNED = {"micro"}  # not trained yet


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.parent.name)
def test_the_plan_is_done(plan: Path, tmp_path: Path) -> None:
    facts = plan.parent / "nano" if plan.parent.name == "proof" else plan.parent
    facts = facts / "dataset.toml"
    trained = facts.exists()
    assert trained or plan.parent.name in PLANNED
    text = load_corpus("stdlib").digest
    if trained and f'"{text}"' not in facts.read_text(encoding="utf-8"):
        pytest.skip("this Python has another standard library than the one that was trained on")
    sweep = prepare_sweep(plan, work=tmp_path)
    names = {row.name for row in sweep.runs}
    assert sweep.done == (names if trained else set())
    if trained:
        runs = load_runs(facts.parent)
        assert set(runs) == names
        for name, run in runs.items():
            assert (run.schedule.lr == sweep.configs[name].schedule.lr).all()
