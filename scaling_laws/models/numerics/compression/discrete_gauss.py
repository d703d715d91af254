"""Few weighted nodes in place of many small LR changes.

The sum of many changes against any smooth kernel equals a Gauss quadrature of the discrete measure
they form, so a handful of nodes represents all of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["changes", "discrete_gauss"]

Array = NDArray[np.float64]
Index = NDArray[np.int64]


def discrete_gauss(
    position: Array, weight: Array, starts: Index, nodes: int
) -> tuple[Array, Array]:
    """Gauss quadrature for many discrete measures at once (Stieltjes, then Golub and Welsch 1969).

    Args:
        position: positions of the atoms, group after group, increasing within a group: (atoms,).
        weight: their positive weights.
        starts: index of each group's first atom: (groups,). Every group has more than `nodes`
            atoms.
        nodes: nodes per group.

    Returns:
        Node positions and weights, each (groups, nodes). A polynomial of degree 2·nodes - 1 has
        the same sum over the nodes as over the atoms.
    """
    sizes = np.diff(np.append(starts, len(position)))

    def total(values: Array) -> Array:
        return np.asarray(np.add.reduceat(values, starts))

    def spread(values: Array) -> Array:
        return np.repeat(values, sizes)

    low, high = position[starts], position[starts + sizes - 1]
    middle, half = 0.5 * (low + high), np.maximum(0.5 * (high - low), np.finfo(float).tiny)
    x = (position - spread(middle)) / spread(half)
    mass = total(weight)
    before, current = np.zeros_like(x), np.ones_like(x)
    norm = mass
    diagonal: list[Array] = []
    squared: list[Array] = []
    for _ in range(nodes):
        center = total(weight * x * current**2) / norm
        diagonal.append(center)
        ratio = squared[-1] if squared else np.zeros_like(norm)
        before, current = current, (x - spread(center)) * current - spread(ratio) * before
        following = total(weight * current**2)
        squared.append(following / norm)
        norm = following
    jacobi = np.zeros((len(starts), nodes, nodes))
    for index in range(nodes):
        jacobi[:, index, index] = diagonal[index]
        if index + 1 < nodes:
            off = np.sqrt(np.maximum(squared[index], 0.0))
            jacobi[:, index, index + 1] = jacobi[:, index + 1, index] = off
    values, vectors = np.linalg.eigh(jacobi)
    return values * half[:, None] + middle[:, None], mass[:, None] * vectors[:, 0, :] ** 2


def changes(lr: Array) -> Array:
    """Rate before minus rate after at every step; nothing changes at step 0."""
    return np.concatenate([[0.0], lr[:-1] - lr[1:]])
