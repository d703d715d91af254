"""WSM: train at a constant rate, then merge checkpoints instead of a cooldown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import ScheduleError, python_docstring
from scaling_laws.decisions.export.knots import rounded
from scaling_laws.decisions.export.python_form import number, row_of
from scaling_laws.decisions.export.target import Request, Target
from scaling_laws.models import Schedule, checkpoint_weights, decay_from_merge_weights

__all__ = ["MERGE", "merge_of"]

Array = NDArray[np.float64]
INTERVALS = 10  # checkpoint intervals per cooldown, by default
BODY = '''
def merge(states):
    """One set of weights from those of the checkpoints, in the order of CHECKPOINTS.

    `states` are state dicts whose values can be scaled and added: arrays, or tensors in float32.
    """
    if len(states) != len(WEIGHTS):
        raise ValueError(f"{len(states)} checkpoints for {len(WEIGHTS)} weights")
    return {
        name: sum(weight * state[name] for weight, state in zip(WEIGHTS, states))
        for name in states[0]
    }
'''


def merge_of(lr: Array, every: int | None) -> tuple[NDArray[np.int64], Array]:
    """Checkpoints and weights that imitate a schedule's cooldown.

    Args:
        lr: learning rates of shape (steps,).
        every: steps between two checkpoints; default a tenth of the cooldown.

    Returns:
        Updates before each checkpoint, and the merge weights, both (checkpoints,).

    Raises:
        ScheduleError: if there is no cooldown, or no merge with weights >= 0 imitates it.
    """
    at_peak = np.flatnonzero(lr >= lr.max() * (1 - 1e-9))
    start = int(at_peak[-1]) + 1  # updates before the cooldown
    if start >= lr.size:
        raise ScheduleError("the schedule ends at its peak; there is no cooldown to merge for")
    interval = every or max(1, round((lr.size - start) / INTERVALS))
    count = -(-(lr.size - start) // interval)  # rounded up: the first one is before the cooldown
    first = lr.size - count * interval
    if first < 0:
        raise ScheduleError(
            f"checkpoints every {interval} steps: the first would be at step {first}; save more "
            "often"
        )
    saved = np.arange(first, lr.size + 1, interval, dtype=np.int64)
    return saved, checkpoint_weights(lr, saved)


def merged_lr(lr: Array, saved: NDArray[np.int64], weights: Array) -> Array:
    """The rates that the merge is equivalent to: (steps,)."""
    equivalent = np.where(np.arange(lr.size) < saved[0], lr, lr.max())
    multipliers = np.repeat(decay_from_merge_weights(weights), np.diff(saved))
    equivalent[saved[0] :] *= multipliers
    return np.asarray(equivalent)


def max_error(request: Request) -> float:
    """Largest distance between the schedule and the equivalent rates of the merge."""
    lr = request.plan.lr
    saved, weights = merge_of(lr, request.checkpoint_every)
    return float(np.abs(merged_lr(lr, saved, weights) - lr).max())


def run_lr(plan: Schedule, every: int | None) -> Array:
    """The rates of the run that is merged: (steps,)."""
    saved, _ = merge_of(plan.lr, every)
    return np.where(np.arange(plan.steps) < saved[0], plan.lr, plan.peak_lr)


def write(request: Request) -> str:
    """A module with the weights and `merge`."""
    lr = request.plan.lr
    saved, weights = merge_of(lr, request.checkpoint_every)
    error = float(np.abs(merged_lr(lr, saved, weights) - lr).max())
    usage = [
        f"Train {request.plan.steps} updates: the schedule up to update {saved[0]}, then constant",
        f"at its peak, {number(request.peak_lr)}. Save a checkpoint after each number of",
        f"updates in CHECKPOINTS (every {saved[1] - saved[0]}) and merge them with merge().",
        "A merge scales all updates between two checkpoints equally, so it is equivalent to a",
        "staircase instead of a smooth cooldown: this is the error above; save more often to",
        "reduce it. Gradients, Adam's moments and weight decay are those of the constant run.",
        "",
        *request.check_lines(),
        "",
        "the equivalent multiplier of the peak after each checkpoint:",
        *_multipliers(saved, weights),
    ]
    head = python_docstring([*request.heading("a merge of checkpoints (WSM)", error), "", *usage])
    return (
        f"{head}\nPEAK_LR = {number(request.peak_lr)}\n"
        f"TOTAL_STEPS = {request.plan.steps}\n"
        + row_of("CHECKPOINTS", [str(count) for count in saved.tolist()])
        + row_of("WEIGHTS", [number(rounded(weight)) for weight in weights.tolist()])
        + "\n"
        + BODY
    )


def _multipliers(saved: NDArray[np.int64], weights: Array) -> Sequence[str]:
    rows = list(zip(saved.tolist(), decay_from_merge_weights(weights).tolist(), strict=False))
    shown = rows if len(rows) <= 12 else [*rows[:6], *rows[-6:]]
    return [f"  {count:>9}  {multiplier:.6g}" for count, multiplier in shown]


MERGE = Target(
    name="wsm",
    meaning="Python file: train constant, merge these checkpoints with these weights",
    suffix=".py",
    forms=("multiplier",),
    units=("steps",),
    exact=write,
    max_error=max_error,
    run_lr=run_lr,
    python=True,
)
