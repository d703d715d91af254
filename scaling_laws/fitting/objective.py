"""The published objective: the sum over points of Huber(1e-3) of log residuals."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from scaling_laws.metrics import log_errors

__all__ = [
    "HUBER_DELTA",
    "huber_objective",
    "huber_root",
    "huber_root_slope",
    "huber_weight",
]

HUBER_DELTA = 1e-3  # in log loss; Hoffmann et al. 2022, Tissue et al. 2024, Luo et al. 2025


def huber_objective(
    observed: NDArray[np.float64], predicted: NDArray[np.float64], delta: float = HUBER_DELTA
) -> float:
    """Sum over points of Huber(δ) of log(observed / predicted).

    Sum, not mean: with a mean, the tolerances of common solvers stop a fit early.
    """
    size = np.abs(log_errors(observed, predicted))
    return float(np.sum(np.where(size <= delta, 0.5 * size**2, delta * (size - 0.5 * delta))))


def huber_root(residual: Any, delta: float = HUBER_DELTA) -> Any:
    """The signed root f with f²/2 = Huber(residual): makes Huber a least-squares problem."""
    size = jnp.abs(residual)
    tail = jnp.sqrt(delta * (2.0 * jnp.maximum(size, delta) - delta))
    return jnp.where(size <= delta, residual, jnp.sign(residual) * tail)


def huber_weight(residual: Any) -> Any:
    """Derivative of Huber over the residual: 1 inside δ, δ/|residual| outside."""
    return HUBER_DELTA / jnp.maximum(jnp.abs(residual), HUBER_DELTA)


def huber_root_slope(residual: Any) -> Any:
    """Derivative of `huber_root`: 1 inside δ, δ/f outside."""
    root = jnp.abs(huber_root(residual))
    return HUBER_DELTA / jnp.maximum(root, HUBER_DELTA)
