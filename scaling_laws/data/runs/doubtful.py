"""Losses that should not count: spikes, and the same run twice."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from scaling_laws.data.runs.run import Run

__all__ = ["loss_spikes", "repeated_runs"]

NEIGHBOURS = 9  # points of the running median, including the point itself
MIN_FACTOR = 3.0  # of the median; a loss three times that of its neighbours is a failed measurement


def loss_spikes(loss: NDArray[np.float64]) -> NDArray[np.int64]:
    """Rows whose loss is far above the median of its neighbours, and not at the start of a run.

    A spike of a stable run is a fraction of a nat; a loss of several times its neighbours, such as
    1e6, is a fault of the log, of the measurement or of a few updates. The first points, where the
    loss falls steeply, are never spikes.

    Args:
        loss: in nats: (points,).

    Returns:
        Indices of the spikes, in increasing order.

    >>> loss_spikes(np.array([9.0, 6, 5, 4.5, 4, 1e6, 3.9, 3.8, 3.7, 3.6]))
    array([5])
    """
    half = NEIGHBOURS // 2
    if len(loss) < NEIGHBOURS:
        return np.zeros(0, dtype=np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(loss, NEIGHBOURS)
    median = np.median(windows, axis=1)
    around = np.concatenate([np.full(half, np.inf), median, np.full(half, median[-1])])
    return np.flatnonzero(loss > MIN_FACTOR * around)


def repeated_runs(runs: Mapping[str, Run]) -> list[tuple[str, ...]]:
    """Names of runs that have the same losses at the same steps, in groups of two or more."""
    groups: dict[tuple[bytes, bytes], list[str]] = {}
    for name, run in runs.items():
        groups.setdefault((run.steps.tobytes(), run.loss.tobytes()), []).append(name)
    return [tuple(names) for names in groups.values() if len(names) > 1]
