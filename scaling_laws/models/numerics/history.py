"""The input of a law: the points of a run, and its past as event streams or as a time grid.

A `History` is built once for a schedule by a discretisation (`discretisations/`) and contains
nothing that depends on a law's parameters. The past takes one of two forms:

* event streams, for laws whose clock is known before a fit (the summed LR): the `changes` of the
  LR, and the `noise` of every update, weighted by its LR squared; see `convolution.py`;
* a time grid, for laws whose clock depends on their parameters; see `grids/time_grid.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jax

from scaling_laws.common import LawError
from scaling_laws.models.numerics.grids.time_grid import TimeGrid

__all__ = ["CLOCK_FLOOR", "EventStreams", "Events", "History", "bucket"]

Array = Any  # a NumPy array outside jit, a JAX tracer inside
CLOCK_FLOOR = 1e-9  # a clock at 0 (zero LR so far) counts as this share of one step at the peak


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Events:
    """The past as weighted events, K events in each of N blocks.

    Attributes:
        step: step of each event, fractional where compressed, (N, K).
        clock: sum of LR up to and including that step, (N, K): equal to a point's where no time
            has passed.
        lr: learning rate of that step, (N, K).
        weight: size of the event, (N, K); 0 is padding.
        min_distance: shortest clock distance from an event to a point of a later block, ().
        log2_range: longest over shortest clock distance as a power of two, rounded up to a multiple
            of 8 and static: it sizes the grid of rates, so few values mean few compilations.
        distance_to_end: sum of LR from the next step to the only point, (N, K), where float32 would
            lose it in the difference of two clocks; None to take their difference.
    """

    step: Array
    clock: Array
    lr: Array
    weight: Array
    min_distance: Array
    log2_range: int = field(default=0, metadata={"static": True})
    distance_to_end: Array | None = None


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class EventStreams:
    """Streams of events of one run.

    Attributes:
        changes: one event per change of the LR; its weight is the rate before minus the rate after,
            > 0 when the LR falls.
        noise: one event per update, its weight the LR squared; None where the law does not use it.
    """

    changes: Events
    noise: Events | None = None


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class History:
    """A run as a law reads it, N blocks of Q points.

    Attributes:
        step: step of each point, (N, Q); padding repeats the last point.
        clock: sum of LR up to and including that step, (N, Q).
        lr: learning rate of that step, (N, Q).
        peak_lr: largest LR of the schedule, ().
        facts: metadata of the run, such as model_params.
        traces: further quantities at each point, (N, Q), such as derived traces of a law.
        events: the past as event streams; None if the law reads a time grid.
        time_grid: the past as a time grid; None if the law reads events.
    """

    step: Array
    clock: Array
    lr: Array
    peak_lr: Array
    facts: Mapping[str, Array] = field(default_factory=dict)
    traces: Mapping[str, Array] = field(default_factory=dict)
    events: EventStreams | None = None
    time_grid: TimeGrid | None = None

    @property
    def changes(self) -> Events:
        """Changes of the LR.

        Raises:
            LawError: if the history was not built with events.
        """
        if self.events is None:
            raise LawError("the history has no events: the law's clock must be SummedLR")
        return self.events.changes

    def with_change_weights(self, weight: Array) -> History:
        """The same history with other weights of the changes: (N, K).

        Raises:
            LawError: if the history was not built with events.
        """
        changes = replace(self.changes, weight=weight)
        noise = None if self.events is None else self.events.noise
        return replace(self, events=EventStreams(changes, noise))

    @property
    def noise(self) -> Events:
        """Noise of every update.

        Raises:
            LawError: if the history was not built with noise events.
        """
        if self.events is None or self.events.noise is None:
            raise LawError("the history has no noise: the law's clock must be SummedLR(noise=True)")
        return self.events.noise

    @property
    def grid(self) -> TimeGrid:
        """The time grid.

        Raises:
            LawError: if the history was not built with one.
        """
        if self.time_grid is None:
            raise LawError("the history has no time grid: the law's clock must be EffectiveLR")
        return self.time_grid


def bucket(size: int) -> int:
    """The next of 1, 1.25, 1.5, 1.75 times a power of two: few shapes, little padding."""
    quarter = max(8, 1 << max(0, (size - 1).bit_length() - 3))
    return -(-size // quarter) * quarter
