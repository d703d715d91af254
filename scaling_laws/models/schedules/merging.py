"""WSM (Tian et al. 2025): merging checkpoints of a constant LR in place of its decay.

A run at a constant rate saves θ_0, θ_1, ..., θ_k, and u_i is the sum of the updates between θ_{i-1}
and θ_i. A merge Σ_j c_j·θ_j equals θ_0 plus w_i·u_i for each i with w_i = Σ_{j>=i} c_j: it is the
run whose rate is multiplied by w_i between θ_{i-1} and θ_i. Uniform weights are linear decay.

Known limit: the identity uses the gradients of the constant run. A run with a decay has different
gradients and, with Adam, different moments, and weight decay acts on different weights: the merge
approximates it while these are close.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling_laws.common import ScheduleError
from scaling_laws.models.schedules.family import (
    COMMON_KEYS,
    Family,
    Key,
    Values,
    count,
    nonnegative,
    row_of,
    warm_up,
)

__all__ = ["WSM", "checkpoint_weights", "decay_from_merge_weights", "merge_weights_from_decay"]

Array = NDArray[np.float64]
TOLERANCE = 1e-9  # relative: rounding of sums of weights and of the rates of a cooldown


def decay_from_merge_weights(c: ArrayLike) -> Array:
    """Multipliers of the updates between merged checkpoints: w_i = Σ_{j>=i} c_j.

    Args:
        c: merge weights of shape (k + 1,), >= 0, in the order in which the checkpoints were saved;
            they sum to 1.

    Returns:
        Multipliers w of shape (k,), not increasing, from 1 to 0: w[i - 1] is the paper's w_i and
        belongs to the updates between checkpoint i - 1 and checkpoint i, both counted from 0.

    Raises:
        ScheduleError: if the weights violate these conditions.

    Source: Tian et al. 2025, arXiv 2507.17634.

    >>> decay_from_merge_weights([0.25, 0.25, 0.25, 0.25]).tolist()
    [0.75, 0.5, 0.25]
    """
    weights = _as_row("merge weights", c)
    if weights.size == 0:
        raise ScheduleError("merge weights: the array is empty; give one weight per checkpoint")
    if (weights < 0).any():
        raise ScheduleError(f"merge weights: {weights.min():g} is negative; they must be >= 0")
    total = float(weights.sum())
    if abs(total - 1.0) > TOLERANCE:
        raise ScheduleError(f"merge weights: they sum to {total:.12g}, not 1; divide by the sum")
    return np.asarray(np.minimum(np.cumsum(weights[::-1])[::-1][1:], 1.0))


def merge_weights_from_decay(w: ArrayLike) -> Array:
    """The merge that imitates a decay: c_k = w_k, c_j = w_j - w_{j+1}, c_0 = 1 - w_1.

    Args:
        w: multipliers of shape (k,), 1 >= w_1 >= ... >= w_k >= 0: w[i - 1] is the rate between
            checkpoint i - 1 and checkpoint i over the constant rate before checkpoint 0.

    Returns:
        Merge weights c of shape (k + 1,), >= 0, which sum to 1. The inverse of
        `decay_from_merge_weights`.

    Raises:
        ScheduleError: if the multipliers rise or are not in [0, 1].

    Source: Tian et al. 2025, arXiv 2507.17634.

    >>> merge_weights_from_decay([0.75, 0.5, 0.25]).tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    multipliers = _as_row("decay", w)
    bad = (multipliers < 0) | (multipliers > 1)
    if bad.any():
        index = int(np.argmax(bad))
        raise ScheduleError(
            f"decay: w_{index + 1} = {multipliers[index]:g} is not in [0, 1]; "
            "divide by the constant rate"
        )
    rises = np.diff(multipliers) > 0
    if rises.any():
        index = int(np.argmax(rises))
        raise ScheduleError(
            f"decay: w_{index + 2} = {multipliers[index + 1]:g} is above w_{index + 1} = "
            f"{multipliers[index]:g}; a merge with weights >= 0 never raises the rate"
        )
    return -np.diff(np.concatenate([[1.0], multipliers, [0.0]]))


def checkpoint_weights(schedule_lr: ArrayLike, checkpoints: ArrayLike) -> Array:
    """The merge of checkpoints of a constant run that best approximates a schedule with a cooldown.

    Between two checkpoints a merge can only scale all updates by one factor: the mean of the
    schedule there, which is the least-squares approximation and preserves the sum of the rates.

    Args:
        schedule_lr: learning rates of shape (steps,). They rise (a warm-up) to the peak, have
            reached it at the first checkpoint, and never rise after it.
        checkpoints: number of updates before each checkpoint, of shape (k + 1,), increasing; the
            last one is `steps`. A checkpoint after n updates has seen schedule_lr[:n].

    Returns:
        Merge weights of shape (k + 1,), >= 0, which sum to 1, for the checkpoints of a run that
        follows the schedule up to the first of them and then stays at the peak.

    Raises:
        ScheduleError: if the schedule or the checkpoints violate these conditions.

    Source: Tian et al. 2025, arXiv 2507.17634; the mean over an interval is a choice made here.

    >>> checkpoint_weights([1.0, 1.0, 0.75, 0.25], [2, 3, 4]).tolist()
    [0.25, 0.5, 0.25]
    """
    lr, saved = _as_row("schedule", schedule_lr), _as_row("checkpoints", checkpoints)
    if lr.size == 0 or lr.min() < 0 or not lr.max() > 0:
        raise ScheduleError(
            "schedule: give one learning rate >= 0 per update, at least one above 0"
        )
    if saved.size < 2 or (saved != np.floor(saved)).any() or (np.diff(saved) <= 0).any():
        raise ScheduleError(
            f"checkpoints: {_short(saved)} must be two or more increasing whole numbers"
        )
    if saved[0] < 0 or saved[-1] != lr.size:
        raise ScheduleError(
            f"checkpoints: {_short(saved)} must run from 0 or later to {lr.size}, where the "
            "schedule ends"
        )
    edges = saved.astype(np.intp)
    first_checkpoint, peak = int(edges[0]), float(lr.max())
    slack = TOLERANCE * peak
    falls, rises = np.diff(lr) < -slack, np.diff(lr) > slack
    early = falls[: max(first_checkpoint - 1, 0)]
    if early.any() or lr[max(first_checkpoint - 1, 0)] < peak - slack:
        raise ScheduleError(
            f"schedule: at the first checkpoint, {first_checkpoint}, it is not at its peak "
            f"{peak:g}, or it fell before; the checkpoints must begin before the cooldown"
        )
    if rises[max(first_checkpoint - 1, 0) :].any():
        step = (
            int(np.argmax(rises[max(first_checkpoint - 1, 0) :])) + max(first_checkpoint - 1, 0) + 1
        )
        raise ScheduleError(
            f"schedule: it rises at step {step}, after the first checkpoint, {first_checkpoint}; a "
            "merge with weights >= 0 never raises the rate"
        )
    means = np.add.reduceat(lr / peak, edges[:-1]) / np.diff(edges)
    # rounding must not turn equal means into a rise
    return merge_weights_from_decay(np.minimum.accumulate(np.minimum(means, 1.0)))


def _as_row(name: str, values: ArrayLike) -> Array:
    row = np.asarray(values, dtype=np.float64)
    if row.ndim != 1:
        raise ScheduleError(f"{name}: a 1-D array is needed, got shape {row.shape}")
    if not np.isfinite(row).all():
        raise ScheduleError(f"{name}: {row[~np.isfinite(row)][0]:g} is not finite")
    return row


def _short(row: Array) -> str:
    words = [f"{value:g}" for value in row.tolist()]
    return "/".join(words if len(words) <= 8 else [*words[:3], "...", *words[-3:]])


def build(values: Values) -> Array:
    """Learning rates of shape (steps,)."""
    peak, steps, warmup, every = (values[key] for key in ("peak", "steps", "warmup", "every"))
    weights: tuple[Any, ...] = values["weights"]
    total = sum(weights)
    if not 0 < total < np.inf:
        raise ScheduleError(f"the weights sum to {total:g}; give at least one above 0")
    if every < 1:
        raise ScheduleError("every=0: give the steps between two checkpoints, at least 1")
    first_checkpoint = steps - (len(weights) - 1) * every
    if first_checkpoint < warmup:
        raise ScheduleError(
            f"{len(weights)} checkpoints with every={every} start at step {first_checkpoint}, "
            f"before warmup={warmup} ends; merge fewer, or save them more often"
        )
    multiplier = np.concatenate([[1.0], decay_from_merge_weights(np.array(weights) / total)])

    def lr_after_warmup(step: Array) -> Array:
        # 0 up to checkpoint 0, then 1 between checkpoints 0 and 1, and so on
        interval = np.maximum((step - first_checkpoint) // every + 1, 0).astype(np.intp)
        return np.asarray(peak * multiplier[interval])

    return warm_up(values, lr_after_warmup)


WSM = Family(
    name="wsm",
    formula="peak·w_i, w_i = Σ_{j>=i} c_j, from d + (i - 1)·every to before d + i·every, "
    "d = T - k·every, c = weights/Σ weights with j = 0..k; peak before d",
    citation="Tian et al. 2025, arXiv 2507.17634",
    keys=(
        *COMMON_KEYS,
        Key(
            "weights",
            row_of(nonnegative),
            "of the checkpoints merged, oldest first, separated by /; they need not sum to 1",
            required=True,
        ),
        Key("every", count, "steps between two checkpoints; the last is at `steps`", required=True),
    ),
    build=build,
)
