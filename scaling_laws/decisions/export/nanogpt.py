"""nanoGPT: its `get_lr(it)`, or the four numbers of its cosine.

Formula: karpathy/nanoGPT, train.py. Update `it` counts from 0: the warm-up is
(it + 1)/(warmup_iters + 1), then a cosine to min_lr at lr_decay_iters. The loop ends after the
update max_iters, so that T updates need max_iters = T - 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import comment
from scaling_laws.decisions.export.decay_shapes import after_warmup, cosine
from scaling_laws.decisions.export.native import NativeFamily
from scaling_laws.decisions.export.python_form import number, python_file
from scaling_laws.decisions.export.target import NativeForm, Request, Target

__all__ = ["NANOGPT"]

Array = NDArray[np.float64]
Numbers = Mapping[str, int]
BODY = {
    "absolute": '''

def get_lr(it):
    """Replaces nanoGPT's function of this name."""
    return rate_at(it)
''',
    "multiplier": '''

def get_lr(it, learning_rate=PEAK_LR):
    """Replaces nanoGPT's function of this name; the shape of the schedule at another peak."""
    return learning_rate * rate_at(it)
''',
}


def _cosine(step: Array, total: int, numbers: Numbers) -> tuple[Array, Array] | None:
    warmup, end = numbers["warmup"], numbers["decay_end"]
    if not warmup < end <= 4 * total:
        return None
    progress = np.clip((step - warmup) / (end - warmup), 0.0, 1.0)
    return after_warmup(step < warmup, (step + 1.0) / (warmup + 1.0), cosine(progress))


def _level(step: Array, total: int, numbers: Numbers) -> tuple[Array, Array] | None:
    return np.ones_like(step), np.zeros_like(step)


FAMILIES = (
    NativeFamily("constant", (), _level),
    NativeFamily("cosine", ("warmup", "decay_end"), _cosine),
)


def arguments(request: Request) -> dict[str, Any]:
    """Settings of train.py."""
    fit, total = request.nearest, request.plan.steps
    common: dict[str, Any] = {"learning_rate": fit.peak, "max_iters": total - 1}
    if fit.family.name == "constant":
        return {**common, "decay_lr": False}
    return {
        **common,
        "decay_lr": True,
        "warmup_iters": fit.numbers["warmup"],
        "lr_decay_iters": fit.numbers["decay_end"],
        "min_lr": fit.end,
    }


def write_native(request: Request) -> str:
    """A configuration file."""
    lines = request.native_heading("nanoGPT")
    rows = "".join(f"{name} = {value!r}\n" for name, value in arguments(request).items())
    return comment([*lines, *request.check_lines()]) + rows


def write(request: Request) -> str:
    """A module with `get_lr`."""
    usage = [
        "Put this file beside train.py and, after its own get_lr, add",
        "    from <this file's name> import get_lr",
        f"with learning_rate = {number(request.peak_lr)}, decay_lr = True and max_iters ="
        f" {request.plan.steps - 1}: train.py makes max_iters + 1 updates.",
        *request.resume_lines("train.py", "A resumed run reads `it` from its checkpoint."),
    ]
    return python_file(request, "nanoGPT", usage, BODY[request.form])


NANOGPT = Target(
    name="nanogpt",
    meaning="Python file with get_lr(it); native: settings of its cosine",
    suffix=".py",
    forms=("absolute", "multiplier"),
    units=("steps",),
    exact=write,
    native=NativeForm(FAMILIES, write_native, arguments),
    python=True,
)
