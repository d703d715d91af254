"""Which points of a run a fit evaluates, and how its other losses follow from them.

A loss curve is smooth except where its schedule bends. A fit therefore evaluates a law at some of
the logged steps, close together early in a run and around bends, and interpolates the others by
cubics. On logs of thousands of points this is most of the work saved; the error, below 1e-5 of the
loss for all laws (`tests/fitting/test_interpolation.py`), is far below the noise of a loss.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["interpolation_nodes", "interpolation_weights"]

Array = NDArray[np.float64]
Index = NDArray[np.int64]
ROUGH = 2e-6  # fourth difference of the LR, over its peak, above which all points are nodes
WINDOWS = 128  # per run: the differences are those of steps this share of the run apart
EARLY = 0.09  # distance of nodes over the clock, at most: a power law is smooth in its logarithm
LONGEST = 1.0 / 32.0  # distance of nodes over the length of the run, at most
GROWTH = (
    1.25  # of the distance of nodes away from a bend: the memory of a change is a power law too
)
STENCIL = 4


def interpolation_nodes(lr: Array, points: Index, breaks: Sequence[int] = ()) -> Index:
    """Indices of the points that are evaluated; the first and the last are among them.

    Args:
        lr: learning rate of every step: (steps,).
        points: increasing steps at which a loss is wanted.
        breaks: steps at which a loss curve may bend although the LR does not.
    """
    count = len(points)
    if count <= 2 * STENCIL:
        return np.arange(count)
    allowed = _spacing(lr, points, breaks)
    nodes = [0]
    while nodes[-1] < count - 1:
        here = nodes[-1]
        # the farthest point whose distance every point passed on the way allows
        limit = points[here] + allowed[here]
        ahead = here + 1
        while ahead < count - 1 and points[ahead + 1] <= limit:
            ahead += 1
            limit = min(limit, points[here] + allowed[ahead])
        while ahead > here + 1 and points[ahead] > limit:
            ahead -= 1
        nodes.append(ahead)
    return np.array(nodes)


def interpolation_weights(points: Index, nodes: Index) -> tuple[Index, Array]:
    """Weights of Lagrange's cubic through the four nearest nodes.

    Args:
        points: increasing steps.
        nodes: indices of the points that are evaluated.

    Returns:
        For every point, indices into the nodes and their weights: (points, stencil) each. A node
        has weight one on itself.
    """
    width = min(STENCIL, len(nodes))
    steps = points[nodes].astype(np.float64)
    left = np.searchsorted(nodes, np.arange(len(points)), side="right") - 1
    first = np.clip(left - 1, 0, len(nodes) - width)
    stencil = first[:, None] + np.arange(width)
    at = points.astype(np.float64)[:, None]
    weights = np.ones(stencil.shape)
    for j in range(width):
        for i in range(width):
            if i != j:
                own, other = steps[stencil[:, j]], steps[stencil[:, i]]
                weights[:, j] *= (at[:, 0] - other) / (own - other)
    return stencil, weights


def _spacing(lr: Array, points: Index, breaks: Sequence[int]) -> Array:
    """Largest distance of nodes at every point, in steps: (points,)."""
    step = points.astype(np.float64)
    clock = np.cumsum(lr[: points[-1] + 1])[points]
    clock_steps = np.where(
        lr[points] > 0, clock / np.where(lr[points] > 0, lr[points], 1.0), np.inf
    )
    allowed = np.minimum(EARLY * clock_steps, LONGEST * (step[-1] + 1.0))
    change = np.abs(np.gradient(lr[: points[-1] + 1]))[points]
    towards_zero = (GROWTH - 1.0) * lr[points] / np.where(change > 0, change, 1.0)
    allowed = np.where(change > 0, np.minimum(allowed, towards_zero), allowed)
    bends = np.concatenate([_bends(lr[: points[-1] + 1]), np.array(breaks, dtype=np.int64)])
    if len(bends):
        bends = np.sort(bends)
        after = np.searchsorted(bends, points, side="right")
        before = np.where(after > 0, step - bends[np.maximum(after - 1, 0)], np.inf)
        ahead = np.where(
            after < len(bends), bends[np.minimum(after, len(bends) - 1)] - step, np.inf
        )
        allowed = np.minimum(allowed, (GROWTH - 1.0) * np.minimum(before, ahead))
    return allowed


def _bends(lr: Array) -> Index:
    """Steps around which the LR is not smooth.

    Its fourth differences are large at a bend, and tiny where it is linear, constant or a cosine: a
    cubic through nodes `LONGEST` apart then misses the LR by at most six times `ROUGH`.
    """
    window = max(1, len(lr) // WINDOWS)
    if len(lr) < 4 * window + 1:
        return np.arange(len(lr))
    pieces = [lr[order * window : len(lr) - (4 - order) * window] for order in range(5)]
    difference = pieces[0] - 4.0 * pieces[1] + 6.0 * pieces[2] - 4.0 * pieces[3] + pieces[4]
    rough = np.abs(difference) > ROUGH * float(np.max(lr, initial=0.0))
    return np.flatnonzero(rough) + 2 * window
