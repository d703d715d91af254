"""What a search minimises: losses at the ends of runs that one row of free numbers describes.

A `HorizonTerm` is the loss at one horizon: its learning rates are affine in the free numbers, and
averaged over cells where the law allows. The objective is the mean of the losses of the terms, or
of the upper ends of their intervals, plus a penalty for leaving the fitted range.
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

from scaling_laws.inference import CurveFit, Uncertainty, robust_sd
from scaling_laws.models import FINAL, GROWTH, Cells, FinalOnCells, Law, cells_of

__all__ = [
    "HorizonTerm",
    "Penalty",
    "cells_for",
    "compiled_rows",
    "inlier_draws",
    "interval_terms_of",
    "objective_of",
    "params_of",
]

Array = NDArray[np.float64]
Params = Mapping[str, Any]
OUTLIER_SD = 3.0  # robust sds; draws further off at a common schedule are dropped


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class HorizonTerm:
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


@dataclass(frozen=True, eq=False)
class Penalty:
    """Quadratic cost, in nats, of leaving the fitted range: cost/2·Σ max(0, rows·x - upper)².

    Attributes:
        rows: (rows, free numbers).
        upper: largest value of each row that is within the range: (rows,).
        cost: nats by squared unit.
    """

    rows: Array
    upper: Array
    cost: float


def cells_for(law: Law, steps: int, cuts: tuple[int, ...]) -> Cells:
    """The cells of a run: single steps for a law that cannot do with fewer."""
    return cells_of(steps, cuts, growth=GROWTH if law.accepts_cells else 0.0)


def interval_terms_of(uncertainty: Uncertainty) -> tuple[float, float, float]:
    """What the width of an interval at the end of a run is made of: steady, decayed, factor."""
    return uncertainty.sigma_constant, uncertainty.sigma_decay, uncertainty.final_90


def _loss(law: Law, params: Params, lr: Any, decay: Any, cells: Cells, facts: Params) -> Any:
    traces = None if decay is None else {"weight_decay": decay}
    sampling = FinalOnCells(cells) if law.accepts_cells else FINAL
    history = law.history(sampling, lr, facts=facts, traces=traces)
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
    law: Law, x: Any, term: HorizonTerm, params: Params, facts: Params, interval_terms: Any
) -> Any:
    """What a term adds to the objective at free numbers x, in nats; traceable.

    Args:
        law: the law.
        x: free numbers: (free numbers,).
        term: the loss that counts.
        params: of the law; with draws after them, (1 + draws,) each, where `robust` is given.
        facts: numbers known of the run.
        interval_terms: `interval_terms_of`, for the upper end in place of the loss, or None.
    """
    lr = jnp.maximum(term.offset + term.matrix @ x, 0.0)
    decay = None
    if term.decay_offset is not None:
        decay = jnp.maximum(term.decay_offset + term.decay_matrix @ x, 0.0)
    if interval_terms is None:
        return _loss(law, params, lr, decay, term.cells, facts)
    return _upper(law, params, lr, decay, term.cells, facts, interval_terms)


@cache
def _compiled_value(law: Law) -> Callable[..., Any]:
    return jax.jit(
        jax.value_and_grad(
            lambda x, term, params, facts, interval_terms: value(
                law, x, term, params, facts, interval_terms
            )
        )
    )


def objective_of(
    law: Law,
    terms: Sequence[HorizonTerm],
    params: Params,
    facts: Params,
    penalty: Penalty | None = None,
    interval_terms: Any = None,
) -> Callable[[Array], tuple[float, Array]]:
    """Free numbers (free numbers,) -> the objective in nats and its gradient.

    A term is compiled once for each number of cells, whatever the length of the run.
    """
    function = _compiled_value(law)

    def objective(free: Array) -> tuple[float, Array]:
        x = jnp.asarray(free)
        found = [function(x, each, params, facts, interval_terms) for each in terms]
        total = float(np.mean([float(value) for value, _ in found]))
        slope = np.mean([np.asarray(slope) for _, slope in found], axis=0)
        if penalty is None:
            return total, slope
        excess = np.maximum(penalty.rows @ free - penalty.upper, 0.0)
        total += 0.5 * penalty.cost * float(excess @ excess)
        return total, slope + penalty.cost * (excess @ penalty.rows)

    return objective


@cache
def compiled_rows(law: Law) -> Callable[..., Any]:
    """(params, lr (schedules, K), cells, facts) -> losses (schedules,), or upper ends."""

    def rows(params: Params, lr: Any, cells: Cells, facts: Params, interval_terms: Any) -> Any:
        def one(row: Any) -> Any:
            if interval_terms is None:
                return _loss(law, params, row, None, cells, facts)
            return _upper(law, params, row, None, cells, facts, interval_terms)

        return jax.vmap(one)(lr)

    return jax.jit(rows)


def params_of(fitted: CurveFit, inliers: NDArray[np.int64] | None = None) -> dict[str, Any]:
    """Parameters as arrays, with the draws at the places `inliers` after them if it is given."""
    if inliers is None:
        return {name: jnp.float64(number) for name, number in fitted.params.items()}
    return {
        name: jnp.asarray(np.append(number, fitted.draws[name][inliers]))
        for name, number in fitted.params.items()
    }


def inlier_draws(log_losses: Array) -> NDArray[np.int64]:
    """Which draws are not outliers, by the log final losses (draws,) of a common schedule."""
    apart = np.abs(log_losses - np.median(log_losses))
    return np.flatnonzero(
        apart <= OUTLIER_SD * max(float(robust_sd(log_losses[:, None])[0]), 1e-12)
    )
