"""Losses under many values of a law's parameters, at any steps of any schedule.

The arrays are padded to a few sizes, so schedules of all lengths share a few compiled programs: a
replan evaluates about a hundred schedules and must not compile for each of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_laws.inference import compiled_draws
from scaling_laws.models import AtPoints, Law, in_float64, pad_points

__all__ = ["POINTS", "in_unit", "log_losses"]

Array = NDArray[np.float64]
MIN_CELLS = 256  # of a time grid; most runs have fewer
POINTS = 48  # steps per batch, unless there is only one
BATCH_MANY_STEPS, BATCH_ONE_STEP = 32, 128  # parameter rows per batch
MIN_PREDICTION = 1e-6  # lower bound on predictions, so that the log is finite


@in_float64
def log_losses(
    law: Law,
    params: Mapping[str, Array],
    lr: Array,
    steps: NDArray[np.int64],
    facts: Mapping[str, float],
) -> Array:
    """Log losses under many values of the parameters, at some steps of a schedule.

    Args:
        law: the law.
        params: values by parameter name, (rows,) per parameter.
        lr: learning rates of all steps: (steps,).
        steps: where to evaluate: (points,).
        facts: known facts of the run.

    Returns:
        Natural logarithms of the losses in nats: (rows, points).
    """
    several = len(steps) > 1
    padded = -(-len(steps) // POINTS) * POINTS if several else 1
    history = pad_points(law.history(AtPoints(steps), lr, facts=facts), padded, MIN_CELLS)
    rows = {name: np.asarray(row, dtype=np.float64) for name, row in params.items()}
    count = len(next(iter(rows.values())))
    batch_size = BATCH_MANY_STEPS if several else BATCH_ONE_STEP
    batches = []
    for first in range(0, count, batch_size):
        missing = max(first + batch_size - count, 0)
        batch = {
            name: np.pad(row[first : first + batch_size], (0, missing), mode="edge")
            for name, row in rows.items()
        }
        losses = np.asarray(compiled_draws(law)(batch, history))
        batches.append(losses[: batch_size - missing, : len(steps)])
    return np.asarray(np.log(np.maximum(np.concatenate(batches), MIN_PREDICTION)))


def in_unit(law: Law, values: Mapping[str, Any], unit: float) -> dict[str, Any]:
    """Convert parameters from logged LRs to LRs in `unit`; unchanged if the law has no LR unit."""
    if law.rescale is None:
        return dict(values)
    return {**values, **law.rescale(values, 1.0 / unit)}
