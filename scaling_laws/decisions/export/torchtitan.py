"""torchtitan: a container of LambdaLRs, or the `lr_scheduler` table of the configuration.

Formula: torchtitan.components.lr_scheduler of 0.2 and torchtitan.components.optimizer of 0.3, whose
configuration is Python. Update t, counted from 0: the warm-up is (t + 1)/W, and the last rate is
above the end, which is reached one step after the last.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import comment
from scaling_laws.decisions.export.decay_shapes import DECAYS, after_warmup
from scaling_laws.decisions.export.lambda_lr import schedule_object
from scaling_laws.decisions.export.native import Basis, NativeFamily
from scaling_laws.decisions.export.python_form import number, python_file
from scaling_laws.decisions.export.target import NativeForm, Request, Target

__all__ = ["TORCHTITAN"]

Array = NDArray[np.float64]
Numbers = Mapping[str, int]
IMPORTS = """from bisect import bisect_right
from dataclasses import dataclass

try:  # torchtitan 0.3
    from torchtitan.components.optimizer import LRSchedulersContainer
except ImportError:  # torchtitan 0.2
    from torchtitan.components.lr_scheduler import LRSchedulersContainer
"""
BUILDER = '''

def build_lr_schedulers(optimizers, *ignored, **also_ignored):
    """For torchtitan 0.2: replaces its function of this name, e.g. in a TrainSpec."""
    return LRSchedulersContainer(optimizers, Schedule())


if hasattr(LRSchedulersContainer, "Config"):

    @dataclass(kw_only=True, slots=True)
    class ScheduleConfig(LRSchedulersContainer.Config):
        """For torchtitan 0.3: the lr_scheduler of a Trainer.Config; its fields are not used."""

        def build(self, *, optimizers, training_steps):
            return LRSchedulersContainer(optimizers, Schedule())
'''


def _decay(curve: Any) -> Basis:
    def basis(step: Array, total: int, numbers: Numbers) -> tuple[Array, Array] | None:
        warmup, decay = numbers["warmup"], numbers["decay"]
        if decay < 1 or warmup + decay > total:
            return None
        ramp = (step + 1.0) / max(warmup, 1)
        progress = np.clip((step - (total - decay)) / decay, 0.0, 1.0)
        return after_warmup(step < warmup, ramp, curve(progress))

    return basis


def _constant(step: Array, total: int, numbers: Numbers) -> tuple[Array, Array] | None:
    warmup = numbers["warmup"]
    if warmup > total:
        return None
    ramp = (step + 1.0) / max(warmup, 1)
    return np.where(step < warmup, ramp, 1.0), np.zeros_like(step)


FAMILIES = (
    NativeFamily("constant", ("warmup",), _constant),
    *(
        NativeFamily("decay", ("warmup", "decay"), _decay(curve), {"decay_type": word})
        for word, curve in DECAYS.items()
    ),
)


def arguments(request: Request) -> dict[str, Any]:
    """Keys of the tables `optimizer`, `training` and `lr_scheduler`."""
    fit, total = request.nearest, request.plan.steps
    table: dict[str, Any] = {"warmup_steps": fit.numbers["warmup"]}
    if fit.family.name == "constant":
        table["decay_ratio"] = 0.0
    else:
        # torchtitan rounds total·ratio to whole steps, which recovers the number of decay steps
        table["decay_ratio"] = fit.numbers["decay"] / total
        table["decay_type"] = fit.family.options["decay_type"]
        table["min_lr_factor"] = fit.end / fit.peak if fit.peak else 0.0
    return {"optimizer": {"lr": fit.peak}, "training": {"steps": total}, "lr_scheduler": table}


def write_native(request: Request) -> str:
    """A TOML fragment."""
    lines = request.native_heading("torchtitan")
    text = comment([*lines, *_config(request), *request.check_lines()])
    for name, table in arguments(request).items():
        rows = (
            f'{key} = "{value}"\n' if isinstance(value, str) else f"{key} = {value}\n"
            for key, value in table.items()
        )
        text += f"\n[{name}]\n" + "".join(rows)
    return text


def _config(request: Request) -> list[str]:
    """The same for torchtitan 0.3, whose configuration is a Python object."""
    found = arguments(request)
    fields = ", ".join(f"{key}={value!r}" for key, value in found["lr_scheduler"].items())
    return [
        "The tables are for torchtitan 0.2; in the Trainer.Config of torchtitan 0.3:",
        f"    lr_scheduler=LRSchedulersContainer.Config({fields})",
        f"    with lr={number(found['optimizer']['lr'])} in the optimizer and"
        f" steps={found['training']['steps']} in the training",
    ]


def write(request: Request) -> str:
    """A module with `build_lr_schedulers`."""
    usage = [
        "For torchtitan 0.2 and 0.3. All optimizers of a run have the same schedule: set their",
        f"    lr to {number(request.peak_lr)}, the training steps to {request.plan.steps}, and",
        "    0.3: in the Trainer.Config, lr_scheduler=ScheduleConfig()",
        "    0.2: TrainSpec(..., build_lr_schedulers_fn=build_lr_schedulers)",
        *request.resume_lines(
            "the scheduler",
            "Checkpoints contain the step, so a resumed run needs nothing else.",
        ),
    ]
    body = schedule_object(request) + BUILDER
    return python_file(request, "torchtitan", usage, body, imports=IMPORTS)


TORCHTITAN = Target(
    name="torchtitan",
    meaning="Python file for torchtitan 0.2 and 0.3; native: its lr_scheduler settings",
    suffix=".py",
    forms=("multiplier",),
    units=("steps",),
    exact=write,
    native=NativeForm(FAMILIES, write_native, arguments),
    python=True,
)
