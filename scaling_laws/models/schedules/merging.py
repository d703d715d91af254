"""WSM (Tian et al. 2025): merging checkpoints of a constant LR in place of its decay.

A run at a constant rate saves θ_0, θ_1, ..., θ_k, and u_i is the sum of the updates between θ_{i-1}
and θ_i. A merge Σ_j c_j·θ_j equals θ_0 plus w_i·u_i for each i with w_i = Σ_{j>=i} c_j: it is the
run whose rate is multiplied by w_i between θ_{i-1} and θ_i. Uniform weights are linear decay.

Known limit: the identity takes the gradients of the constant run. A run that does decay has other
gradients and, with Adam, other moments, and weight decay acts on its own weights: the merge
imitates it, as far as these stay close.
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
TOLERANCE = 1e-9  # relative: sums of weights and a cooldown's rates carry rounding


def decay_from_merge_weights(c: ArrayLike) -> Array:
    """What a merge of checkpoints does to the updates between them: w_i = Σ_{j>=i} c_j.

    Args:
        c: merge weights of shape (k + 1,), >= 0, in the order in which the checkpoints were saved;
            they sum to 1.

    Returns:
        Multipliers w of shape (k,), not increasing, from 1 to 0: w[i - 1] is the paper's w_i and
        belongs to the updates between checkpoint i - 1 and checkpoint i, both counted from 0.

    Raises:
        ScheduleError: if the weights are no such row.

    Source: Tian et al. 2025, arXiv 2507.17634.

    >>> decay_from_merge_weights([0.25, 0.25, 0.25, 0.25]).tolist()
    [0.75, 0.5, 0.25]
    """
    weights = _row("merge weights", c)
    if weights.size == 0:
        raise ScheduleError("merge weights: the row is empty; give one weight a checkpoint")
    if (weights < 0).any():
        raise ScheduleError(f"merge weights: {weights.min():g} is negative; they must be >= 0")
    total = float(weights.sum())
    if abs(total - 1.0) > TOLERANCE:
        raise ScheduleError(f"merge weights: they sum to {total:.12g}, not to 1; divide by the sum")
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
        ScheduleError: if the multipliers rise or do not lie from 0 to 1.

    Source: Tian et al. 2025, arXiv 2507.17634.

    >>> merge_weights_from_decay([0.75, 0.5, 0.25]).tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    multipliers = _row("decay", w)
    bad = (multipliers < 0) | (multipliers > 1)
    if bad.any():
        place = int(np.argmax(bad))
        raise ScheduleError(
            f"decay: w_{place + 1} = {multipliers[place]:g} does not lie from 0 to 1; "
            "divide by the constant rate"
        )
    rises = np.diff(multipliers) > 0
    if rises.any():
        place = int(np.argmax(rises))
        raise ScheduleError(
            f"decay: w_{place + 2} = {multipliers[place + 1]:g} is above w_{place + 1} = "
            f"{multipliers[place]:g}; a merge with weights >= 0 never raises the rate"
        )
    return -np.diff(np.concatenate([[1.0], multipliers, [0.0]]))


def checkpoint_weights(schedule_lr: ArrayLike, checkpoints: ArrayLike) -> Array:
    """The merge of checkpoints of a constant run that comes nearest to a schedule with a cooldown.

    Between two checkpoints a merge can only scale all updates alike: the multiplier there is the
    mean of the schedule's, which is the nearest one in the least-squares sense and keeps the sum of
    the rates.

    Args:
        schedule_lr: learning rates of shape (steps,) to imitate. They rise (a warm-up) to the peak,
            are there at the first checkpoint, and never rise after it.
        checkpoints: number of updates before each checkpoint, of shape (k + 1,), increasing; the
            last one is `steps`. A checkpoint that saw n updates saw schedule_lr[:n].

    Returns:
        Merge weights of shape (k + 1,), >= 0, which sum to 1, for the checkpoints of a run that
        follows the schedule to the first of them and then stays at the peak.

    Raises:
        ScheduleError: if the schedule or the checkpoints are no such rows.

    Source: Tian et al. 2025, arXiv 2507.17634; the mean over an interval is a choice made here.

    >>> checkpoint_weights([1.0, 1.0, 0.75, 0.25], [2, 3, 4]).tolist()
    [0.25, 0.5, 0.25]
    """
    lr, saved = _row("schedule", schedule_lr), _row("checkpoints", checkpoints)
    if lr.size == 0 or lr.min() < 0 or not lr.max() > 0:
        raise ScheduleError("schedule: give one learning rate >= 0 an update, and one above 0")
    if saved.size < 2 or (saved != np.floor(saved)).any() or (np.diff(saved) <= 0).any():
        raise ScheduleError(
            f"checkpoints: {_short(saved)} must be two whole numbers or more, increasing"
        )
    if saved[0] < 0 or saved[-1] != lr.size:
        raise ScheduleError(
            f"checkpoints: {_short(saved)} must run from 0 or later to {lr.size}, where the "
            "schedule ends"
        )
    edges = saved.astype(np.intp)
    first, peak = int(edges[0]), float(lr.max())
    slack = TOLERANCE * peak
    falls, rises = np.diff(lr) < -slack, np.diff(lr) > slack
    early = falls[: max(first - 1, 0)]
    if early.any() or lr[max(first - 1, 0)] < peak - slack:
        raise ScheduleError(
            f"schedule: it is not at its peak {peak:g} at the first checkpoint, {first}, or fell "
            "before it; give checkpoints from before the cooldown on"
        )
    if rises[max(first - 1, 0) :].any():
        step = int(np.argmax(rises[max(first - 1, 0) :])) + max(first - 1, 0) + 1
        raise ScheduleError(
            f"schedule: it rises at step {step}, after the first checkpoint, {first}; a merge "
            "with weights >= 0 never raises the rate"
        )
    means = np.add.reduceat(lr / peak, edges[:-1]) / np.diff(edges)
    # rounding must not turn equal means into a rise
    return merge_weights_from_decay(np.minimum.accumulate(np.minimum(means, 1.0)))


def _row(name: str, given: ArrayLike) -> Array:
    row = np.asarray(given, dtype=np.float64)
    if row.ndim != 1:
        raise ScheduleError(f"{name}: a row of numbers is needed, got shape {row.shape}")
    if not np.isfinite(row).all():
        raise ScheduleError(f"{name}: {row[~np.isfinite(row)][0]:g} is not finite")
    return row


def _short(row: Array) -> str:
    words = [f"{value:g}" for value in row.tolist()]
    return "/".join(words if len(words) <= 8 else [*words[:3], "...", *words[-3:]])


def build(values: Values) -> Array:
    """Learning rates of shape (steps,)."""
    peak, steps, warmup, every = (values[key] for key in ("peak", "steps", "warmup", "every"))
    given: tuple[Any, ...] = values["weights"]
    total = sum(given)
    if not 0 < total < np.inf:
        raise ScheduleError(f"the weights sum to {total:g}; give at least one above 0")
    if every < 1:
        raise ScheduleError("every=0: give the steps between two checkpoints, at least 1")
    first = steps - (len(given) - 1) * every
    if first < warmup:
        raise ScheduleError(
            f"{len(given)} checkpoints with every={every} start at step {first}, before "
            f"warmup={warmup} ends; merge fewer, or save them more often"
        )
    multiplier = np.concatenate([[1.0], decay_from_merge_weights(np.array(given) / total)])

    def lr_after_warmup(step: Array) -> Array:
        # 0 up to checkpoint 0, then 1 between checkpoints 0 and 1, and so on
        interval = np.maximum((step - first) // every + 1, 0).astype(np.intp)
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
