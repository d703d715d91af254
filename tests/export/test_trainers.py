"""Exports in the trainers themselves: the rate of every update, exact and native.

Run by `.ci/trainers`, which installs the trainers; each test is skipped where its trainer is not
installed.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import scaling_laws as sl
from scaling_laws.decisions.export import export_schedule
from tests.export.reading import load

# trainers and their dependencies issue many warnings of their own
pytestmark = [pytest.mark.trainers, pytest.mark.filterwarnings("ignore")]

Array = NDArray[np.float64]
STEPS = 60
BATCH = {"samples_per_step": 8, "tokens_per_step": 1024}
SPEC = f"cosine:peak=3e-4,end=3e-5,steps={STEPS - 20},warmup=7 + constant:peak=1e-4,steps=20"
NATIVE = (
    f"cosine:peak=3e-4,end=3e-5,steps={STEPS}",
    f"cosine:peak=3e-4,end=3e-5,steps={STEPS},warmup=7",
    f"wsd:peak=3e-4,steps={STEPS},warmup=7,decay_fraction=0.3",
    f"wsd:peak=3e-5,end=3e-6,steps={STEPS},warmup=7,decay=1-sqrt,decay_fraction=0.3",
    f"linear:peak=3e-4,steps={STEPS}",
    f"constant:peak=3e-4,steps={STEPS},warmup=7",
)


def library(name: str) -> Any:
    """A module of a trainer, or a skip that says which one is missing."""
    return pytest.importorskip(
        name,
        reason=f"{name.split('.')[0]} does not import here; .ci/trainers installs it",
        exc_type=ImportError,
    )


@pytest.fixture
def torch() -> Any:
    return library("torch")


def optimizer_of(torch: Any, lr: float) -> Any:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)


def stepped(optimizer: Any, scheduler: Any, steps: int) -> Array:
    """Rates at which updates run: (steps,)."""
    rates = []
    for _ in range(steps):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return np.array(rates)


def exact(target: str, folder: Path, **options: Any) -> tuple[Any, sl.Schedule]:
    """The module of an exact export, and the schedule."""
    text = export_schedule(SPEC, to=target, kind="exact", **options).text
    assert text is not None
    return load(folder, text), sl.schedule(SPEC)


def assert_rates(found: Sequence[float] | Array, wanted: Array) -> None:
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-7 * wanted.max())


def native(target: str, spec: str) -> tuple[dict[str, Any], Array]:
    """What the user enters, and the rates that the export states for it."""
    export = export_schedule(spec, to=target, kind="native")
    assert export.native is not None
    return dict(export.native_arguments), export.native.lr


def olmo(scheduler: Any, lr: float, unit: str = "steps") -> list[float]:
    """Rates set by OLMo-core's own method, which the trainer calls before each update."""
    group = {"lr": lr, "initial_lr": None, "params": []}
    rates = []
    for step in range(STEPS):
        done = step + 1
        trainer = SimpleNamespace(
            global_step=done,
            max_steps=STEPS,
            global_train_tokens_seen=done * BATCH["tokens_per_step"],
            max_tokens=STEPS * BATCH["tokens_per_step"],
        )
        scheduler.set_lr(group, trainer)
        rates.append(float(group["lr"]))
    return rates


@pytest.mark.parametrize("unit", ["steps", "tokens"])
def test_olmo_core_exact(unit: str, tmp_path: Path) -> None:
    library("olmo_core.optim.scheduler")
    module, plan = exact("olmo", tmp_path, unit=unit, **BATCH)
    assert_rates(olmo(module.ExportedSchedule(), plan.peak_lr, unit), plan.lr)


@pytest.mark.parametrize("spec", NATIVE)
def test_olmo_core_native(spec: str) -> None:
    schedulers = library("olmo_core.optim.scheduler")
    keys, lr = native("olmo", spec)
    scheduler = getattr(schedulers, keys["scheduler"])(**keys["fields"])
    assert_rates(olmo(scheduler, keys["lr"]), lr)


def titan() -> Any:
    """The class of containers of torchtitan 0.3 or 0.2."""
    library("torchtitan")
    for name in ("torchtitan.components.optimizer", "torchtitan.components.lr_scheduler"):
        try:
            return importlib.import_module(name).LRSchedulersContainer
        except (ImportError, AttributeError):
            continue
    pytest.fail("this torchtitan has no LRSchedulersContainer where 0.2 and 0.3 have it")


def test_torchtitan_exact(torch: Any, tmp_path: Path) -> None:
    container = titan()
    module, plan = exact("torchtitan", tmp_path)
    optimizer = optimizer_of(torch, plan.peak_lr)
    made = module.build_lr_schedulers([optimizer], None, STEPS)
    assert isinstance(made, container)
    assert_rates(stepped(optimizer, made, STEPS), plan.lr)
    if hasattr(container, "Config"):
        optimizer = optimizer_of(torch, plan.peak_lr)
        made = module.ScheduleConfig().build(optimizers=[optimizer], training_steps=STEPS)
        assert_rates(stepped(optimizer, made, STEPS), plan.lr)


@pytest.mark.parametrize("spec", NATIVE)
def test_torchtitan_native(spec: str, torch: Any) -> None:
    container = titan()
    keys, lr = native("torchtitan", spec)
    optimizer = optimizer_of(torch, keys["optimizer"]["lr"])
    table = keys["lr_scheduler"]
    if hasattr(container, "Config"):
        made = container.Config(**table).build(optimizers=[optimizer], training_steps=STEPS)
    else:
        old = importlib.import_module("torchtitan.components.lr_scheduler")
        config = importlib.import_module("torchtitan.config").LRScheduler(**table)
        made = old.build_lr_schedulers([optimizer], config, STEPS)
    assert_rates(stepped(optimizer, made, STEPS), lr)


def megatron(groups: list[dict[str, Any]], **settings: Any) -> Any:
    scheduler = library("megatron.core.optimizer_param_scheduler").OptimizerParamScheduler
    fixed = {"init_lr": 0.0, "start_wd": 0.0, "end_wd": 0.0, "wd_incr_steps": STEPS}
    optimizer = SimpleNamespace(param_groups=groups)
    return scheduler(optimizer, wd_incr_style="constant", **fixed, **settings)


def megatron_rates(scheduler: Any, group: dict[str, Any]) -> list[float]:
    rates = []
    for _ in range(STEPS):
        rates.append(float(group["lr"]))
        scheduler.step(increment=BATCH["samples_per_step"])
    return rates


def test_megatron_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = library("megatron.core.optimizer_param_scheduler").OptimizerParamScheduler
    monkeypatch.setattr(place, "get_lr", place.get_lr)  # restored after apply()
    module, plan = exact("megatron", tmp_path, **BATCH)
    module.apply()
    group = {"lr": 0.0, "params": []}
    made = megatron(
        [group],
        max_lr=plan.peak_lr,
        min_lr=0.0,
        lr_warmup_steps=0,
        lr_decay_steps=STEPS * BATCH["samples_per_step"],
        lr_decay_style="constant",
    )
    assert_rates(megatron_rates(made, group), plan.lr)


@pytest.mark.parametrize("spec", NATIVE)
def test_megatron_native(spec: str) -> None:
    keys, lr = native("megatron", spec)
    batch = BATCH["samples_per_step"]
    group = {"lr": 0.0, "params": []}
    more: dict[str, Any] = {}
    if keys["lr-decay-style"] == "WSD":
        more["wsd_decay_steps"] = keys["lr-wsd-decay-iters"] * batch
        more["lr_wsd_decay_style"] = keys["lr-wsd-decay-style"]
    made = megatron(
        [group],
        max_lr=keys["lr"],
        min_lr=keys["min-lr"],
        lr_warmup_steps=keys["lr-warmup-iters"] * batch,
        lr_decay_steps=keys["lr-decay-iters"] * batch,
        lr_decay_style=keys["lr-decay-style"],
        **more,
    )
    assert_rates(megatron_rates(made, group), lr)


@pytest.fixture(scope="module")
def engine() -> Callable[..., Any]:
    """`deepspeed.initialize` on the CPU, in one process."""
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    for name, value in (
        ("RANK", "0"),
        ("LOCAL_RANK", "0"),
        ("WORLD_SIZE", "1"),
        ("MASTER_ADDR", "127.0.0.1"),
        ("MASTER_PORT", "29517"),
    ):
        os.environ.setdefault(name, value)
    deepspeed = library("deepspeed")
    torch = library("torch")

    def start(config: dict[str, Any], **options: Any) -> Any:
        model = torch.nn.Linear(1, 1)
        base = {"train_micro_batch_size_per_gpu": 1, "train_batch_size": 1}
        if "make" in options:
            made = torch.optim.SGD(model.parameters(), lr=options.pop("lr"))
            options |= {"optimizer": made, "lr_scheduler": options.pop("make")(made)}
        return deepspeed.initialize(
            model=model,
            model_parameters=model.parameters(),
            config={**base, **config},
            dist_init_required=True,
            **options,
        )[0]

    return start


def trained(engine: Any, torch: Any) -> list[float]:
    rates = []
    for _ in range(STEPS):
        rates.append(float(engine.optimizer.param_groups[0]["lr"]))
        engine.backward(engine(torch.ones(1, 1)).mean())
        engine.step()
    return rates


def test_deepspeed_exact(engine: Callable[..., Any], torch: Any, tmp_path: Path) -> None:
    module, plan = exact("deepspeed", tmp_path)
    made = engine({}, make=module.make_scheduler, lr=plan.peak_lr)
    assert_rates(trained(made, torch), plan.lr)


@pytest.mark.parametrize("family", ["constant", "linear", "cosine"])
def test_deepspeed_native(family: str, engine: Callable[..., Any], torch: Any) -> None:
    spec = f"{family}:peak=3e-4,steps={STEPS},warmup=30"
    export = export_schedule(spec, to="deepspeed", kind="native")
    assert export.native is not None
    config = json.loads(str(export.text))
    config["optimizer"] = {"type": "Adam", "params": {**config["optimizer"]["params"]}}
    config["optimizer"]["params"]["torch_adam"] = True
    assert_rates(trained(engine(config), torch), export.native.lr)


def test_lightning(torch: Any, tmp_path: Path) -> None:
    lightning = library("lightning")
    module, plan = exact("torch", tmp_path)

    class Model(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)
            self.rates: list[float] = []

        def training_step(self, batch: Any, index: int) -> Any:
            self.rates.append(self.optimizers().param_groups[0]["lr"])
            return self.layer(batch).mean()

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), lr=plan.peak_lr)
            # as in the heading of the file
            return {
                "optimizer": optimizer,
                "lr_scheduler": {
                    "scheduler": module.make_scheduler(optimizer),
                    "interval": "step",
                },
            }

    model = Model()
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_steps=STEPS,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    data = torch.utils.data.DataLoader(torch.ones(STEPS, 1), batch_size=1)
    trainer.fit(model, data)
    assert_rates(model.rates, plan.lr)


@pytest.mark.parametrize("mixin", [False, True])
def test_transformers_trainer(mixin: bool, torch: Any, tmp_path: Path) -> None:
    transformers = library("transformers")
    library("accelerate")
    module, plan = exact("hf", tmp_path)
    rates: list[float] = []

    class Model(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def forward(self, x: Any) -> Any:
            return {"loss": self.layer(x).mean()}

    class Rates(transformers.TrainerCallback):  # type: ignore[misc, name-defined]
        def on_step_begin(self, *_: Any, optimizer: Any = None, **__: Any) -> None:
            rates.append(float(optimizer.param_groups[0]["lr"]))

    model = Model()
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path / "out"),
        max_steps=STEPS,
        per_device_train_batch_size=1,
        learning_rate=plan.peak_lr,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
    )
    bases = (module.ScheduledTrainer, transformers.Trainer) if mixin else (transformers.Trainer,)
    options: dict[str, Any] = {}
    if not mixin:
        optimizer = torch.optim.SGD(model.parameters(), lr=plan.peak_lr)
        options["optimizers"] = (optimizer, module.make_scheduler(optimizer))
    trainer = type("MyTrainer", bases, {})(
        model=model,
        args=arguments,
        train_dataset=[{"x": torch.ones(1)} for _ in range(STEPS)],
        callbacks=[Rates()],
        **options,
    )
    trainer.train()
    assert_rates(rates, plan.lr)
