"""What a law sees of a run: clocks, LR levels and past events, as arrays in blocks.

A `History` is built once for a schedule and a choice of steps, in NumPy and float64, and holds
nothing that depends on a law's parameters. Three builders serve the three uses of a law:

* `every_step`: all steps of a schedule, in blocks of consecutive steps;
* `chosen_steps`: logged points only, each with its own past gathered to quadrature nodes;
* `last_step`: the final loss only, one block.

Two streams of events carry the past: the `changes` of the LR, and the `noise` of every update,
weighted by its LR squared. The engine (`memory.py`) treats streams and builders alike: directly
inside a block, by exponentials across blocks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from scaling_laws.models.numerics.discrete_gauss import changes
from scaling_laws.models.numerics.gauss_cells import Pairs
from scaling_laws.models.numerics.quadratic_cells import Stretches
from scaling_laws.models.numerics.quadratic_cells import padded as pad_stretches
from scaling_laws.models.numerics.tree_compression import pasts_of

__all__ = [
    "CLOCK_FLOOR",
    "Events",
    "History",
    "bucket",
    "chosen_steps",
    "every_step",
    "last_step",
    "of_stretches",
    "padded_history",
]

Array = Any  # a NumPy array outside jit, a JAX tracer inside
Rates = NDArray[np.float64]
CLOCK_FLOOR = 1e-9  # a clock at 0 (zero LR so far) counts as this share of one step at the peak
BLOCK = 32  # steps a block in `every_step`
NODES = 3  # of a stretch of events in `chosen_steps`: 2e-6 of a memory at the very worst


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Events:
    """What past losses remember, K events in each of N blocks.

    Attributes:
        step: step of each event, fractional where compressed, (N, K).
        clock: sum of LR up to and including that step, (N, K): equal to a point's where no time
            has passed.
        lr: learning rate of that step, (N, K).
        weight: size of the event, (N, K); 0 is padding.
        shortest: shortest clock distance from an event to a point of a later block, ().
        octaves: longest over shortest clock distance as a power of two, rounded up to a multiple
            of 8 and static: it sizes the grid of rates, so few values mean few compilations.
        ahead: sum of LR from the next step to the only point there is, (N, K), where float32 would
            lose it between two clocks; None to take their difference.
    """

    step: Array
    clock: Array
    lr: Array
    weight: Array
    shortest: Array
    octaves: int = field(default=0, metadata={"static": True})
    ahead: Array | None = None


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class History:
    """A schedule as a law sees it, N blocks of Q points.

    Attributes:
        step: step of each point, (N, Q); padding repeats the last point.
        clock: sum of LR up to and including that step, (N, Q).
        lr: learning rate of that step, (N, Q).
        peak_lr: largest LR of the schedule, ().
        changes: one event a change of LR; its weight is the rate before minus the rate after, > 0
            when the LR falls.
        noise: one event an update, its weight the LR squared; None where no law asked for it.
        facts: numbers known of the run, such as model_params.
        traces: further quantities at each point, (N, Q), such as a law's features.
        stretches: the steps themselves, or cells of them, for a law whose clock depends on its
            parameters.
    """

    step: Array
    clock: Array
    lr: Array
    peak_lr: Array
    changes: Events
    noise: Events | None = None
    facts: Mapping[str, Array] = field(default_factory=dict)
    traces: Mapping[str, Array] = field(default_factory=dict)
    stretches: Stretches | Pairs | None = None


def bucket(size: int) -> int:
    """The next of 1, 1.25, 1.5, 1.75 times a power of two: few shapes, little padding."""
    quarter = max(8, 1 << max(0, (size - 1).bit_length() - 3))
    return -(-size // quarter) * quarter


def _pad(row: Rates, width: int, fill: float) -> Rates:
    """Cut a row into lines of `width`, the last one filled up."""
    lines = -(-len(row) // width)
    return np.concatenate([row, np.full(lines * width - len(row), fill)]).reshape(lines, width)


def _range(points: Rates, position: Rates, lr: Rates, weight: Rates) -> dict[str, Any]:
    """The clock distances that the exponentials across blocks must resolve.

    Distances count from before an event's own step or from after it, as a kernel has it: both.
    """
    longest = max(float(points[-1, -1]), np.finfo(float).tiny)
    shortest = longest
    if len(points) > 1:
        shortest = min(
            longest, *(_shortest(points, start, weight) for start in (position - lr, position))
        )
    octaves = 8 * math.ceil(math.log2(longest / shortest) / 8)
    return {"shortest": np.float64(shortest), "octaves": octaves}


def _shortest(points: Rates, position: Rates, weight: Rates) -> float:
    """Shortest distance from an event to the first later point, in another block, that is ahead.

    A distance of zero is exact by construction. Events too small to matter (1e-10 of all together)
    do not count.
    """
    row = points.ravel()
    following = np.arange(1, len(points) + 1)[:, None] * points.shape[1]
    later = np.maximum(np.searchsorted(row, position, side="right"), following)
    distance = np.append(row, np.inf)[np.minimum(later, len(row))] - position
    # rounding leaves distances of 1e-16 where the clock stands still
    ahead = (distance > 1e-14 * row[-1]) & np.isfinite(distance) & (weight != 0)
    near, size = distance[ahead], np.abs(weight[ahead])
    if near.size == 0:
        return math.inf
    reach, enough = float(near.min()), 1e-10 * float(np.abs(weight).sum())
    while float(size[near <= 2.0 * reach].sum()) <= enough:  # doubling: no need to sort them all
        reach *= 2.0
        if reach > row[-1]:
            return math.inf
    return reach


def _clock_at(position: Rates, clock: Rates, lr: Rates) -> Rates:
    """The clock at fractional steps: a parabola between steps, as the LR itself changes there.

    Of the two parabolas the flatter is taken: the other may lean on an abrupt change.
    """
    step = np.minimum(position.astype(np.int64), len(lr) - 1)
    share = position - step
    following = np.minimum(step + 1, len(lr) - 1)
    bend_before = lr[following] - lr[step]
    bend_after = lr[np.minimum(step + 2, len(lr) - 1)] - lr[following]
    bend = np.where(np.abs(bend_before) < np.abs(bend_after), bend_before, bend_after)
    at = clock[step] + share * lr[following] - 0.5 * share * (1.0 - share) * bend
    return np.asarray(at)


def _facts(facts: Mapping[str, float] | None) -> dict[str, Any]:
    return {name: np.float64(value) for name, value in (facts or {}).items()}


def every_step(
    lr: Rates,
    *,
    steps: int | None = None,
    facts: Mapping[str, float] | None = None,
    traces: Mapping[str, Rates] | None = None,
    noise: bool = False,
    block: int = BLOCK,
) -> History:
    """All steps of a schedule.

    Args:
        lr: learning rate of every step: (steps,).
        steps: pad to this many steps, so that schedules of nearby lengths share one compilation.
        facts: numbers known of the run.
        traces: further quantities at every step, each (steps,).
        noise: also build the noise events.
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
    points = _pad(clock, block, float(clock[-1]))
    step = _pad(np.arange(size, dtype=np.float64), block, float(size - 1))
    level = _pad(padded, block, 0.0)

    def events(weight: Rates) -> Events:
        table = _pad(weight, block, 0.0)
        return Events(step, points, level, table, **_range(points, points, level, table))

    return History(
        step=step,
        clock=points,
        lr=_pad(padded, block, float(padded[-1])),
        peak_lr=np.float64(lr.max()),
        changes=events(change),
        noise=events(padded**2) if noise else None,
        facts=_facts(facts),
        traces={
            name: _pad(np.append(row, np.full(size - len(row), row[-1])), block, float(row[-1]))
            for name, row in (traces or {}).items()
        },
    )


def last_step(
    lr: Array,
    *,
    facts: Mapping[str, Array] | None = None,
    traces: Mapping[str, Array] | None = None,
) -> History:
    """The last step of a schedule only: one point, every change and every update an event.

    Written in JAX, so that it can be traced: the final loss is differentiable in the schedule.
    """
    clock = jnp.cumsum(lr)
    change = jnp.concatenate([jnp.zeros_like(lr[:1]), lr[:-1] - lr[1:]])
    step = jnp.arange(lr.shape[0], dtype=lr.dtype)

    def events(weight: Array) -> Events:
        return Events(step[None], clock[None], lr[None], weight[None], clock[-1])

    return History(
        step=step[None, -1:],
        clock=clock[None, -1:],
        lr=lr[None, -1:],
        peak_lr=jnp.max(lr),
        changes=events(change),
        noise=events(lr**2),
        facts=dict(facts or {}),
        traces={name: row[None, -1:] for name, row in (traces or {}).items()},
    )


def chosen_steps(
    lr: Rates,
    points: NDArray[np.int64],
    *,
    facts: Mapping[str, float] | None = None,
    traces: Mapping[str, Rates] | None = None,
    noise: bool = False,
    cuts: Sequence[int] = (),
) -> History:
    """Chosen steps of a schedule, each with its own few events in place of all before it.

    Args:
        lr: learning rate of every step: (steps,).
        points: increasing steps below len(lr): (points,).
        facts: numbers known of the run.
        traces: further quantities at every step, each (steps,).
        noise: also build the noise events.
        cuts: steps that events are not gathered across.

    Returns:
        Histories of one point each, stacked: every leaf has a leading axis (points,). A law is
        mapped over them with `jax.vmap`.
    """
    clock = np.cumsum(lr)
    every = np.arange(len(lr), dtype=np.float64)
    count = len(points)

    def own(values: Any) -> Rates:
        return np.asarray(values, dtype=np.float64).reshape(count, 1, 1)

    def events(per_step: Rates) -> Events:
        pasts = pasts_of(per_step, lr, points, nodes=NODES, cuts=cuts)
        counts = np.bincount(pasts.point, minlength=count)
        place = np.arange(len(pasts.point)) - np.repeat(np.cumsum(counts) - counts, counts)
        width = bucket(max(1, int(counts.max(initial=0))))  # few widths, few compilations

        def fill(values: Rates, empty: Any) -> Rates:
            table = np.broadcast_to(own(empty), (count, 1, width)).copy()
            table[pasts.point, 0, place] = values
            return table

        return Events(
            step=fill(pasts.position, points),
            clock=fill(_clock_at(pasts.position, clock, lr), clock[points]),
            lr=fill(np.interp(pasts.position, every, lr), np.full(count, lr.max())),
            weight=fill(pasts.weight, np.zeros(count)),
            shortest=clock[points],
        )

    def alike(value: Any) -> Rates:
        return np.full(count, float(value))

    return History(
        step=own(points),
        clock=own(clock[points]),
        lr=own(lr[points]),
        peak_lr=alike(lr.max()),
        changes=events(changes(lr)),
        noise=events(lr**2) if noise else None,
        facts={name: alike(value) for name, value in (facts or {}).items()},
        traces={name: own(row[points]) for name, row in (traces or {}).items()},
    )


def of_stretches(
    lr: Rates,
    points: NDArray[np.int64],
    stretches: Stretches,
    facts: Mapping[str, float] | None = None,
) -> History:
    """Chosen steps for a law with its own clock: a stack of one history that holds them all.

    Args:
        lr: learning rate of every step: (steps,).
        points: increasing steps below len(lr): (points,).
        stretches: of the run, with those points.
        facts: numbers known of the run.
    """
    clock = np.cumsum(lr)
    no_event = np.zeros((1, 0))
    history = History(
        step=points[None, :].astype(np.float64),
        clock=clock[points][None],
        lr=lr[points][None],
        peak_lr=np.float64(lr.max()),
        changes=Events(no_event, no_event, no_event, no_event, np.float64(clock[-1])),
        facts=_facts(facts),
        stretches=stretches,
    )
    stacked: History = jax.tree.map(lambda leaf: np.asarray(leaf)[None], history)
    return stacked


def padded_history(history: History, points: int, stretches: int) -> History:
    """A stack of one history with more points, copies of the last, and more, empty stretches."""
    assert isinstance(history.stretches, Stretches)
    last = np.minimum(np.arange(points), history.step.shape[-1] - 1)
    table = pad_stretches(history.stretches, stretches)
    chosen: Any = jax.tree.map(lambda leaf: leaf[:, last], table.points)
    return replace(
        history,
        step=history.step[..., last],
        clock=history.clock[..., last],
        lr=history.lr[..., last],
        stretches=replace(table, points=chosen),
    )
