"""What a search minimises: losses at the ends of runs that one row of free numbers describes.

A `Reading` is one such run: its rates are a straight line in the free numbers, gathered to cells
where the law can do with them. The objective is the mean of the readings' losses, or of
the upper ends of their intervals, and what leaving the fitted range costs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from scaling_laws.fitted import FittedLaw
from scaling_laws.fitted.uncertainty import Uncertainty, spread_of
from scaling_laws.laws import Law
from scaling_laws.numerics.cells import GROWTH, Cells, cells_of

__all__ = [
    "Penalty",
    "Reading",
    "cells_for",
    "compiled_rows",
    "compiled_value",
    "params_of",
    "robust_numbers",
    "tame_draws",
]

Array = NDArray[np.float64]
Params = Mapping[str, Any]
WILD = 3.0  # robust standard deviations: a draw further off at a common schedule does not count


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Reading:
    """One loss that counts.

    Attributes:
        offset: rates of the cells where all free numbers are 0: (K,).
        matrix: what each free number adds: (K, free numbers).
        decay_offset: the same for the weight decay of each cell, or None where it is given: (K,).
        decay_matrix: (K, free numbers).
        cells: how the steps are gathered.
    """

    offset: Array
    matrix: Array
    decay_offset: Array | None
    decay_matrix: Array | None
    cells: Cells


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Penalty:
    """A quadratic cost, in nats, of leaving what the fit has seen: cost/2·Σ max(0, rows·x - most)².

    Attributes:
        rows: (rows, free numbers).
        most: largest value of each row that is within the range: (rows,).
        cost: nats by squared unit.
    """

    rows: Array
    most: Array
    cost: float


def cells_for(law: Law, steps: int, cuts: tuple[int, ...], size: float = 1.0) -> Cells:
    """The cells of a run: single steps for a law that cannot do with fewer."""
    growth = GROWTH if law.sees_cells else 0.0
    return cells_of(steps, cuts, growth=growth, size=size)


def robust_numbers(uncertainty: Uncertainty) -> tuple[float, float, float]:
    """What the width of an interval at the end of a run is made of: steady, decayed, factor."""
    return uncertainty.steady, uncertainty.decayed, uncertainty.final_90


def _loss(law: Law, params: Params, lr: Any, decay: Any, cells: Cells, facts: Params) -> Any:
    if law.sees_cells:
        history = law.last_of_cells(lr, cells, facts=facts, weight_decay=decay)
    else:
        traces = None if decay is None else {"weight_decay": decay}
        history = law.last_step(lr, facts=facts, traces=traces)
    return law.loss(params, history)[0]


def _upper(
    law: Law, rows: Params, lr: Any, decay: Any, cells: Cells, facts: Params, by: Any
) -> Any:
    """Upper end of the 90 % interval; the first row of parameters is the fit, the rest draws."""
    losses = jax.vmap(lambda params: _loss(law, params, lr, decay, cells, facts))(rows)
    logs = jnp.log(jnp.maximum(losses, 1e-6))
    steady, decayed, factor = by
    fallen = 1.0 - lr[-1] / jnp.max(lr)
    # a variance, not quantiles: a search needs slopes that do not jump
    scale = jnp.sqrt(steady**2 + (decayed * fallen) ** 2 + jnp.var(logs[1:]))
    return jnp.exp(logs[0] + factor * scale)


def value(
    law: Law,
    x: Any,
    readings: Sequence[Reading],
    params: Params,
    facts: Params,
    penalty: Penalty | None,
    robust: Any,
) -> Any:
    """The objective at free numbers x, in nats; traceable.

    Args:
        law: the law.
        x: free numbers: (free numbers,).
        readings: the losses that count.
        params: of the law; with draws after them, (1 + draws,) each, where `robust` is given.
        facts: numbers known of the run.
        penalty: for leaving the fitted range, or None.
        robust: `robust_numbers`, for upper ends in place of losses, or None.
    """
    losses = []
    for each in readings:
        lr = jnp.maximum(each.offset + each.matrix @ x, 0.0)
        decay = None
        if each.decay_offset is not None:
            decay = jnp.maximum(each.decay_offset + each.decay_matrix @ x, 0.0)
        if robust is None:
            losses.append(_loss(law, params, lr, decay, each.cells, facts))
        else:
            losses.append(_upper(law, params, lr, decay, each.cells, facts, robust))
    found = jnp.mean(jnp.stack(losses))
    if penalty is not None:
        excess = jnp.maximum(penalty.rows @ x - penalty.most, 0.0)
        found = found + 0.5 * penalty.cost * jnp.sum(excess**2)
    return found


@cache
def compiled_value(law: Law) -> Callable[..., Any]:
    """`value` of a law and its gradient in x, compiled once for each set of shapes."""
    return jax.jit(
        jax.value_and_grad(
            lambda x, readings, params, facts, penalty, robust: value(
                law, x, readings, params, facts, penalty, robust
            )
        )
    )


@cache
def compiled_rows(law: Law) -> Callable[..., Any]:
    """(params, lr (schedules, K), cells, facts) -> losses (schedules,), or upper ends."""

    def rows(params: Params, lr: Any, cells: Cells, facts: Params, robust: Any) -> Any:
        def one(row: Any) -> Any:
            if robust is None:
                return _loss(law, params, row, None, cells, facts)
            return _upper(law, params, row, None, cells, facts, robust)

        return jax.vmap(one)(lr)

    return jax.jit(rows)


def params_of(fitted: FittedLaw, tame: NDArray[np.int64] | None = None) -> dict[str, Any]:
    """Parameters as arrays, with the draws at the places `tame` after them if it is given."""
    if tame is None:
        return {name: jnp.float64(number) for name, number in fitted.params.items()}
    return {
        name: jnp.asarray(np.append(number, fitted.draws[name][tame]))
        for name, number in fitted.params.items()
    }


def tame_draws(log_losses: Array) -> NDArray[np.int64]:
    """Which draws are not wild, by the log final losses (draws,) of a common schedule."""
    apart = np.abs(log_losses - np.median(log_losses))
    return np.flatnonzero(apart <= WILD * max(float(spread_of(log_losses[:, None])[0]), 1e-12))
