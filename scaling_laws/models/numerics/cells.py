"""Cells of steps for the loss after the last step of a run.

A schedule search needs one number, many times. Steps far from the end of a run contribute through
the sum of their learning rates, so they are gathered to cells that are represented by their mean:
cells are single steps near both ends and grow in proportion to the distance from the nearer end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from scaling_laws.models.numerics.history import bucket

__all__ = ["GROWTH", "Cells", "cells_of", "means"]

Array = Any
Index = NDArray[np.int64]
GROWTH = 1.0 / 64.0  # width of a cell over its distance from the nearer end of the run


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Cells:
    """How steps are gathered to K cells.

    Attributes:
        edges: first step of each cell, and the number of steps: (K + 1,).
        count: steps in each cell: (K,).
        node: middle of each cell, as a step: (K,).
    """

    edges: Array
    count: Array
    node: Array


def cells_of(steps: int, cuts: tuple[int, ...] = (), *, growth: float = GROWTH) -> Cells:
    """Cells for a run.

    Args:
        steps: number of steps of the run.
        cuts: steps at which a cell must begin, such as the end of the warm-up.
        growth: width of a cell over its distance from the nearer end; 0 for single steps.
    """
    edges, edge = [0], 0
    half = steps - steps // 2
    while edge < half:
        edge += max(1, int(growth * edge))
        edges.append(edge)
    near = np.array([start for start in edges if start <= half])
    both = np.concatenate([near, steps - near, [step for step in cuts if 0 < step < steps]])
    all_edges = _split(np.unique(both).astype(np.int64))
    count = np.diff(all_edges).astype(np.float64)
    return Cells(all_edges, count, all_edges[:-1] + 0.5 * (count - 1.0))


def _split(edges: Index) -> Index:
    """The widest cells halved until their number fills a bucket: few compilations."""
    missing = min(bucket(len(edges) - 1), int(edges[-1])) - (len(edges) - 1)
    while missing > 0:
        width = np.diff(edges)
        widest = np.argsort(-width, kind="stable")[:missing]
        widest = widest[width[widest] > 1]
        edges = np.sort(np.append(edges, edges[widest] + width[widest] // 2))
        missing -= len(widest)
    return edges


def means(lr: NDArray[np.float64], cells: Cells) -> NDArray[np.float64]:
    """Mean rate of each cell: (..., steps) -> (..., K)."""
    sums = np.add.reduceat(lr, cells.edges[:-1], axis=-1)
    return np.asarray(sums / np.diff(cells.edges))
