"""The emulated schedules against the real functions of transformers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import scaling_laws as sl
from scaling_laws.decisions.export import export_schedule
from scaling_laws.decisions.export.hf import FAMILIES
from scaling_laws.decisions.export.native import NativeFamily
from tests.export.reading import load

torch = pytest.importorskip("torch", reason="schedulers of transformers need PyTorch")
pytest.importorskip("transformers", reason="the emulated schedules are compared with the real ones")

STEPS = 300
NUMBERS = {"warmup": 17, "decay": 90, "timescale": 40}


def rates_in_transformers(found: dict[str, Any], steps: int) -> np.ndarray[Any, Any]:
    """Rates at which updates run under the arguments of an export."""
    from transformers.optimization import get_scheduler

    peak = found["learning_rate"]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    scheduler = get_scheduler(
        found["lr_scheduler_type"],
        optimizer,
        num_warmup_steps=found["warmup_steps"],
        num_training_steps=found["max_steps"],
        scheduler_specific_kwargs=found.get("lr_scheduler_kwargs", {}),
    )
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return np.array(rates)


@pytest.mark.parametrize("warmup", [0, 1, 17])
@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: " ".join(map(str, [f.name, f.options])))
def test_native_families_are_those_of_transformers(family: NativeFamily, warmup: int) -> None:
    numbers = {axis: {**NUMBERS, "warmup": warmup}[axis] for axis in family.axes}
    basis = family.basis(np.arange(STEPS, dtype=np.float64), STEPS, numbers)
    if basis is None:
        pytest.skip("this schedule has a warm-up of one step or more")
    lr = 3e-4 * basis[0] + 2e-5 * basis[1]
    export = export_schedule(sl.Schedule("native", lr), to="hf", kind="native")
    assert export.exact
    found = rates_in_transformers(dict(export.native_arguments), STEPS)
    np.testing.assert_allclose(found, lr, rtol=0, atol=1e-7 * lr.max())


@pytest.mark.parametrize(
    ("spec", "name", "exact"),
    [
        ("constant:peak=3e-4,steps=300", "constant", True),
        ("constant:peak=3e-4,steps=300,warmup=20", "constant_with_warmup", True),
        ("linear:peak=3e-4,steps=300", "linear", True),
        ("cosine:peak=3e-4,steps=300", "cosine", True),
        ("wsd:peak=3e-4,steps=300,warmup=20,decay_fraction=0.2", "warmup_stable_decay", True),
        # ours reaches the peak one step before the decay starts, theirs at that step
        ("linear:peak=3e-4,steps=300,warmup=20", None, True),
        ("multistage:peak=1e-3,at=100,to=1e-4,steps=300", None, False),
    ],
)
def test_what_is_native(spec: str, name: str | None, exact: bool) -> None:
    plan = sl.schedule(spec)
    export = export_schedule(spec, to="hf", kind="native")
    assert export.exact is exact
    found = dict(export.native_arguments)
    assert name is None or found["lr_scheduler_type"] == name
    real = rates_in_transformers(found, plan.steps)
    assert np.abs(real - plan.lr).max() == pytest.approx(export.max_lr_error, abs=1e-12)
    assert (
        export.native_text is not None and f'"{found["lr_scheduler_type"]}"' in export.native_text
    )


def test_the_mixin_makes_the_scheduler_once(tmp_path: Path) -> None:
    text = export_schedule("cosine:peak=0.5,steps=100,warmup=5", to="hf").text
    assert text is not None
    module = load(tmp_path, text)

    class Base:
        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
            raise AssertionError("the trainer's own scheduler was made")

    class Trainer(module.ScheduledTrainer, Base):  # type: ignore[misc, name-defined]
        lr_scheduler = None
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)

    trainer = Trainer()
    made = trainer.create_scheduler(100)
    assert made is trainer.lr_scheduler is trainer.create_scheduler(100)
    assert isinstance(made, torch.optim.lr_scheduler.LambdaLR)
    assert SimpleNamespace(**made.state_dict()).last_epoch == 0
