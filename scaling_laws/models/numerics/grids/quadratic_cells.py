"""A time grid of some hundred cells with three nodes each: chosen losses of a fit.

A cell contains consecutive steps over which the learning rate is nearly linear. It is sampled at
three of its steps, the nodes, with weights that sum any parabola over its steps exactly. Cells of
one step make every formula exact.

The memory takes the gain as linear in the clock over each cell; what a line contributes at its two
ends is the kernel and its integral (`linear_memory.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from scaling_laws.models.numerics.grids.linear_memory import linear_memory
from scaling_laws.models.numerics.grids.norm_recursion import squared_norms

__all__ = ["CellPoints", "QuadraticCells"]

Array = Any  # a NumPy array outside jit, a JAX tracer inside
Rates = NDArray[np.float64]
Index = NDArray[np.int64]
NODES = 3
MAX_CELL_FRACTION = 1.0 / 64.0  # of the run length
EARLY = 0.25  # a cell has at most this share of the steps before it: much changes early
CURVATURE = 0.002  # largest distance of the LR from a straight line, as a share of its highest
MAX_CELLS = 2048  # a schedule that needs more has its curvature smoothed over


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class CellPoints:
    """Steps at which a loss is wanted.

    Attributes:
        cell: index of the cell that contains each, (P,).
        weight: weights of that cell's nodes that sum a parabola from its first step to the
            point, (J, P).
    """

    cell: Array
    weight: Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class QuadraticCells:
    """K cells of steps with J = 3 nodes each; satisfies `TimeGrid`.

    Attributes:
        lr: learning rate at each node, (J, K).
        weight: weights that sum a parabola over the steps of the cell, (J, K); 0 is padding.
        decay_to_next: LR times weight decay, summed from a node up to the next, (J, K).
        lr_squared_to_next: squared LR summed over the same steps, (J, K).
        residual_decay: decay that this sum still undergoes on average before the next node,
            (J, K).
        points: steps at which a loss is wanted.
        norm: logged parameter norm at each node, (J, K), where a law reads it.
    """

    lr: Array
    weight: Array
    decay_to_next: Array
    lr_squared_to_next: Array
    residual_decay: Array
    points: CellPoints
    norm: Array | None = None

    @classmethod
    def of(
        cls, lr: Rates, decay: Rates, points: Index, norm: Rates | None = None
    ) -> QuadraticCells:
        """A run in cells.

        Args:
            lr: learning rate of every step: (steps,).
            decay: lr·weight_decay of every step: (steps,).
            points: increasing steps at which a loss is wanted.
            norm: parameter norm of every step: (steps,).
        """
        steps = int(points[-1]) + 1
        lr, decay = lr[:steps], decay[:steps]
        rows = [lr, decay] if norm is None else [lr, decay, norm[:steps]]
        edges = _edges(rows)
        first, last = edges[:-1], edges[1:] - 1
        middle = (first + last) // 2
        nodes = np.stack([first, middle, last])
        count = last - first + 1
        cell = np.searchsorted(edges, points, side="right") - 1
        decay_sum = np.concatenate([[0.0], np.cumsum(decay)])
        squared_sum = np.concatenate([[0.0], np.cumsum(lr**2)])
        half = np.concatenate([[0.0], np.cumsum(lr**2 * (decay_sum[1:] - 0.5 * decay))])
        following = np.concatenate([nodes[1:], edges[None, 1:]])
        decay_to_next = decay_sum[following] - decay_sum[nodes]
        squared_to_next = squared_sum[following] - squared_sum[nodes]
        weighted = decay_sum[following] * squared_to_next - (half[following] - half[nodes])
        positive = squared_to_next > 0
        residual = np.where(positive, weighted / np.where(positive, squared_to_next, 1.0), 0.0)
        return cls(
            lr=lr[nodes],
            weight=_weights(count, middle - first, count),
            decay_to_next=decay_to_next,
            lr_squared_to_next=squared_to_next,
            residual_decay=np.clip(residual, 0.0, decay_to_next),
            points=CellPoints(
                cell,
                _weights(points - first[cell] + 1, (middle - first)[cell], count[cell]),
            ),
            norm=None if norm is None else norm[:steps][nodes],
        )

    def padded(self, points: int, cells: int) -> QuadraticCells:
        """More points, copies of the last, and more cells, empty ones, of (stacks of) grids.

        Args:
            points: at least as many as there are.
            cells: at least as many as there are.
        """
        missing = [*[(0, 0)] * (self.lr.ndim - 1), (0, cells - self.lr.shape[-1])]

        def fill(values: Rates) -> Rates:
            return np.pad(values, missing)

        last = np.minimum(np.arange(points), self.points.cell.shape[-1] - 1)
        return replace(
            self,
            lr=fill(self.lr),
            weight=fill(self.weight),
            decay_to_next=fill(self.decay_to_next),
            lr_squared_to_next=fill(self.lr_squared_to_next),
            residual_decay=fill(self.residual_decay),
            points=CellPoints(self.points.cell[..., last], self.points.weight[..., last]),
            norm=None if self.norm is None else np.pad(self.norm, missing, mode="edge"),
        )

    def squared_norms(self, start: Array, decay_factor: Array = 1.0) -> Array:
        """See `TimeGrid`: (J, K)."""
        rows = self.decay_to_next, self.lr_squared_to_next, self.residual_decay
        in_time = (row.T.reshape(-1) for row in rows)
        return squared_norms(*in_time, start, decay_factor).reshape(-1, NODES).T

    def cumulative_at_nodes(self, row: Array) -> Array:
        """See `TimeGrid`: (J, K) -> (J, K).

        Between the ends of a cell, where the sum and its slope are known, a cubic.
        """
        total = jnp.sum(self.weight * row, axis=0)
        begin = jnp.cumsum(total) - total
        count = jnp.maximum(jnp.sum(self.weight, axis=0), 1.0)
        first, last = row[0], row[-1]
        share = (jnp.floor(0.5 * (count - 1.0) + 1e-6) + 0.5) / count
        other = 1.0 - share
        cubic = share * other * count * (other * first - share * last)
        middle = share * share * (1.0 + 2.0 * other) * total + cubic
        return begin[None] + jnp.stack([0.5 * first, middle, total - 0.5 * last])

    def cumulative_at_points(self, row: Array) -> Array:
        """See `TimeGrid`: (J, K) -> (points,)."""
        total = jnp.sum(self.weight * row, axis=0)
        begin = jnp.cumsum(total) - total
        return begin[self.points.cell] + self._within_cell(row)

    def memory_average(
        self, dtau: Array, gain: Array, speed: Array, exponent: Array
    ) -> tuple[Array, Array]:
        """See `TimeGrid`: the gain is taken as linear in the clock over each cell."""
        total = jnp.sum(self.weight * dtau, axis=0)  # (K,)
        mask = total > 0
        safe = jnp.where(mask, total, 1.0)
        start = jnp.cumsum(total) - total
        steps = jnp.sum(self.weight, axis=0)
        inside = jnp.where(steps > 1.0, (steps - 1.0) / jnp.maximum(steps, 1.0), 1.0)
        # a line with the mean of the gain over the clock and the change from first to last step
        mean = jnp.where(mask, jnp.sum(self.weight * dtau * gain, axis=0) / safe, gain[-1])
        slope = jnp.where(mask & (steps > 1.0), (gain[-1] - gain[0]) / (safe * inside), 0.0)
        low, high = mean - 0.5 * slope * total, mean + 0.5 * slope * total
        jump = jnp.concatenate([jnp.zeros_like(high[:1]), high[:-1]]) - low
        slope_change = jnp.concatenate([jnp.zeros_like(slope[:1]), slope[:-1]]) - slope
        cell, since = self.points.cell, self._within_cell(dtau)
        clock = start[cell] + since
        newest = low[cell] + slope[cell] * since
        memory = linear_memory(clock, cell, start, jump, slope_change, speed, exponent)
        return clock, newest + memory

    def _within_cell(self, row: Array) -> Array:
        """Sums from the first step of its cell to each point: (J, K) -> (points,)."""
        return jnp.sum(self.points.weight * row[:, self.points.cell], axis=0)


def _edges(rows: Sequence[Rates]) -> Index:
    """First steps of cells over which all rows are nearly straight, and the number of steps."""
    curvature = CURVATURE
    while True:
        edges = _halved(rows, curvature)
        if len(edges) <= MAX_CELLS + 1:
            return edges
        curvature *= 4.0


def _halved(rows: Sequence[Rates], curvature: float) -> Index:
    steps = len(rows[0])
    longest = max(1, int(MAX_CELL_FRACTION * steps))
    waiting, edges = [(0, steps)], [steps]
    while waiting:
        start, stop = waiting.pop()
        size = stop - start
        fine = size == 1 or (size <= min(longest, max(1.0, EARLY * start)))
        if fine and size > 1:
            fine = all(_straight(row[start:stop], curvature) for row in rows)
        if fine:
            edges.append(start)
        else:
            half = start + size // 2
            waiting += [(start, half), (half, stop)]
    return np.sort(np.array(edges, dtype=np.int64))


def _straight(row: Rates, curvature: float) -> bool:
    """Whether numbers are near a straight line and within a factor of two."""
    highest, lowest = float(row.max()), float(row.min())
    if highest > 2.0 * lowest and curvature <= 16.0 * CURVATURE:
        return False
    line = np.linspace(row[0], row[-1], len(row))
    return bool(np.abs(row - line).max() <= curvature * highest)


def _weights(upto: Index, middle: Index, count: Index) -> Rates:
    """Weights of nodes 0, middle, count - 1 that sum a parabola over steps 0..upto - 1: (3, P).

    Two steps have two nodes, one step has one.
    """
    total = upto.astype(np.float64)
    first = total * (total - 1.0) / 2.0  # sum of u
    second = (total - 1.0) * total * (2.0 * total - 1.0) / 6.0  # sum of u²
    inner, end = middle.astype(np.float64), (count - 1).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        table = np.stack(
            [
                (second - (inner + end) * first + inner * end * total) / (inner * end),
                (second - end * first) / (inner * (inner - end)),
                (second - inner * first) / (end * (end - inner)),
            ]
        )
    one, two = (count == 1)[None], (count == 2)[None]
    pair = np.stack([np.minimum(total, 1.0), 0.0 * total, total - 1.0])
    single = np.stack([total, 0.0 * total, 0.0 * total])
    return np.asarray(np.where(one, single, np.where(two, pair, table)))
