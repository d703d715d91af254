"""OLMo-core: a `Scheduler` subclass, or one of its own schedulers.

Formulas: olmo_core.optim.scheduler. The trainer counts a step before it runs: update t, counted
from 0, runs at get_lr with current = t + 1, or the tokens including those of this update.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import comment
from scaling_laws.decisions.export.decay_shapes import after_warmup, cosine, linear
from scaling_laws.decisions.export.native import Basis, NativeFamily
from scaling_laws.decisions.export.python_form import number, python_file
from scaling_laws.decisions.export.target import NativeForm, Request, Target

__all__ = ["OLMO"]

Array = NDArray[np.float64]
Numbers = Mapping[str, int]
IMPORTS = """from bisect import bisect_right
from dataclasses import dataclass

from olmo_core.optim.scheduler import Scheduler
"""
STEPS_BODY = '''

@dataclass
class ExportedSchedule(Scheduler):
    """The schedule; OLMo-core counts an update before it runs, so the first one is 1."""

    def get_lr(self, initial_lr, current, t_max):
        return initial_lr * rate_at(current - 1)
'''
TOKENS_BODY = '''
TOKENS_PER_STEP = {per_step}


@dataclass
class ExportedSchedule(Scheduler):
    """The schedule by tokens; those of an update are counted before it runs."""

    units: str = "tokens"

    def get_lr(self, initial_lr, current, t_max):
        return initial_lr * rate_at(current / TOKENS_PER_STEP - 1)
'''


def _rising(count: Array, warmup: int) -> tuple[NDArray[np.bool_], Array]:
    return count < warmup, count / max(warmup, 1)


def _constant(step: Array, total: int, numbers: Numbers) -> tuple[Array, Array] | None:
    if not 1 <= numbers["warmup"] < total:  # OLMo-core divides by the warm-up
        return None
    rising, ramp = _rising(step + 1.0, numbers["warmup"])
    return np.where(rising, ramp, 1.0), np.zeros_like(step)


def _level(step: Array, total: int, numbers: Numbers) -> tuple[Array, Array] | None:
    return np.ones_like(step), np.zeros_like(step)


def _decay(curve: Any) -> Basis:
    def basis(step: Array, total: int, numbers: Numbers) -> tuple[Array, Array] | None:
        warmup = numbers["warmup"]
        if warmup >= total:
            return None
        count = step + 1.0
        progress = np.clip((count - warmup) / (total - warmup), 0.0, 1.0)
        return after_warmup(*_rising(count, warmup), curve(progress))

    return basis


def _stable_decay(step: Array, total: int, numbers: Numbers) -> tuple[Array, Array] | None:
    warmup, decay = numbers["warmup"], numbers["decay"]
    if warmup < 1 or decay < 1 or warmup + decay > total:
        return None
    count = step + 1.0
    progress = np.clip((count - (total - decay)) / decay, 0.0, 1.0)
    return after_warmup(*_rising(count, warmup), linear(progress))


FAMILIES = (
    NativeFamily("ConstantScheduler", (), _level),
    NativeFamily("ConstantWithWarmup", ("warmup",), _constant),
    NativeFamily("WSD", ("warmup", "decay"), _stable_decay),
    NativeFamily("CosWithWarmup", ("warmup",), _decay(cosine)),
    NativeFamily("LinearWithWarmup", ("warmup",), _decay(linear)),
)


def arguments(request: Request) -> dict[str, Any]:
    """The scheduler's class and its fields, and the optimizer's LR."""
    fit = request.nearest
    factor = request.per_step
    fields: dict[str, Any] = {
        name: value * factor for name, value in fit.numbers.items() if name in ("warmup", "decay")
    }
    if fit.family.name == "WSD":
        fields |= {"decay_fraction": None, "decay_min_lr": fit.end}
    elif fit.family.name in ("CosWithWarmup", "LinearWithWarmup"):
        fields["alpha_f"] = fit.end / fit.peak if fit.peak else 0.0
    if request.unit == "tokens":
        fields["units"] = "tokens"
    return {"lr": fit.peak, "scheduler": fit.family.name, "fields": fields}


def write_native(request: Request) -> str:
    """A line of Python."""
    keys = arguments(request)
    fields = ", ".join(f"{name}={value!r}" for name, value in keys["fields"].items())
    length = request.plan.steps * request.per_step
    lines = [
        *request.native_heading("OLMo-core"),
        f"for an optimizer with lr={number(keys['lr'])} and a run of {length} {request.unit}",
        *request.check_lines(),
    ]
    name = keys["scheduler"]
    return comment(lines) + (
        f"from olmo_core.optim.scheduler import {name}\n\nscheduler = {name}({fields})\n"
    )


def write(request: Request) -> str:
    """A module with the class `ExportedSchedule`."""
    usage = [
        f"Give the optimizer lr={number(request.peak_lr)} and the train module",
        "    scheduler=ExportedSchedule()",
        *request.resume_lines(
            "the trainer",
            "The trainer's checkpoints contain the step, so a resumed run needs nothing else.",
        ),
    ]
    body = STEPS_BODY
    if request.unit == "tokens":
        body = TOKENS_BODY.format(per_step=request.per_step)
        usage.append("It counts tokens, so it remains correct under a batch-size schedule.")
    return python_file(request, "OLMo-core", usage, body, imports=IMPORTS)


OLMO = Target(
    name="olmo",
    meaning="Python file: a Scheduler subclass for OLMo-core; native: one of its schedulers",
    suffix=".py",
    forms=("multiplier",),
    units=("steps", "tokens"),
    exact=write,
    native=NativeForm(FAMILIES, write_native, arguments),
    python=True,
)
