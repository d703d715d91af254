"""Megatron-LM: command-line arguments, or a patch of `OptimizerParamScheduler.get_lr`.

Formulas: megatron.core.optimizer_param_scheduler. The scheduler counts samples; update t, counted
from 0, runs at get_lr with num_steps = t·(global batch size). The warm-up ends at step W itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import UsageError, comment
from scaling_laws.decisions.export.decay_shapes import after_warmup, cosine, linear, one_minus_sqrt
from scaling_laws.decisions.export.native import Basis, NativeFamily
from scaling_laws.decisions.export.python_form import number, python_file
from scaling_laws.decisions.export.target import NativeForm, Request, Target

__all__ = ["MEGATRON"]

Array = NDArray[np.float64]
Numbers = Mapping[str, int]
RESUME = (
    "On resume Megatron-LM uses the scheduler's values in the checkpoint, or stops if they differ;",
    "--override-opt_param-scheduler uses these ones, but max_lr and min_lr in the checkpoint's",
    "param groups stay unchanged (issue 1138). Check the first logged rates.",
)
PATCH = '''
SAMPLES_PER_STEP = {per_step}  # global batch size; get_lr counts samples


def get_lr(self, param_group):
    """The exported schedule; a param group with another max_lr keeps its ratio."""
    max_lr = param_group.get("max_lr")
    ratio = 1.0 if max_lr is None else max_lr / PEAK_LR
    return ratio * rate_at(self.num_steps / SAMPLES_PER_STEP)


def apply():
    """Replace the method; call this before the scheduler is created."""
    from megatron.core.optimizer_param_scheduler import OptimizerParamScheduler

    OptimizerParamScheduler.get_lr = get_lr
'''


def _rising(step: Array, warmup: int) -> tuple[NDArray[np.bool_], Array]:
    inside = (step <= warmup) if warmup else np.zeros(step.shape, dtype=bool)
    return inside, step / max(warmup, 1)


def _decay(curve: Any) -> Basis:
    def basis(step: Array, total: int, numbers: Numbers) -> tuple[Array, Array] | None:
        warmup, end = numbers["warmup"], numbers["decay_end"]
        if not warmup < end <= 4 * total:
            return None
        progress = np.clip((step - warmup) / (end - warmup), 0.0, 1.0)
        return after_warmup(*_rising(step, warmup), curve(progress))

    return basis


def _constant(step: Array, total: int, numbers: Numbers) -> tuple[Array, Array] | None:
    if numbers["warmup"] >= total:
        return None
    rising, ramp = _rising(step, numbers["warmup"])
    return np.where(rising, ramp, 1.0), np.zeros_like(step)


def _inverse_sqrt(step: Array, total: int, numbers: Numbers) -> tuple[Array, Array] | None:
    warmup = numbers["warmup"]
    if warmup >= total:
        return None
    rising, ramp = _rising(step, warmup)
    decay = np.sqrt(max(warmup, 1) / np.maximum(step, 1.0))
    return np.where(rising, ramp, decay), np.zeros_like(step)


def _stable_decay(curve: Any) -> Basis:
    def basis(step: Array, total: int, numbers: Numbers) -> tuple[Array, Array] | None:
        warmup, decay = numbers["warmup"], numbers["decay"]
        if decay < 1 or warmup + decay > total or warmup >= total:
            return None
        progress = np.clip((step - (total - decay)) / decay, 0.0, 1.0)
        return after_warmup(*_rising(step, warmup), curve(progress))

    return basis


def _exponential(progress: Array) -> Array:
    return np.asarray(2.0 * 0.5**progress - 1.0)


FAMILIES = (
    NativeFamily("constant", ("warmup",), _constant),
    NativeFamily("linear", ("warmup", "decay_end"), _decay(linear)),
    NativeFamily("cosine", ("warmup", "decay_end"), _decay(cosine)),
    NativeFamily("inverse-square-root", ("warmup",), _inverse_sqrt),
    *(
        NativeFamily("WSD", ("warmup", "decay"), _stable_decay(curve), {"style": style})
        for style, curve in (
            ("linear", linear),
            ("cosine", cosine),
            ("minus_sqrt", one_minus_sqrt),
            ("exponential", _exponential),
        )
    ),
)


def arguments(request: Request) -> dict[str, Any]:
    """Options of `pretrain_gpt.py` and similar scripts, in iterations or samples."""
    fit = request.nearest
    samples = request.unit == "samples"
    word, factor = ("samples", request.per_step) if samples else ("iters", 1)
    options: dict[str, Any] = {
        f"train-{word}": request.plan.steps * factor,
        "lr": fit.peak,
        "min-lr": fit.end,
        f"lr-warmup-{word}": fit.numbers["warmup"] * factor,
        f"lr-decay-{word}": fit.numbers.get("decay_end", request.plan.steps) * factor,
        "lr-decay-style": fit.family.name,
    }
    if fit.family.name == "WSD":
        options["lr-wsd-decay-style"] = fit.family.options["style"]
        options[f"lr-wsd-decay-{word}"] = fit.numbers["decay"] * factor
    return options


def write_native(request: Request) -> str:
    """The arguments, a warning, and how to get the exact schedule."""
    fit = request.nearest
    lines = request.native_heading("Megatron-LM")
    words = [f"--{name} {_word(value)}" for name, value in arguments(request).items()]
    exact = (
        ["These arguments give the schedule exactly."]
        if fit.exact
        else [
            "This is the nearest schedule built into Megatron-LM. For the exact schedule, patch",
            "OptimizerParamScheduler.get_lr: --exact --samples-per-step N --out exact_schedule.py",
            "writes a file for that; in the training script, before pretrain():",
            "    import exact_schedule; exact_schedule.apply()",
        ]
    )
    lines += [*request.resume_lines("Megatron-LM", *RESUME), *exact, *request.check_lines()]
    return comment(lines) + " \\\n".join(words) + "\n"


def _word(value: Any) -> str:
    return number(value) if isinstance(value, float) else str(value)


def write(request: Request) -> str:
    """A module that patches the scheduler's `get_lr`.

    Raises:
        UsageError: without the batch size: a wrong one would stretch the schedule silently.
    """
    if request.samples_per_step is None:
        raise UsageError(
            "Megatron-LM's scheduler counts samples: the exact form needs the global batch size, "
            "--samples-per-step N"
        )
    usage = [
        "Import this file in the training script and call apply() before pretrain().",
        f"    --lr {number(request.peak_lr)} --train-iters {request.plan.steps}",
        "Megatron-LM still requires arguments for a schedule; its rates are replaced.",
        "SAMPLES_PER_STEP is the global batch size; a ramp-up of it would stretch the schedule.",
        *request.resume_lines("Megatron-LM", *RESUME),
    ]
    body = "\n" + PATCH.format(per_step=request.samples_per_step)
    return python_file(request, "Megatron-LM", usage, body)


MEGATRON = Target(
    name="megatron",
    meaning="command-line arguments (nearest schedule); exact: a patch of get_lr",
    suffix=".sh",
    forms=("absolute",),
    units=("steps", "samples"),
    exact=write,
    native=NativeForm(FAMILIES, write_native, arguments),
    prefers_native=True,
    python=True,
)
