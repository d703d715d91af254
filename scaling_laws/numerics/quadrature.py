"""Few weighted nodes in place of many small LR changes.

Between two logged points a smooth schedule makes a hundred small changes. Their sum against any
smooth kernel equals a Gauss quadrature of the discrete measure they form, so a handful of nodes
stands for all of them. Nodes depend on the schedule only, never on a law's parameters.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["changes", "compress", "discrete_gauss", "dyadic_groups"]

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
        nodes: nodes a group.

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
    for place in range(nodes):
        jacobi[:, place, place] = diagonal[place]
        if place + 1 < nodes:
            off = np.sqrt(np.maximum(squared[place], 0.0))
            jacobi[:, place, place + 1] = jacobi[:, place + 1, place] = off
    values, vectors = np.linalg.eigh(jacobi)
    return values * half[:, None] + middle[:, None], mass[:, None] * vectors[:, 0, :] ** 2


def dyadic_groups(points: Index, first: int) -> Index:
    """Group boundaries that grow away from the next point, where a memory kernel is smoother.

    Args:
        points: increasing steps at which the sum is wanted.
        first: length of the group that ends at a point; the next ones double.

    Returns:
        Increasing last steps of the groups; every point is among them.
    """
    edges = [points]
    previous = np.concatenate([np.array([-1], dtype=np.int64), points[:-1]])
    length = first
    while True:
        candidate = points - length
        inside = candidate > previous
        if not inside.any():
            return np.unique(np.concatenate(edges))
        edges.append(candidate[inside])
        length *= 2


def changes(lr: Array) -> Array:
    """Rate before minus rate after at every step; nothing changes at step 0."""
    return np.concatenate([[0.0], lr[:-1] - lr[1:]])


def compress(
    per_step: Array,
    lr: Array,
    points: Index,
    *,
    nodes: int,
    first: int,
    cuts: Sequence[int] = (),
) -> tuple[Array, Array]:
    """Replace the events between points by quadrature nodes.

    Args:
        per_step: weight of the event at every step, such as the change of LR: (steps,).
        lr: learning rate of every step: (steps,).
        points: increasing steps at which a sum over the events so far is wanted.
        nodes: nodes for each group of events of one sign.
        first: size of the smallest group; see `dyadic_groups`.
        cuts: steps at which a group begins in any case.

    Returns:
        Positions (fractional steps, sorted) and signed weights of the events. Within a group the
        rate changes by less than a factor of two. Groups with no more events than `nodes`, and
        events that make up a quarter or more of their group (abrupt drops), are kept as they are.
    """
    weights = per_step[: int(points[-1]) + 1]
    steps = np.flatnonzero(weights)
    if steps.size == 0:
        return np.zeros(0), np.zeros(0)
    size = weights[steps]
    level = np.floor(np.log2(np.maximum(lr[: len(weights)], 1e-9 * lr.max())))
    # after a deep fall of the LR the clock hardly moves: points there are near the time before it
    near = np.union1d(points, np.flatnonzero(np.diff(level) < 0))
    edges = np.union1d(dyadic_groups(near, first), np.flatnonzero(np.diff(level)))
    # what fades from the start of the run on, as a power of the clock, bends most there
    start = 2 ** np.arange(int(points[-1] + 1).bit_length())
    edges = np.union1d(np.union1d(edges, start), np.asarray(cuts, dtype=np.int64) - 1)
    # a group is (interval between edges, sign); sort by it, then by step
    group = 2 * np.searchsorted(edges, steps, side="left") + (size > 0)
    order = np.lexsort((steps, group))
    steps, size, group = steps[order], size[order], group[order]
    groups, inverse = np.unique(group, return_inverse=True)
    total = np.zeros(len(groups))
    np.add.at(total, inverse, np.abs(size))
    many = np.bincount(inverse) > nodes
    exact = ~many[inverse] | (np.abs(size) >= 0.25 * total[inverse])
    rest_count = np.bincount(inverse[~exact], minlength=len(groups))
    exact |= (rest_count <= nodes)[inverse]
    position = [steps[exact].astype(np.float64)]
    weight = [size[exact]]
    smooth = ~exact
    if smooth.any():
        label = inverse[smooth]
        starts = np.flatnonzero(np.append(True, np.diff(label) > 0)).astype(np.int64)
        where, mass = discrete_gauss(
            steps[smooth].astype(np.float64), np.abs(size[smooth]), starts, nodes
        )
        sign = np.sign(size[smooth][starts])
        position.append(where.ravel())
        weight.append((mass * sign[:, None]).ravel())
    positions, weights = np.concatenate(position), np.concatenate(weight)
    order = np.argsort(positions, kind="stable")
    return positions[order], weights[order]
