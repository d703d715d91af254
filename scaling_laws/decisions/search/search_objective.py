"""The objective of the gradient search, as a function of the search variables.

A `HorizonTerm` is the loss at one horizon: its learning rates are affine in the variables, and
averaged over cells if the law accepts them. The objective is the mean of the losses of the terms,
or of the upper ends of their intervals, plus a penalty for leaving the fitted range.
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
    "inlier_draws",
    "interval_terms_of",
    "objective_of",
    "params_of",
    "values_of_rows",
]

Array = NDArray[np.float64]
Params = Mapping[str, Any]
OUTLIER_SD = 3.0  # robust sds; draws with larger deviations at a common schedule are dropped
ROWS = 64  # schedules of one call of the compiled program
MIN_PREDICTION = 1e-6  # lower bound on losses, so that the log is finite


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class HorizonTerm:
    """The loss at one horizon, with rates affine in the variables.

    Attributes:
        offset: rates per cell if all variables are 0: (K,).
        matrix: derivative of the rates by the variables: (K, variables).
        decay_offset: the same for the weight decay, or None if it is not searched: (K,).
        decay_matrix: (K, variables), or None.
        cells: of the run.
    """

    offset: Array
    matrix: Array
    decay_offset: Array | None
    decay_matrix: Array | None
    cells: Cells


@dataclass(frozen=True, eq=False)
class Penalty:
    """Quadratic penalty, in nats, for leaving the fitted range: cost/2·Σ max(0, rows·x - upper)².

    Attributes:
        rows: (rows, variables).
        upper: largest value per row inside the range: (rows,).
        cost: in nats per squared unit.
    """

    rows: Array
    upper: Array
    cost: float


def cells_for(law: Law, steps: int, cuts: tuple[int, ...]) -> Cells:
    """The cells of a run: single steps for a law that does not accept cells."""
    return cells_of(steps, cuts, growth=GROWTH if law.accepts_cells else 0.0)


def interval_terms_of(uncertainty: Uncertainty) -> tuple[float, float, float]:
    """Constants of the interval width at the end of a run.

    Returns:
        Error at the full LR, its increase with the decay, and the factor to 90 %.
    """
    return uncertainty.sigma_constant, uncertainty.sigma_decay, uncertainty.final_90


def _loss(law: Law, params: Params, lr: Any, decay: Any, cells: Cells, facts: Params) -> Any:
    traces = None if decay is None else {"weight_decay": decay}
    sampling = FinalOnCells(cells) if law.accepts_cells else FINAL
    history = law.history(sampling, lr, facts=facts, traces=traces)
    return law.loss(params, history)[0]


def _upper(
    law: Law, rows: Params, lr: Any, decay: Any, cells: Cells, facts: Params, interval_terms: Any
) -> Any:
    """Upper end of the 90 % interval; the first row of parameters is the fit, the rest draws."""
    losses = jax.vmap(lambda params: _loss(law, params, lr, decay, cells, facts))(rows)
    log_losses = jnp.log(jnp.maximum(losses, MIN_PREDICTION))
    sigma_constant, sigma_decay, factor = interval_terms
    decayed = 1.0 - lr[-1] / jnp.max(lr)
    # a variance, not quantiles: a gradient search needs a smooth objective
    sd = jnp.sqrt(sigma_constant**2 + (sigma_decay * decayed) ** 2 + jnp.var(log_losses[1:]))
    return jnp.exp(log_losses[0] + factor * sd)


def value(
    law: Law, x: Any, term: HorizonTerm, params: Params, facts: Params, interval_terms: Any
) -> Any:
    """A term of the objective at the variables x, in nats; traceable.

    Args:
        law: the law.
        x: the variables: (variables,).
        term: the term.
        params: of the law; followed by the draws, (1 + draws,) per parameter, if `interval_terms`
            is not None.
        facts: known facts of the run.
        interval_terms: `interval_terms_of`, for the upper end instead of the loss, or None.
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
    """A function of the variables (variables,) -> the objective in nats and its gradient.

    A term is compiled once per number of cells, independently of the length of the run.
    """
    function = _compiled_value(law)
    terms = jax.device_put(list(terms))

    def objective(x: Array) -> tuple[float, Array]:
        results = [function(x, term, params, facts, interval_terms) for term in terms]
        total = float(np.mean([float(value) for value, _ in results]))
        gradient = np.mean([np.asarray(gradient) for _, gradient in results], axis=0)
        if penalty is None:
            return total, gradient
        excess = np.maximum(penalty.rows @ x - penalty.upper, 0.0)
        total += 0.5 * penalty.cost * float(excess @ excess)
        return total, gradient + penalty.cost * (excess @ penalty.rows)

    return objective


@cache
def _compiled_rows(law: Law) -> Callable[..., Any]:
    """(params, lr (ROWS, K), how many of them, cells, facts, terms) -> values (ROWS,)."""

    def rows(
        params: Params, lr: Any, count: Any, cells: Cells, facts: Params, interval_terms: Any
    ) -> Any:
        def next_row(row: Any, values: Any) -> Any:
            if interval_terms is None:
                loss = _loss(law, params, lr[row], None, cells, facts)
            else:
                loss = _upper(law, params, lr[row], None, cells, facts, interval_terms)
            return values.at[row].set(loss)

        # a loop of any length: the same program serves one schedule and hundreds
        return jax.lax.fori_loop(0, count, next_row, jnp.zeros(ROWS))

    return jax.jit(rows)


def values_of_rows(
    law: Law, lr: Array, cells: Cells, params: Params, facts: Params, interval_terms: Any = None
) -> Array:
    """Losses after the last step, or upper ends of their intervals, of many schedules.

    Args:
        law: the law.
        lr: mean rates in the cells, (schedules, K).
        cells: how the steps are gathered.
        params: parameters, or parameters and their draws for upper ends.
        facts: known facts of the run.
        interval_terms: `interval_terms_of` for upper ends, or None.

    Returns:
        (schedules,).
    """
    values = []
    for begin in range(0, len(lr), ROWS):
        part = lr[begin : begin + ROWS]
        filled = np.concatenate([part, np.repeat(part[:1], ROWS - len(part), axis=0)])
        function = _compiled_rows(law)
        result = function(params, filled, len(part), cells, facts, interval_terms)
        values.append(np.asarray(result)[: len(part)])
    return np.concatenate(values)


def params_of(fitted: CurveFit, inliers: NDArray[np.int64] | None = None) -> dict[str, Any]:
    """Parameters as arrays, followed by the draws with indices `inliers` unless it is None."""
    if inliers is None:
        return {name: jnp.float64(number) for name, number in fitted.params.items()}
    return {
        name: jnp.asarray(np.append(number, fitted.draws[name][inliers]))
        for name, number in fitted.params.items()
    }


def inlier_draws(log_losses: Array) -> NDArray[np.int64]:
    """Indices of the draws that are not outliers, by log final losses (draws,) of a schedule."""
    deviation = np.abs(log_losses - np.median(log_losses))
    sd = max(float(robust_sd(log_losses[:, None])[0]), 1e-12)
    return np.flatnonzero(deviation <= OUTLIER_SD * sd)
