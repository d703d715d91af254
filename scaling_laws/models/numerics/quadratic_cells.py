"""A run as some hundred stretches of steps, for laws whose clock depends on their parameters.

`History` holds clocks that are known before a fit. A law that first has to work out its own rate
from the learning rate, by a recursion over the steps, needs the steps themselves: one by one for an
exact answer, or, in a fit, gathered to stretches over which the learning rate is near a straight
line. A stretch is read at three of its steps, the nodes, with weights that sum any parabola over
its steps exactly. Stretches of one step make every formula exact.

The recursion is that of a squared norm under decoupled weight decay and updates of one size,

    n <- n·exp(-2 d) + lr²·exp(-d)·sinh(d)/d,    d = lr·weight_decay,

which is linear in n: `norms` follows it over all nodes at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from scaling_laws.models.numerics.gauss_cells import Pairs
from scaling_laws.models.numerics.scans import linear

__all__ = [
    "Points",
    "Stretches",
    "norms",
    "padded",
    "single_steps",
    "stretches_of",
    "sums_at_nodes",
]

Array = Any  # a NumPy array outside jit, a JAX tracer inside
Rates = NDArray[np.float64]
Index = NDArray[np.int64]
NODES = 3
LONGEST = 1.0 / 64.0  # of the run
EARLY = 0.25  # a stretch is at most this share of the steps before it: much changes early
BEND = 0.002  # how far the LR may be from a straight line, as a share of its highest
MOST = 2048  # stretches; a schedule that needs more has its bends smoothed over


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Points:
    """Steps at which a loss is wanted.

    Attributes:
        stretch: which stretch each lies in, (P,).
        weight: weights of that stretch's nodes that sum a parabola from its first step to the
            point, (P, J).
    """

    stretch: Array
    weight: Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Stretches:
    """K stretches of steps with J nodes each.

    Attributes:
        lr: learning rate at each node, (K, J).
        weight: weights that sum a parabola over the steps of the stretch, (K, J); 0 is padding.
        decay: LR times weight decay, summed from a node up to the next, (K, J).
        source: squared LR summed over the same steps, (K, J).
        lag: decay that this sum still undergoes on average before the next node, (K, J).
        norm: logged parameter norm at each node, (K, J), where a law reads it.
        points: steps at which a loss is wanted; None: at the end of every stretch.
    """

    lr: Array
    weight: Array
    decay: Array
    source: Array
    lag: Array
    norm: Array | None = None
    points: Points | None = None


def single_steps(lr: Array, decay: Array, norm: Array | None = None) -> Stretches:
    """Every step a stretch: lr, decay = lr·weight_decay and norm (steps,). Traceable."""
    return Stretches(
        lr=lr[:, None],
        weight=jnp.ones_like(lr)[:, None],
        decay=decay[:, None],
        source=(lr * lr)[:, None],
        lag=0.5 * decay[:, None],
        norm=None if norm is None else norm[:, None],
    )


def stretches_of(lr: Rates, decay: Rates, points: Index, norm: Rates | None = None) -> Stretches:
    """A run gathered to stretches.

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
    nodes = np.stack([first, middle, last], axis=1)
    count = last - first + 1
    stretch = np.searchsorted(edges, points, side="right") - 1
    summed = {
        "decay": np.concatenate([[0.0], np.cumsum(decay)]),
        "source": np.concatenate([[0.0], np.cumsum(lr**2)]),
    }
    half = np.concatenate([[0.0], np.cumsum(lr**2 * (summed["decay"][1:] - 0.5 * decay))])
    following = np.concatenate([nodes[:, 1:], edges[1:, None]], axis=1)
    part = {name: row[following] - row[nodes] for name, row in summed.items()}
    seen = summed["decay"][following] * part["source"] - (half[following] - half[nodes])
    some = part["source"] > 0
    lag = np.where(some, seen / np.where(some, part["source"], 1.0), 0.0)
    return Stretches(
        lr=lr[nodes],
        weight=_weights(count, middle - first, count),
        decay=part["decay"],
        source=part["source"],
        lag=np.clip(lag, 0.0, part["decay"]),
        norm=None if norm is None else norm[:steps][nodes],
        points=Points(
            stretch,
            _weights(points - first[stretch] + 1, (middle - first)[stretch], count[stretch]),
        ),
    )


def padded(table: Stretches, size: int) -> Stretches:
    """More stretches, empty ones: (..., size, J)."""
    *leading, stretches, _ = table.lr.shape
    missing = [*[(0, 0) for _ in leading], (0, size - stretches), (0, 0)]

    def fill(values: Rates) -> Rates:
        return np.pad(values, missing)

    return replace(
        table,
        lr=fill(table.lr),
        weight=fill(table.weight),
        decay=fill(table.decay),
        source=fill(table.source),
        lag=fill(table.lag),
        norm=None if table.norm is None else np.pad(table.norm, missing, mode="edge"),
    )


def _edges(rows: Sequence[Rates]) -> Index:
    """First steps of stretches over which all rows are nearly straight, and the number of steps."""
    bend = BEND
    while True:
        edges = _halved(rows, bend)
        if len(edges) <= MOST + 1:
            return edges
        bend *= 4.0


def _halved(rows: Sequence[Rates], bend: float) -> Index:
    steps = len(rows[0])
    longest = max(1, int(LONGEST * steps))
    waiting, edges = [(0, steps)], [steps]
    while waiting:
        start, stop = waiting.pop()
        size = stop - start
        fine = size == 1 or (size <= min(longest, max(1.0, EARLY * start)))
        if fine and size > 1:
            fine = all(_straight(row[start:stop], bend) for row in rows)
        if fine:
            edges.append(start)
        else:
            half = start + size // 2
            waiting += [(start, half), (half, stop)]
    return np.sort(np.array(edges, dtype=np.int64))


def _straight(row: Rates, bend: float) -> bool:
    """Whether numbers are near a straight line, within a factor of two."""
    highest, lowest = float(row.max()), float(row.min())
    if highest > 2.0 * lowest and bend <= 16.0 * BEND:
        return False
    line = np.linspace(row[0], row[-1], len(row))
    return bool(np.abs(row - line).max() <= bend * highest)


def _weights(upto: Index, middle: Index, count: Index) -> Rates:
    """Weights of nodes 0, middle, count - 1 that sum a parabola over steps 0..upto - 1: (P, 3).

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
            ],
            axis=1,
        )
    one, two = (count == 1)[:, None], (count == 2)[:, None]
    pair = np.stack([np.minimum(total, 1.0), 0.0 * total, total - 1.0], axis=1)
    single = np.stack([total, 0.0 * total, 0.0 * total], axis=1)
    return np.asarray(np.where(one, single, np.where(two, pair, table)))


def sums_at_nodes(stretches: Stretches | Pairs, row: Array) -> Array:
    """What a row sums to up to the middle of every node's step: (K, J) -> (K, J).

    Between the ends of a stretch, where the sum and its slope are known, a cubic.
    """
    if isinstance(stretches, Pairs):
        return stretches.sums_at_nodes(row)
    passed = jnp.sum(stretches.weight * row, axis=1, keepdims=True)
    begin = jnp.cumsum(passed, axis=0) - passed
    count = jnp.maximum(jnp.sum(stretches.weight, axis=1, keepdims=True), 1.0)
    if row.shape[1] == 1:
        return begin + 0.5 * passed
    first, last = row[:, :1], row[:, -1:]
    at = (jnp.floor(0.5 * (count - 1.0) + 1e-6) + 0.5) / count
    rest = 1.0 - at
    bent = at * rest * count * (rest * first - at * last)
    middle = at * at * (1.0 + 2.0 * rest) * passed + bent
    return begin + jnp.concatenate([0.5 * first, middle, passed - 0.5 * last], axis=1)


@jax.jit
def norms(stretches: Stretches | Pairs, start: Array, decay_factor: Array = 1.0) -> Array:
    """The squared norm before the update of every node: (K, J).

    Args:
        stretches: the run.
        start: squared norm before the first step.
        decay_factor: multiplies the weight decay.
    """
    if isinstance(stretches, Pairs):
        return stretches.norms(start, decay_factor)
    decay = decay_factor * stretches.decay.reshape(-1)
    lag = decay_factor * stretches.lag.reshape(-1)
    added = stretches.source.reshape(-1) * jnp.exp(-2.0 * lag) * _sinhc(decay)

    kept, added = linear(jnp.exp(-2.0 * decay), added)
    following = kept * start + added
    before = jnp.concatenate([jnp.reshape(start, (1,)).astype(following.dtype), following[:-1]])
    return before.reshape(stretches.lr.shape)


def _sinhc(x: Array) -> Array:
    """sinh(x)/x, smooth at 0."""
    small = x < 1e-2
    safe = jnp.where(small, 1.0, x)
    return jnp.where(small, 1.0 + x * x / 6.0 * (1.0 + x * x / 20.0), jnp.sinh(safe) / safe)
