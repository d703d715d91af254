"""What a law sees of a run: clocks, LR levels and changes, as arrays in blocks.

A `History` is built once for a schedule and a choice of steps, in NumPy and float64, and holds
nothing that depends on a law's parameters. Three builders serve the three uses of a law:

* `every_step`: all steps of a schedule, in blocks of consecutive steps;
* `chosen_steps`: logged points only, with the changes between them compressed to quadrature nodes;
* `last_step`: the final loss only, one block.

The engine (`memory.py`) treats all three alike: directly inside a block, by exponentials across.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from scaling_laws.numerics.quadrature import changes, compress

__all__ = ["CLOCK_FLOOR", "History", "bucket", "chosen_steps", "every_step", "last_step"]

Array = Any  # a NumPy array outside jit, a JAX tracer inside
CLOCK_FLOOR = 1e-9  # a clock at 0 (zero LR so far) counts as this share of one step at the peak
BLOCK = 32  # steps a block in `every_step`
POINTS = 256  # points a block in `chosen_steps`


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class History:
    """A schedule as a law sees it; N blocks of Q points and K events (LR changes).

    Attributes:
        step: step of each point, (N, Q); padding repeats the last point.
        clock: sum of LR up to and including that step, (N, Q).
        lr: learning rate of that step, (N, Q).
        event_step: step of each change, fractional where compressed, (N, K).
        event_clock: sum of LR before that step, (N, K).
        event_change: rate before minus rate after, > 0 when the LR falls, (N, K); 0 is padding.
        event_lr: learning rate after the change, (N, K).
        peak_lr: largest LR of the schedule, ().
        shortest: shortest clock distance from an event to a point of a later block, ().
        facts: numbers known of the run, such as model_params.
        octaves: longest over shortest clock distance as a power of two, rounded up to a multiple
            of 8 and static: it sizes the grid of rates, so few values mean few compilations.
    """

    step: Array
    clock: Array
    lr: Array
    event_step: Array
    event_clock: Array
    event_change: Array
    event_lr: Array
    peak_lr: Array
    shortest: Array
    facts: Mapping[str, Array] = field(default_factory=dict)
    octaves: int = field(default=0, metadata={"static": True})

    @property
    def blocks(self) -> int:
        """How many blocks there are."""
        return int(self.step.shape[-2])


def bucket(size: int) -> int:
    """The next of 1, 1.25, 1.5, 1.75 times a power of two: few shapes, little padding."""
    quarter = max(8, 1 << max(0, (size - 1).bit_length() - 3))
    return -(-size // quarter) * quarter


def _pad(row: NDArray[np.float64], width: int, fill: float) -> NDArray[np.float64]:
    """Cut a row into lines of `width`, the last one filled up."""
    lines = -(-len(row) // width)
    return np.concatenate([row, np.full(lines * width - len(row), fill)]).reshape(lines, width)


def _range(
    clock: NDArray[np.float64], event_clock: NDArray[np.float64], change: NDArray[np.float64]
) -> dict[str, Any]:
    """The clock distances that the exponentials across blocks must resolve.

    An event's shortest distance is to the first later point in another block at which the clock
    has advanced: every kernel maps a distance of zero to zero. Events too small to matter (1e-10
    of all changes together) do not shorten the range.
    """
    longest = max(float(clock[-1, -1]), np.finfo(float).tiny)
    shortest = longest
    if len(clock) > 1:
        points = clock.ravel()
        following = np.arange(1, len(clock) + 1)[:, None] * clock.shape[1]
        later = np.maximum(np.searchsorted(points, event_clock, side="right"), following)
        distance = np.append(points, np.inf)[np.minimum(later, len(points))] - event_clock
        keep = np.flatnonzero((distance > 0) & np.isfinite(distance) & (change != 0))
        order = keep[np.argsort(distance.flat[keep])]
        heavy = np.cumsum(np.abs(change.flat[order])) > 1e-10 * np.abs(change).sum()
        if heavy.any():
            shortest = min(float(distance.flat[order][np.argmax(heavy)]), longest)
    octaves = 8 * math.ceil(math.log2(longest / shortest) / 8)
    return {"shortest": np.float64(shortest), "octaves": octaves}


def _facts(facts: Mapping[str, float] | None) -> dict[str, Any]:
    return {name: np.float64(value) for name, value in (facts or {}).items()}


def every_step(
    lr: NDArray[np.float64],
    *,
    steps: int | None = None,
    facts: Mapping[str, float] | None = None,
    block: int = BLOCK,
) -> History:
    """All steps of a schedule.

    Args:
        lr: learning rate of every step: (steps,).
        steps: pad to this many steps, so that schedules of nearby lengths share one compilation.
        facts: numbers known of the run.
        block: steps a block.

    Returns:
        A history whose points, flattened, are steps 0, 1, 2, ...; entries from len(lr) on are
        padding.
    """
    size = max(len(lr), steps or 0)
    padded = np.concatenate([lr, np.zeros(size - len(lr))])
    change = changes(padded)
    change[len(lr) :] = 0.0
    clock = np.cumsum(padded)
    index = np.arange(size, dtype=np.float64)
    point_clock = _pad(clock, block, float(clock[-1]))
    event_clock = _pad(clock - padded, block, float(clock[-1]))
    event_change = _pad(change, block, 0.0)
    return History(
        step=_pad(index, block, float(size - 1)),
        clock=point_clock,
        lr=_pad(padded, block, float(padded[-1])),
        event_step=_pad(index, block, float(size - 1)),
        event_clock=event_clock,
        event_change=event_change,
        event_lr=_pad(padded, block, 0.0),
        peak_lr=np.float64(lr.max()),
        facts=_facts(facts),
        **_range(point_clock, event_clock, event_change),
    )


def last_step(lr: Array, *, facts: Mapping[str, Array] | None = None) -> History:
    """The last step of a schedule only: one point, every change an event.

    Written in JAX, so that it can be traced: the final loss is differentiable in the schedule.
    """
    clock = jnp.cumsum(lr)
    change = jnp.concatenate([jnp.zeros_like(lr[:1]), lr[:-1] - lr[1:]])
    step = jnp.arange(lr.shape[0], dtype=lr.dtype)
    return History(
        step=step[None, -1:],
        clock=clock[None, -1:],
        lr=lr[None, -1:],
        event_step=step[None],
        event_clock=(clock - lr)[None],
        event_change=change[None],
        event_lr=lr[None],
        peak_lr=jnp.max(lr),
        shortest=clock[-1],
        facts=dict(facts or {}),
    )


def chosen_steps(
    lr: NDArray[np.float64],
    points: NDArray[np.int64],
    *,
    facts: Mapping[str, float] | None = None,
    nodes: int = 3,
    first: int = 64,
) -> History:
    """Chosen steps of a schedule, with the changes between them compressed.

    Args:
        lr: learning rate of every step: (steps,).
        points: increasing steps below len(lr): (points,).
        facts: numbers known of the run.
        nodes: quadrature nodes a group of changes; see `compress`.
        first: size of the smallest group.

    Returns:
        A history whose points, flattened, are `points` in order; further entries are padding.
    """
    clock = np.cumsum(lr)
    position, weight = compress(lr, points, nodes=nodes, first=first)
    every = np.arange(len(lr), dtype=np.float64)
    event_clock = np.interp(position, every, clock - lr)
    event_lr = np.interp(position, every, lr)
    width = min(POINTS, len(points))
    step = _pad(points.astype(np.float64), width, float(points[-1]))
    # an event belongs to the block of the first point at or after it
    home = np.searchsorted(points, np.ceil(position - 1e-9), side="left") // width
    counts = np.bincount(home, minlength=len(step))
    slots = bucket(max(1, int(counts.max(initial=0))))
    place = np.arange(len(position)) - np.repeat(np.cumsum(counts) - counts, counts)

    def fill(values: NDArray[np.float64], empty: NDArray[np.float64]) -> NDArray[np.float64]:
        table = np.repeat(empty[:, None], slots, axis=1)
        table[home, place] = values
        return table

    index = step.astype(np.int64)
    first_clock = clock[index[:, 0]]
    event_change = fill(weight, np.zeros(len(step)))
    table_clock = fill(event_clock, first_clock)
    return History(
        step=step,
        clock=clock[index],
        lr=lr[index],
        event_step=fill(position, step[:, 0]),
        event_clock=table_clock,
        event_change=event_change,
        event_lr=fill(event_lr, np.full(len(step), lr.max())),
        peak_lr=np.float64(lr.max()),
        facts=_facts(facts),
        **_range(clock[index], table_clock, event_change),
    )
