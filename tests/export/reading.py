"""The rate of every step of an export, by running or parsing it as the trainer would."""

from __future__ import annotations

import importlib.util
import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_laws.decisions.export import Export

Array = NDArray[np.float64]
SAMPLES, TOKENS = 512, 1_048_576  # per step


def load(folder: Path, text: str, name: str = "exported") -> ModuleType:
    """A generated file as a module: importable by name, so that its objects can be pickled."""
    path = folder / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


class _Scheduler:
    """What generated files derive from, where the trainer is not installed."""

    lr_field: str = "lr"
    units: str = "steps"


def _module(name: str, **members: Any) -> ModuleType:
    module = ModuleType(name)
    module.__dict__.update(members)
    return module


def stand_ins() -> dict[str, ModuleType]:
    """The classes that generated files import, for trainers that are not installed."""
    olmo = dataclass(_Scheduler)
    container = type("LRSchedulersContainer", (), {})
    made = [
        _module("torch"),
        _module("torch.optim"),
        _module("torch.optim.lr_scheduler", LambdaLR=type("LambdaLR", (), {})),
        _module("olmo_core"),
        _module("olmo_core.optim"),
        _module("olmo_core.optim.scheduler", Scheduler=olmo),
        _module("torchtitan"),
        _module("torchtitan.components"),
        _module("torchtitan.components.optimizer", LRSchedulersContainer=container),
    ]
    absent = {name for name in ("torch", "olmo_core", "torchtitan") if not find_spec(name)}
    return {module.__name__: module for module in made if module.__name__.split(".")[0] in absent}


def _of_lambda(export: Export, module: Any, steps: int, peak: float) -> Array:
    if export.form == "absolute":
        call, base = module.Schedule(0.5), 0.5
    else:
        call, base = module.Schedule(), peak
    return np.array([base * call(step) for step in range(steps)])


def _of_optax(export: Export, module: Any, steps: int, peak: float) -> Array:
    import jax
    import jax.numpy as jnp

    rates = jax.vmap(module.schedule)(jnp.arange(steps, dtype=jnp.int32))
    scale = peak if export.form == "multiplier" else 1.0
    return np.asarray(rates, dtype=np.float64) * scale


def _of_megatron(export: Export, module: Any, steps: int, peak: float) -> Array:
    return np.array(
        [module.get_lr(SimpleNamespace(num_steps=step * SAMPLES), {}) for step in range(steps)]
    )


def _of_nemo(export: Export, module: Any, steps: int, peak: float) -> Array:
    return np.array(
        [
            module.get_lr(SimpleNamespace(last_epoch=step, base_lrs=[peak]))[0]
            for step in range(steps)
        ]
    )


def _of_olmo(export: Export, module: Any, steps: int, peak: float) -> Array:
    scheduler = module.ExportedSchedule()
    factor = TOKENS if export.unit == "tokens" else 1
    assert scheduler.units == export.unit
    # the trainer increments its counter before it requests the rate
    return np.array(
        [scheduler.get_lr(peak, (step + 1) * factor, steps * factor) for step in range(steps)]
    )


def _of_nanogpt(export: Export, module: Any, steps: int, peak: float) -> Array:
    return np.array([module.get_lr(step) for step in range(steps)])


MODULES: dict[str, Callable[[Export, Any, int, float], Array]] = {
    "torch": _of_lambda,
    "hf": _of_lambda,
    "deepspeed": _of_lambda,
    "torchtitan": _of_lambda,
    "optax": _of_optax,
    "megatron": _of_megatron,
    "nemo": _of_nemo,
    "olmo": _of_olmo,
    "nanogpt": _of_nanogpt,
}


def _of_csv(export: Export, steps: int, peak: float) -> Array:
    table = np.genfromtxt(io.StringIO(export.text), delimiter=",", names=True)
    table = np.atleast_1d(table)
    assert table["step"].tolist() == list(range(steps))
    if export.unit != "steps":
        factor = {"samples": SAMPLES, "tokens": TOKENS}[export.unit]
        assert table[export.unit].tolist() == [step * factor for step in range(steps)]
    return np.asarray(
        table["lr"] if export.form == "absolute" else table["multiplier"] * peak, dtype=np.float64
    )


def _of_json(export: Export, steps: int, peak: float) -> Array:
    assert export.text is not None
    content = json.loads(export.text)
    places, rates = np.array(content["knots"]).T
    scale = 1.0 if content["rates"] == "learning rates" else content["peak_lr"]
    at = np.arange(steps) * content["per_step"]
    return np.asarray(scale * np.interp(at, places, rates))


def _of_npy(export: Export, steps: int, peak: float) -> Array:
    rates = np.load(io.BytesIO(export.content))
    assert rates.dtype == np.float64 and rates.shape == (steps,)
    return np.asarray(rates if export.form == "absolute" else rates * peak)


DATA: dict[str, Callable[[Export, int, float], Array]] = {
    "csv": _of_csv,
    "json": _of_json,
    "npy": _of_npy,
}


def rates_of(export: Export, folder: Path, steps: int, peak: float) -> Array:
    """Learning rates of shape (steps,) that the export gives."""
    if export.target in DATA:
        return DATA[export.target](export, steps, peak)
    assert export.text is not None
    module = load(folder, export.text)
    return MODULES[export.target](export, module, steps, peak)
