"""Exports in real PyTorch: LambdaLR, pickles, checkpoints."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scaling_laws as sl
from scaling_laws.decisions.export import export_schedule
from tests.export.reading import load

torch = pytest.importorskip("torch", reason="exports for PyTorch run in PyTorch")

SPEC = "cosine:peak=3e-4,end=3e-5,steps=200,warmup=20 + constant:peak=1e-4,steps=30"
PLAN = sl.schedule(SPEC)


def optimizer_with(*rates: float) -> Any:
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in rates]
    return torch.optim.SGD(groups, lr=1.0)


def run(optimizer: Any, scheduler: Any, steps: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Rates at which updates run: (steps, groups)."""
    rows = []
    for _ in range(steps):
        rows.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return np.array(rows)


@pytest.mark.parametrize("target", ["torch", "hf", "deepspeed"])
@pytest.mark.parametrize("form", ["multiplier", "absolute"])
def test_lambda_lr_follows_the_schedule(target: str, form: str, tmp_path: Path) -> None:
    export = export_schedule(SPEC, to=target, form=form)
    assert export.text is not None
    module = load(tmp_path, export.text)
    optimizer = optimizer_with(PLAN.peak_lr, 0.1 * PLAN.peak_lr)
    rates = run(optimizer, module.make_scheduler(optimizer), PLAN.steps)
    second = PLAN.lr if form == "absolute" else 0.1 * PLAN.lr
    np.testing.assert_allclose(rates[:, 0], PLAN.lr, rtol=0, atol=1e-7 * PLAN.peak_lr)
    np.testing.assert_allclose(rates[:, 1], second, rtol=0, atol=1e-7 * PLAN.peak_lr)


@pytest.mark.parametrize("scheduler_first", [True, False])
@pytest.mark.parametrize("form", ["multiplier", "absolute"])
@pytest.mark.parametrize("step", [1, 20, 200])
def test_resume_from_a_checkpoint(
    form: str, step: int, scheduler_first: bool, tmp_path: Path
) -> None:
    """In any order; the LambdaLR of torch would run one update at the rate of step 0."""
    text = export_schedule(SPEC, to="torch", form=form).text
    assert text is not None
    module = load(tmp_path, text)
    first = optimizer_with(PLAN.peak_lr)
    scheduler = module.make_scheduler(first)
    run(first, scheduler, step)
    torch.save({"o": first.state_dict(), "s": scheduler.state_dict()}, tmp_path / "c.pt")
    saved = torch.load(tmp_path / "c.pt")
    again = optimizer_with(PLAN.peak_lr)
    if scheduler_first:
        resumed = module.make_scheduler(again)
        again.load_state_dict(saved["o"])
    else:
        again.load_state_dict(saved["o"])
        resumed = module.make_scheduler(again)
    resumed.load_state_dict(saved["s"])
    rates = run(again, resumed, PLAN.steps - step)
    np.testing.assert_allclose(rates[:, 0], PLAN.lr[step:], rtol=0, atol=1e-7 * PLAN.peak_lr)


def test_the_schedule_can_be_pickled(tmp_path: Path) -> None:
    text = export_schedule(SPEC, to="torch").text
    assert text is not None
    module = load(tmp_path, text)
    again = pickle.loads(pickle.dumps(module.Schedule()))
    assert [again(step) for step in (0, 50, 229)] == [module.Schedule()(s) for s in (0, 50, 229)]


def test_the_last_rate_is_kept_beyond_the_end(tmp_path: Path) -> None:
    text = export_schedule(SPEC, to="torch").text
    assert text is not None
    module = load(tmp_path, text)
    assert module.rate_at(10**9) == module.rate_at(PLAN.steps - 1) and module.rate_at(-1) == 0.0


def test_merge_of_checkpoints(tmp_path: Path) -> None:
    """The merge of a constant run's checkpoints is where the decayed run would end."""
    spec = "wsm:peak=0.5,steps=40,weights=1/1/1/1,every=5"
    export = export_schedule(spec, to="wsm", checkpoint_every=5)
    assert export.text is not None and export.exact
    module = load(tmp_path, export.text)
    plan = sl.schedule(spec)
    gradients = np.random.default_rng(0).normal(size=40)  # independent of the weights
    states = [{"w": torch.tensor(-0.5 * gradients[:count].sum())} for count in module.CHECKPOINTS]
    merged = float(module.merge(states)["w"])
    assert merged == pytest.approx(-float(plan.lr @ gradients), abs=1e-6)
    assert [row.lr for row in export.table] == [0.5] * len(export.table)
    with pytest.raises(ValueError, match="3 checkpoints for"):
        module.merge(states[:3])


def test_a_new_scheduler_on_a_restored_optimizer(tmp_path: Path) -> None:
    """Multipliers are relative to the LR in the checkpoint's param groups: the whole run's."""
    first = optimizer_with(PLAN.peak_lr)
    text = export_schedule(SPEC, to="torch").text
    assert text is not None
    run(first, load(tmp_path, text).make_scheduler(first), 120)
    rest = export_schedule(SPEC, to="torch", start_step=120).text
    assert rest is not None
    second = optimizer_with(PLAN.peak_lr)
    second.load_state_dict(first.state_dict())
    (tmp_path / "rest").mkdir()
    scheduler = load(tmp_path / "rest", rest).make_scheduler(second)
    rates = run(second, scheduler, PLAN.steps - 120)
    np.testing.assert_allclose(rates[:, 0], PLAN.lr[120:], rtol=0, atol=1e-7 * PLAN.peak_lr)


@pytest.mark.parametrize("form", ["multiplier", "absolute"])
@pytest.mark.parametrize("start_step", [0, 120])
def test_groups_whose_peak_is_unknown(form: str, start_step: int, tmp_path: Path) -> None:
    """An optimizer whose LR was set by hand has a rate in the middle of the run, not a peak."""
    text = export_schedule(SPEC, to="torch", form=form, start_step=start_step).text
    assert text is not None
    module = load(tmp_path, text)
    last = -1 if start_step else 119
    resumed = optimizer_with(0.3 * PLAN.peak_lr)
    if form == "multiplier":
        with pytest.raises(ValueError, match="no initial_lr"):
            module.make_scheduler(resumed, last)
        resumed.param_groups[0]["initial_lr"] = PLAN.peak_lr
    scheduler = module.make_scheduler(resumed, last)
    rates = run(resumed, scheduler, PLAN.steps - 120)
    np.testing.assert_allclose(rates[:, 0], PLAN.lr[120:], rtol=0, atol=1e-7 * PLAN.peak_lr)


def test_absolute_rates_from_an_optimizer_at_zero(tmp_path: Path) -> None:
    text = export_schedule(SPEC, to="torch", form="absolute").text
    assert text is not None
    optimizer = optimizer_with(0.0)
    rates = run(optimizer, load(tmp_path, text).make_scheduler(optimizer), PLAN.steps)
    np.testing.assert_allclose(rates[:, 0], PLAN.lr, rtol=0, atol=1e-7 * PLAN.peak_lr)
