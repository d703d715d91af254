"""The points of a run at which a fit evaluates its law, and how losses follow from them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array

from scaling_laws.data import Run
from scaling_laws.inference.fitting.interpolation import (
    interpolation_nodes,
    interpolation_weights,
)
from scaling_laws.models import AtPoints, History, Law

__all__ = ["points_of"]

Array = NDArray[np.float64]
WINDOW_NODES = 8  # steps that represent a longer averaging window
WORTHWHILE = 0.8  # of the points at most may be evaluated if the others are interpolated


def points_of(law: Law, run: Run, unit: float) -> tuple[History, NDArray[np.int64], Array]:
    """The points of a run at which a law is evaluated.

    Args:
        law: the law.
        run: the run.
        unit: the LR by which the fit divides all LRs.

    Returns:
        Their history; and per loss, indices and weights of the points whose losses it combines, an
        average over a window and an interpolation: (losses, points of a loss) each.
    """
    nodes = min(run.window, WINDOW_NODES)
    back = run.window * (np.arange(nodes) + 0.5) / nodes  # midpoints of equal parts
    averaged_steps = run.steps[:, None] - np.floor(back).astype(np.int64)[None, :]
    points, index = np.unique(np.maximum(averaged_steps, 0), return_inverse=True)
    index = index.reshape(averaged_steps.shape)
    weights = np.full(index.shape, 1.0 / nodes)
    if not law.required_traces:  # a logged trace may be as rough as it likes
        breaks = tuple(
            int(run.facts[fact]) for fact in sorted(law.break_facts) if fact in run.facts
        )
        evaluated = interpolation_nodes(run.schedule.lr, points, breaks)
        if len(evaluated) <= WORTHWHILE * len(points):
            index, weights = _combined(index, weights, *interpolation_weights(points, evaluated))
            points = points[evaluated]
    history = law.history(
        AtPoints(points), run.schedule.lr / unit, facts=run.facts, traces=run.traces
    )
    return history, index, weights


def _combined(
    index: NDArray[np.int64], weights: Array, stencil: NDArray[np.int64], stencil_weights: Array
) -> tuple[NDArray[np.int64], Array]:
    """An average of points that are themselves interpolated: (losses, points of a loss) each."""
    losses = np.repeat(np.arange(len(index)), index.shape[1] * stencil.shape[1])
    table = coo_array(
        (
            (weights[:, :, None] * stencil_weights[index]).ravel(),
            (losses, stencil[index].ravel()),
        )
    ).tocsr()  # sums what refers to the same point
    depth = int(np.diff(table.indptr).max())
    combined = np.zeros((len(index), depth), dtype=np.int64)
    combined_weights = np.zeros((len(index), depth))
    row = np.repeat(np.arange(len(index)), np.diff(table.indptr))
    column = np.arange(table.nnz) - table.indptr[row]
    combined[row, column] = table.indices
    combined_weights[row, column] = table.data
    return combined, combined_weights
