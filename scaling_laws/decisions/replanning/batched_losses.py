"""Losses under many values of a law's parameters, at any steps of any schedule.

Schedules of every length share a few compiled programs: what is asked of them is padded to a few
sizes, since a question of a moment must not wait for a compiler at each of a hundred schedules.
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
MIN_CELLS = 256  # of a time grid: usual runs have fewer
POINTS = 48  # at a time, where there is more than one
FEW, MANY = 32, 128  # rows of parameters at a time, at many points and at one
SMALLEST = 1e-6  # predictions below count as it, so that logarithms exist


@in_float64
def log_losses(
    law: Law,
    params: Mapping[str, Array],
    lr: Array,
    steps: NDArray[np.int64],
    facts: Mapping[str, float],
) -> Array:
    """Log losses: params (rows,) each, lr (all steps,), steps (points,) -> (rows, points)."""
    points = law.history(AtPoints(steps), lr, facts=facts)
    wide = len(steps) > 1
    size = -(-len(steps) // POINTS) * POINTS if wide else 1
    points = pad_points(points, size, MIN_CELLS)
    rows = {name: np.asarray(row, dtype=np.float64) for name, row in params.items()}
    count, lanes = len(next(iter(rows.values()))), MANY if len(steps) == 1 else FEW
    parts = []
    for first in range(0, count, lanes):
        part = {name: row[first : first + lanes] for name, row in rows.items()}
        missing = lanes - min(lanes, count - first)
        part = {name: np.pad(row, (0, missing), mode="edge") for name, row in part.items()}
        parts.append(np.asarray(compiled_draws(law)(part, points))[: lanes - missing, : len(steps)])
    return np.asarray(np.log(np.maximum(np.concatenate(parts), SMALLEST)))


def in_unit(law: Law, values: Mapping[str, Any], unit: float) -> dict[str, Any]:
    """Parameters for LRs as they are logged -> for LRs in that unit; a law without units: as is."""
    if law.rescale is None:
        return dict(values)
    return {**values, **law.rescale(values, 1.0 / unit)}
