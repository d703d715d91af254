"""DeepSpeed: an object for `deepspeed.initialize`, or the `scheduler` of its configuration.

Formulas: deepspeed.runtime.lr_schedules. The engine steps a scheduler of its configuration after
each update, and its counter starts at -1: update 0 runs at 0 and update t at the formula's t - 1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_laws.decisions.export.lambda_lr import TORCH_IMPORTS, lambda_lr
from scaling_laws.decisions.export.native import Basis, NativeFamily
from scaling_laws.decisions.export.python_form import python_file
from scaling_laws.decisions.export.target import NativeForm, Request, Target
from scaling_laws.decisions.export.torch import usage_of_groups

__all__ = ["DEEPSPEED"]

Array = NDArray[np.float64]
Numbers = Mapping[str, int]


def _with_warmup(step: Array, warmup: int, warmup_type: str, decay: Array) -> Array:
    """Factor of the peak, with a linear or logarithmic warm-up; the first update runs at 0."""
    count = step - 1.0
    if warmup_type == "linear":
        ramp = count / warmup
    else:
        ramp = np.log(np.maximum(count + 1.0, 1.0)) / np.log(warmup)
    u = np.where(count < warmup, ramp, decay)
    return np.where(count < 0, 0.0, u)


def _family(warmup_type: str, shape: str) -> Basis:
    def basis(step: Array, total: int, numbers: Numbers) -> tuple[Array, Array] | None:
        warmup = numbers["warmup"]
        if not 2 <= warmup < total:  # DeepSpeed raises smaller warm-ups to 2
            return None
        count = step - 1.0
        v = np.zeros_like(step)
        if shape == "constant":
            decay = np.ones_like(step)
        elif shape == "linear":
            decay = np.clip((total - count) / (total - warmup), 0.0, 1.0)
        else:
            decay = 0.5 * (1.0 + np.cos(np.pi * (count - warmup + 1.0) / (total - warmup)))
            v = np.where(count < warmup, 0.0, 1.0 - decay)
        return _with_warmup(step, warmup, warmup_type, decay), v

    return basis


FAMILIES = tuple(
    NativeFamily(name, ("warmup",), _family(warmup_type, shape), {"warmup_type": warmup_type})
    for name, shape in (
        ("WarmupLR", "constant"),
        ("WarmupDecayLR", "linear"),
        ("WarmupCosineLR", "cosine"),
    )
    for warmup_type in ("linear", "log")
)


def arguments(request: Request) -> dict[str, Any]:
    """The keys `optimizer` and `scheduler` of a DeepSpeed configuration."""
    fit = request.nearest
    params: dict[str, Any] = {
        "warmup_num_steps": fit.numbers["warmup"],
        "warmup_type": fit.family.options["warmup_type"],
    }
    if fit.family.name == "WarmupCosineLR":
        params |= {"warmup_min_ratio": 0.0, "cos_min_ratio": fit.end / fit.peak if fit.peak else 0}
    else:
        params |= {"warmup_min_lr": 0.0, "warmup_max_lr": fit.peak}
    if fit.family.name != "WarmupLR":
        params["total_num_steps"] = request.plan.steps
    return {
        "optimizer": {"params": {"lr": fit.peak}},
        "scheduler": {"type": fit.family.name, "params": params},
    }


def write_native(request: Request) -> str:
    """A JSON fragment; it has no heading, because JSON has no comments."""
    return json.dumps(arguments(request), indent=2) + "\n"


def write(request: Request) -> str:
    """A module with `make_scheduler`."""
    usage = [
        *usage_of_groups(request),
        "    engine, optimizer, _, scheduler = deepspeed.initialize(",
        "        model=model, optimizer=optimizer, lr_scheduler=make_scheduler(optimizer), ...)",
        "or, if the configuration creates the optimizer, lr_scheduler=make_scheduler; then the",
        "configuration must not contain a scheduler. The engine steps it after each update.",
        *request.resume_lines("the scheduler", "load_checkpoint() restores the step."),
    ]
    return python_file(request, "DeepSpeed", usage, lambda_lr(request), imports=TORCH_IMPORTS)


DEEPSPEED = Target(
    name="deepspeed",
    meaning="Python file for deepspeed.initialize(lr_scheduler=...); native: ds_config scheduler",
    suffix=".py",
    forms=("multiplier", "absolute"),
    units=("steps",),
    exact=write,
    native=NativeForm(FAMILIES, write_native, arguments),
    python=True,
    states_distance=False,
)
