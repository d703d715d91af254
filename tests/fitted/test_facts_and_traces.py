"""Facts and logged quantities that some laws need beside the schedule."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scaling_laws.common.errors import DataError, LawError, UsageError
from scaling_laws.data.runs import Run, load_runs
from scaling_laws.decisions.search import optimize
from scaling_laws.inference.fitting import fit
from scaling_laws.inference.results import CurveFit, evaluate, final_losses, load_law
from scaling_laws.models.laws import get_schedule_law
from scaling_laws.models.schedules import schedule
from tests.helpers import draw_values

FIRST = "cosine:peak=1e-3,end=1e-4,steps=300,warmup=20"
JOINED = f"{FIRST} + cosine:peak=5e-4,steps=200,warmup=10"


def law(name: str) -> CurveFit:
    return CurveFit(get_schedule_law(name), draw_values(get_schedule_law(name), 2, 1e-3))


def test_a_joined_schedule_says_when_the_corpus_changes() -> None:
    fitted = law("continual")
    with pytest.raises(LawError, match=r"continual needs transfer_step.*--transfer-step"):
        fitted.predict(FIRST)
    joined = fitted.predict(JOINED)
    told = fitted.predict(JOINED, facts={"transfer_step": 300})
    np.testing.assert_array_equal(joined.loss, told.loss)
    other = fitted.predict(JOINED, facts={"transfer_step": 250})
    np.testing.assert_allclose(other.loss[:250], joined.loss[:250], rtol=1e-12)
    assert abs(other.final_loss - joined.final_loss) > 1e-4


def test_before_the_transfer_the_law_is_lr_annealing() -> None:
    fitted = law("continual")
    values = {"L0": fitted.params["L0"], "A": fitted.params["A"], "C": fitted.params["C1"]}
    values |= {name: fitted.params[name] for name in ("alpha", "decay")}
    plain = CurveFit.of("lr_annealing", values).predict(FIRST)
    np.testing.assert_allclose(fitted.predict(JOINED).loss[:300], plain.loss, rtol=1e-10)


def test_runs_carry_the_transfer_and_the_norms(tmp_path: Path) -> None:
    (tmp_path / "dataset.toml").write_text(f'[runs.a]\nschedule = "{JOINED}"\n')
    (tmp_path / "a.csv").write_text(
        "step,loss,param_norm\n100,4.0,10\n200,3.5,\n300,3.2,30\n499,3.0,40\n"
    )
    run = load_runs(tmp_path)["a"]
    assert run.facts == {"transfer_step": 300.0}
    norm = run.traces["param_norm"]
    assert norm.shape == (500,)
    assert norm[[0, 100, 200, 300, 499]].tolist() == [10, 10, 20, 30, 40]
    assert evaluate(law("functional_noise_norms"), [run]).runs["a"]["n"] == 4


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"transfer_step": -5}, "transfer_step=-5 must be a number >= 1"),
        ({"transfer_step": float("nan")}, "transfer_step=nan must be a number"),
        ({"transfer_step": None}, "transfer_step=None must be a number"),
        ({"transfer": 5}, "unknown fact 'transfer'; did you mean 'transfer_step'"),
    ],
)
def test_facts_are_checked(facts: dict[str, float], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        law("continual").predict(FIRST, facts=facts)
    with pytest.raises(UsageError, match=words):
        optimize(law("continual"), steps=100, peak=1e-3, facts=facts)
    with pytest.raises(UsageError, match=words):
        final_losses(law("continual"), np.ones((1, 5)), facts=facts)


def test_runs_may_state_different_facts() -> None:
    """Joined specs state a transfer, plain ones do not: laws that do not care fit both."""
    truth = CurveFit.of("power", {"L0": 2.0, "A": 0.5, "alpha": 0.5})
    steps = np.arange(20, 300, 10)
    runs = []
    for name, spec, facts in (("a", FIRST, {}), ("b", JOINED, {"transfer_step": 300.0})):
        runs.append(Run(name, schedule(spec), steps, truth.predict(spec, steps).loss, facts))
    fitted = fit("power", runs, starts=2)
    assert fitted.params["alpha"] == pytest.approx(0.5, rel=1e-3)


def test_a_size_outside_the_fit_is_noted(tmp_path: Path) -> None:
    truth = law("lr_annealing_size")
    steps = np.arange(20, 300, 10)
    runs = []
    for size in (1e6, 1e7, 1e8):
        facts = {"model_params": size}
        loss = truth.predict(FIRST, steps, facts=facts).loss
        runs.append(Run(f"{size:g}", schedule(FIRST), steps, loss, facts))
    fitted = fit("lr_annealing_size", runs, starts=2, hold_out=False)
    again = load_law(fitted.save(tmp_path / "law.json"))
    assert again.range == fitted.range
    assert again.predict(FIRST, facts={"model_params": 2e7}).notes == ()
    note, doubt = again.predict(FIRST, facts={"model_params": 1e10}).notes
    assert note == "model_params 1e+10 is outside the fitted 1e+06 to 1e+08"
    assert "exceed 1000 nats" in doubt


@pytest.mark.parametrize(
    ("cell", "words"), [("0", "row 3, column 'param_norm': 0 is not > 0"), ("-1", "-1 is not")]
)
def test_norms_must_be_positive(tmp_path: Path, cell: str, words: str) -> None:
    (tmp_path / "dataset.toml").write_text(f'[runs.a]\nschedule = "{FIRST}"\n')
    (tmp_path / "a.csv").write_text(f"step,loss,param_norm\n1,4,3\n2,4,{cell}\n")
    with pytest.raises(DataError, match=words):
        load_runs(tmp_path)


def test_the_effective_rate_is_lr_over_norm() -> None:
    """Norms that double halve the clock: the same as a schedule of half the rates."""
    with_norms, plain = law("functional_noise_norms"), law("functional_noise")
    plan = schedule(FIRST)
    halved = CurveFit.of("functional_noise", with_norms.params)
    spec = FIRST.replace("1e-3", "5e-4").replace("1e-4", "5e-5")
    found = with_norms.predict(plan, traces={"param_norm": np.full(300, 2.0)})
    np.testing.assert_allclose(found.loss, halved.predict(spec).loss, rtol=1e-10)
    assert plain.law is not with_norms.law
    with pytest.raises(LawError, match="needs param_norm at every step"):
        with_norms.predict(plan)
    with pytest.raises(LawError, match=r"trace param_norm has shape \(3,\); it must be \(300,\)"):
        with_norms.predict(plan, traces={"param_norm": np.ones(3)})
    for bad in (0.0, -1.0, np.nan):
        with pytest.raises(LawError, match="param_norm must be finite and > 0 at every step"):
            with_norms.predict(plan, traces={"param_norm": np.full(300, bad)})
    with pytest.raises(DataError, match="unknown trace 'norm'"):
        Run("a", plan, np.array([1]), np.array([3.0]), traces={"norm": np.ones(300)})
