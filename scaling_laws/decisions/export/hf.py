"""Hugging Face Trainer: an object for `Trainer(optimizers=...)`, or `lr_scheduler_type`.

Formulas of the named schedules: transformers 5.23, `transformers.optimization`. They are functions
of LambdaLR: update t, counted from 0, runs at f(t) times the LR.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import comment
from scaling_laws.decisions.export.decay_shapes import (
    DECAYS,
    after_warmup,
    cosine,
    linear,
    polynomial,
)
from scaling_laws.decisions.export.lambda_lr import TORCH_IMPORTS, lambda_lr
from scaling_laws.decisions.export.native import Basis, NativeFamily
from scaling_laws.decisions.export.python_form import number, python_file
from scaling_laws.decisions.export.target import NativeForm, Request, Target
from scaling_laws.decisions.export.torch import usage_of_groups

__all__ = ["HF"]

Array = NDArray[np.float64]
Numbers = Mapping[str, int]
POWERS = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
MIXIN = '''

class ScheduledTrainer:
    """Mixin for a Trainer that creates the optimizer: `class MyTrainer(ScheduledTrainer, Trainer)`.

    It is not needed if a scheduler is passed as `optimizers=`.
    """

    def create_scheduler(self, num_training_steps, optimizer=None):
        if self.lr_scheduler is None:
            self.lr_scheduler = make_scheduler(self.optimizer if optimizer is None else optimizer)
        return self.lr_scheduler
'''


def _ramp(step: Array, warmup: int) -> tuple[NDArray[np.bool_], Array]:
    return step < warmup, step / max(warmup, 1)


def _decay(curve: Any, *, to_end: bool) -> Basis:
    """A warm-up from 0, then a curve that ends at the last step of the run."""

    def basis(step: Array, total: int, numbers: Numbers) -> tuple[Array, Array] | None:
        warmup = numbers["warmup"]
        if warmup >= total:
            return None
        progress = np.clip((step - warmup) / (total - warmup), 0.0, 1.0)
        u, v = after_warmup(*_ramp(step, warmup), curve(progress))
        return u, (v if to_end else np.zeros_like(v))

    return basis


def _constant(step: Array, total: int, numbers: Numbers) -> tuple[Array, Array] | None:
    if numbers["warmup"] > total:
        return None
    rising, ramp = _ramp(step, numbers["warmup"])
    return np.where(rising, ramp, 1.0), np.zeros_like(step)


def _early_cosine(step: Array, total: int, numbers: Numbers) -> tuple[Array, Array] | None:
    """`cosine_warmup_with_min_lr`: the peak at the last warm-up step, the cosine one step ahead."""
    warmup = numbers["warmup"]
    if warmup < 1 or warmup >= total:
        return None
    ramp = step / max(warmup - 1, 1)
    progress = np.clip((step - warmup + 1.0) / (total - warmup), 0.0, 1.0)
    return after_warmup(step < warmup, ramp, cosine(progress))


def _inverse_sqrt(step: Array, total: int, numbers: Numbers) -> tuple[Array, Array] | None:
    warmup, timescale = numbers["warmup"], numbers["timescale"]
    if warmup > total or timescale < 1:
        return None
    rising, ramp = _ramp(step, warmup)
    shifted = np.maximum(step - warmup, 0.0) + timescale
    return np.where(rising, ramp, np.sqrt(timescale / shifted)), np.zeros_like(step)


def _stable_decay(curve: Any) -> Basis:
    def basis(step: Array, total: int, numbers: Numbers) -> tuple[Array, Array] | None:
        warmup, decay = numbers["warmup"], numbers["decay"]
        if decay < 1 or warmup + decay > total:
            return None
        progress = np.clip((step - (total - decay)) / decay, 0.0, 1.0)
        return after_warmup(*_ramp(step, warmup), curve(progress), ramp_end=True)

    return basis


FAMILIES = (
    NativeFamily("constant_with_warmup", ("warmup",), _constant),
    NativeFamily("linear", ("warmup",), _decay(linear, to_end=False)),
    NativeFamily("cosine", ("warmup",), _decay(cosine, to_end=False)),
    *(
        NativeFamily(
            "warmup_stable_decay",
            ("warmup", "decay"),
            _stable_decay(DECAYS[word]),
            {"decay_type": "1-sqrt" if word == "sqrt" else word},
        )
        for word in DECAYS
    ),
    NativeFamily("cosine_with_min_lr", ("warmup",), _decay(cosine, to_end=True)),
    NativeFamily("cosine_warmup_with_min_lr", ("warmup",), _early_cosine),
    NativeFamily("inverse_sqrt", ("warmup", "timescale"), _inverse_sqrt),
    *(
        NativeFamily(
            "polynomial", ("warmup",), _decay(polynomial(power), to_end=True), {"power": power}
        )
        for power in POWERS
    ),
)


def arguments(request: Request) -> dict[str, Any]:
    """Fields of `TrainingArguments`."""
    fit, total = request.nearest, request.plan.steps
    warmup = fit.numbers["warmup"]
    name, extra = fit.family.name, dict(fit.family.options)
    match name:
        case "warmup_stable_decay":
            # the Trainer passes the total, which determines the number of stable steps
            extra["num_decay_steps"] = fit.numbers["decay"]
            extra["min_lr_ratio"] = fit.end / fit.peak if fit.peak else 0.0
        case "cosine_with_min_lr":
            extra["min_lr"] = fit.end
        case "cosine_warmup_with_min_lr":
            extra |= {"min_lr": fit.end, "warmup_lr_rate": 0.0}
        case "polynomial":
            extra["lr_end"] = fit.end
        case "inverse_sqrt":
            extra["timescale"] = fit.numbers["timescale"]
        case "constant_with_warmup" if warmup == 0:
            name = "constant"
    fields: dict[str, Any] = {
        "learning_rate": fit.peak,
        "lr_scheduler_type": name,
        "warmup_steps": warmup,
        "max_steps": total,
    }
    return {**fields, "lr_scheduler_kwargs": extra} if extra else fields


def write_native(request: Request) -> str:
    """A fragment that passes the arguments."""
    lines = request.native_heading("the Hugging Face Trainer")
    passed = "".join(
        f"    {name}={_literal(value)},\n" for name, value in arguments(request).items()
    )
    return (
        comment([*lines, *request.check_lines()])
        + "from transformers import TrainingArguments\n\n"
        + f'training_arguments = TrainingArguments(\n    output_dir="out",\n{passed})\n'
    )


def _literal(value: Any) -> str:
    if not isinstance(value, dict):
        return f'"{value}"' if isinstance(value, str) else repr(value)
    return "{" + ", ".join(f'"{name}": {_literal(item)}' for name, item in value.items()) + "}"


def write(request: Request) -> str:
    """A module with `make_scheduler` and a mixin for a Trainer."""
    peak = number(request.peak_lr)
    usage = [
        *usage_of_groups(request),
        "    trainer = Trainer(..., optimizers=(optimizer, make_scheduler(optimizer)))",
        f"    with TrainingArguments(..., max_steps={request.plan.steps}); if the Trainer creates",
        f"    the optimizer, use learning_rate={peak} and the class ScheduledTrainer below.",
        *request.resume_lines(
            "the scheduler",
            "Checkpoints of the Trainer contain the step; resume_from_checkpoint restores it.",
        ),
    ]
    body = lambda_lr(request) + MIXIN
    return python_file(request, "the Hugging Face Trainer", usage, body, imports=TORCH_IMPORTS)


HF = Target(
    name="hf",
    meaning="Python file for Trainer(optimizers=...); native: lr_scheduler_type and its kwargs",
    suffix=".py",
    forms=("multiplier", "absolute"),
    units=("steps",),
    exact=write,
    native=NativeForm(FAMILIES, write_native, arguments),
    python=True,
)
