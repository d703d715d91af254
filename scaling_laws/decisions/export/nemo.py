"""NeMo: a `sched` block of the configuration, or a patch of `CosineAnnealing.get_lr`.

Formulas: nemo.core.optim.lr_scheduler of NeMo 3.0, which added the class
WarmupHoldAnnealOneMinusSquareRoot. Update t, counted from 0, runs at get_lr with last_epoch t; the
warm-up is (t + 1)/(W + 1) and reaches the peak at step W.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import comment
from scaling_laws.decisions.export.decay_shapes import (
    after_warmup,
    cosine,
    one_minus_sqrt,
    polynomial,
)
from scaling_laws.decisions.export.native import Basis, NativeFamily
from scaling_laws.decisions.export.python_form import number, python_file, yaml_number
from scaling_laws.decisions.export.target import NativeForm, Request, Target

__all__ = ["NEMO"]

Array = NDArray[np.float64]
Numbers = Mapping[str, int]
ONE_MINUS_SQRT = "WarmupHoldAnnealOneMinusSquareRoot"  # since NeMo 3
POWERS = (0.5, 1.0, 1.5, 2.0, 3.0)
RESUME = (
    "On resume the step is read from the checkpoint and the values from the configuration; with",
    "Megatron's scheduler they are read from the checkpoint too. Check the first logged rates.",
)
PATCH = '''

def get_lr(self):
    """The exported schedule; a param group with another LR keeps its ratio."""
    return [base_lr * rate_at(self.last_epoch) for base_lr in self.base_lrs]


def apply():
    """Replace the method; call this before the scheduler is created."""
    from nemo.core.optim.lr_scheduler import CosineAnnealing

    CosineAnnealing.get_lr = get_lr
'''


def _rising(step: Array, warmup: int) -> tuple[NDArray[np.bool_], Array]:
    inside = (step <= warmup) if warmup else np.zeros(step.shape, dtype=bool)
    return inside, (step + 1.0) / (warmup + 1.0)


def _constant(step: Array, total: int, numbers: Numbers) -> tuple[Array, Array] | None:
    if numbers["warmup"] >= total:
        return None
    rising, ramp = _rising(step, numbers["warmup"])
    return np.where(rising, ramp, 1.0), np.zeros_like(step)


def _cosine(step: Array, total: int, numbers: Numbers) -> tuple[Array, Array] | None:
    warmup = numbers["warmup"]
    if warmup >= total:
        return None
    progress = np.clip((step - warmup) / (total - warmup), 0.0, 1.0)
    return after_warmup(*_rising(step, warmup), cosine(progress))


def _hold_decay(curve: Any, *, to_end: bool = True) -> Basis:
    def basis(step: Array, total: int, numbers: Numbers) -> tuple[Array, Array] | None:
        warmup, decay = numbers["warmup"], numbers["decay"]
        if decay < 1 or warmup + decay > total:
            return None
        progress = np.clip((step - (total - decay)) / decay, 0.0, 1.0)
        u, v = after_warmup(*_rising(step, warmup), curve(progress))
        return u, (v if to_end else np.zeros_like(v))

    return basis


FAMILIES = (
    NativeFamily("WarmupPolicy", ("warmup",), _constant),
    NativeFamily("CosineAnnealing", ("warmup",), _cosine),
    *(
        NativeFamily(
            "PolynomialHoldDecayAnnealing",
            ("warmup", "decay"),
            _hold_decay(polynomial(power)),
            {"power": power},
        )
        for power in POWERS
    ),
    # its min_lr cuts the curve off, where those of the other classes are its end
    NativeFamily(ONE_MINUS_SQRT, ("warmup", "decay"), _hold_decay(one_minus_sqrt, to_end=False)),
)


def arguments(request: Request) -> dict[str, Any]:
    """Keys of `optim` and of `optim.sched`."""
    fit, total = request.nearest, request.plan.steps
    sched: dict[str, Any] = {
        "name": fit.family.name,
        "max_steps": total,
        "warmup_steps": fit.numbers["warmup"],
    }
    if "decay" in fit.numbers:
        sched["hold_steps"] = total - fit.numbers["decay"] - fit.numbers["warmup"]
        sched.update(fit.family.options)
    if fit.family.name != "WarmupPolicy":
        sched["min_lr"] = fit.end
    if fit.family.name == "CosineAnnealing":
        sched["constant_steps"] = 0
    return {"lr": fit.peak, "sched": sched}


def write_native(request: Request) -> str:
    """A YAML fragment."""
    fit = request.nearest
    keys = arguments(request)
    sched = "".join(f"    {name}: {_word(value)}\n" for name, value in keys["sched"].items())
    exact = (
        "This block gives the schedule exactly."
        if fit.exact
        else "The nearest schedule built into NeMo; --exact writes a patch for the exact schedule."
    )
    lines = [
        *request.native_heading("NeMo"),
        *request.resume_lines("the trainer", *RESUME),
        exact,
        *(["This class needs NeMo 3."] if fit.family.name == ONE_MINUS_SQRT else []),
        *request.check_lines(),
    ]
    return comment(lines) + f"optim:\n  lr: {yaml_number(keys['lr'])}\n  sched:\n{sched}"


def _word(value: Any) -> str:
    return yaml_number(value) if isinstance(value, float) else str(value)


def write(request: Request) -> str:
    """A module that patches the scheduler's `get_lr`."""
    usage = [
        "Import this file in the training script and call apply() before the model is set up;",
        f"use the scheduler CosineAnnealing with lr: {number(request.peak_lr)} and",
        f"max_steps: {request.plan.steps}. Its rates are replaced, its other settings ignored.",
        *request.resume_lines("the trainer", *RESUME),
    ]
    return python_file(request, "NeMo", usage, PATCH)


NEMO = Target(
    name="nemo",
    meaning="YAML block optim.sched (nearest schedule); exact: a patch of get_lr",
    suffix=".yaml",
    forms=("multiplier",),
    units=("steps",),
    exact=write,
    native=NativeForm(FAMILIES, write_native, arguments),
    prefers_native=True,
    python=True,
)
