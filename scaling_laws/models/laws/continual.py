"""The law of continual pre-training (Wang et al. 2025): annealing plus a shift of distribution.

    L(t) = L0 + A·S1^-alpha - C1·S2_before - C2·S2_after + B·[1 - (1 + E·S1_after)^-beta]

The run trains on one corpus up to step `transfer_step`, on another from there on; `after` sums
start at that step, `before` sums stop before it. One fit per validation set: B > 0 where the loss
rises (the old corpus is forgotten), B < 0 where it falls. Known limits: the form is known from a
summary, not from the paper's text; those of `lr_annealing`; the share of replayed data is inside
B, E and beta; from steps after the transfer alone L0, A and alpha are hardly identified, so fit
them with runs that show the time before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax.numpy as jnp

from scaling_laws.models.laws.common import (
    ALPHA,
    DECAY,
    FLOOR_LOSS,
    POWER_AMPLITUDE,
    annealing_area,
    power_terms,
    rescale_power,
)
from scaling_laws.models.laws.law import Law
from scaling_laws.models.numerics.history import History
from scaling_laws.models.parameters import Parameter, Support

__all__ = ["CONTINUAL"]


def _areas(values: Mapping[str, Any], history: History) -> tuple[Any, Any]:
    """S2 up to the transfer, and since: each (points,)."""
    start = jnp.asarray(history.facts["transfer_step"])
    events = history.changes
    weight = jnp.asarray(events.weight)
    old = jnp.asarray(events.step) < start
    stopped = replace(
        history.with_change_weights(jnp.where(old, weight, 0.0)),
        step=jnp.minimum(jnp.asarray(history.step), start - 1.0),
    )
    since = history.with_change_weights(jnp.where(old, 0.0, weight))
    return annealing_area(values, stopped), annealing_area(values, since)


def clock_since_transfer(lr: Any, facts: Mapping[str, Any]) -> Any:
    """LR summed from the transfer on: (steps,) -> (steps,)."""
    rates = jnp.asarray(lr)
    step = jnp.arange(rates.shape[0], dtype=rates.dtype)
    return jnp.cumsum(jnp.where(step >= facts["transfer_step"], rates, 0.0))


def design_matrix(values: Mapping[str, Any], history: History) -> Any:
    """Columns 1, S1^-alpha, -S2_before, -S2_after, shift: (points, 5)."""
    before, after = _areas(values, history)
    since = jnp.asarray(history.traces["clock_since_transfer"]).reshape(-1)
    shift = -jnp.expm1(-values["beta"] * jnp.log1p(values["E"] * since))
    columns = jnp.stack([-before, -after, shift], axis=1)
    return jnp.concatenate([power_terms(values, history), columns], axis=1)


def rescale(values: Mapping[str, Any], factor: Any) -> dict[str, Any]:
    """The same losses when every LR is `factor` times as large."""
    return {
        **rescale_power(values, factor),
        "C1": values["C1"] / factor,
        "C2": values["C2"] / factor,
        "E": values["E"] / factor,
    }


CONTINUAL = Law(
    name="continual",
    formula="L = L0 + A·S1^-alpha - C1·S2_before - C2·S2_after + B·[1 - (1 + E·S1_after)^-beta]",
    citation="Wang et al. 2025, arXiv 2505.07796 (form from a summary)",
    linear_parameters=(
        FLOOR_LOSS,
        POWER_AMPLITUDE,
        Parameter("C1", Support.POSITIVE, "gain of annealing before the transfer", "nats / LR"),
        Parameter("C2", Support.POSITIVE, "gain of annealing after the transfer", "nats / LR"),
        Parameter("B", Support.REAL, "loss that the change of corpus adds in the end", "nats"),
    ),
    nonlinear_parameters=(
        ALPHA,
        DECAY,
        Parameter(
            "E",
            Support.POSITIVE,
            "speed of the shift",
            "1 / summed LR",
            (1e-3, 1.0),
            (1e-7, 1e3),
        ),
        Parameter(
            "beta", Support.POSITIVE, "exponent of the shift", "1", (0.05, 2.0), (1e-3, 10.0)
        ),
    ),
    design_matrix=design_matrix,
    memory=("decay",),
    rescale=rescale,
    required_facts=frozenset({"transfer_step"}),
    break_facts=("transfer_step",),
    derived_traces={"clock_since_transfer": clock_since_transfer},
    conventions="S1 and S2 as in lr_annealing; transfer_step is the first step (0-based) on the "
    "new corpus; a change of LR at that step belongs to S2_after",
)
