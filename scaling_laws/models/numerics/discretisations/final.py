"""The last step of a schedule only, traceable: its final loss is differentiable in the LRs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from scaling_laws.models.numerics.discretisations.discretisation import RunInputs
from scaling_laws.models.numerics.grids.single_steps import SingleSteps
from scaling_laws.models.numerics.history import Events, EventStreams, History

__all__ = ["FINAL", "Final"]

Array = Any


@dataclass(frozen=True)
class Final:
    """One point, every change and every update an event; a `Discretisation` in JAX."""

    def with_events(self, run: RunInputs, rate: Array, *, noise: bool) -> History:
        """See `Discretisation`; lr and rate are those of every step, (steps,)."""
        clock = jnp.cumsum(rate)
        change = jnp.concatenate([jnp.zeros_like(rate[:1]), rate[:-1] - rate[1:]])
        step = jnp.arange(rate.shape[0], dtype=rate.dtype)

        def events(weight: Array) -> Events:
            return Events(step[None], clock[None], rate[None], weight[None], clock[-1])

        streams = EventStreams(events(change), events(rate**2) if noise else None)
        return _history(run, rate, clock, events=streams)

    def with_grid(self, run: RunInputs, decay: Array, norm: Array | None) -> History:
        """See `Discretisation`; lr, decay and norm are those of every step, (steps,)."""
        grid = SingleSteps.of(run.lr, decay, norm)
        return _history(run, run.lr, jnp.cumsum(run.lr), time_grid=grid)


def _history(run: RunInputs, rate: Array, clock: Array, **past: Any) -> History:
    return History(
        step=jnp.full((1, 1), rate.shape[0] - 1, dtype=rate.dtype),
        clock=clock[None, -1:],
        lr=rate[None, -1:],
        peak_lr=jnp.max(rate),
        facts=dict(run.facts),
        traces={name: trace(run.lr)[None, -1:] for name, trace in run.derived_traces.items()},
        **past,
    )


FINAL = Final()
