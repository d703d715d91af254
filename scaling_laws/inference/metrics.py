"""Error measures, one definition each (Luo et al. 2025 for PredE and WorstE)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["log_errors", "mean_metrics", "metrics"]


def log_errors(
    observed: NDArray[np.float64], predicted: NDArray[np.float64]
) -> NDArray[np.float64]:
    """log(observed / predicted): (points,); predictions of no loss or less count as a tiny one."""
    return np.asarray(np.log(observed) - np.log(np.maximum(predicted, 1e-6 * observed)))


def metrics(observed: NDArray[np.float64], predicted: NDArray[np.float64]) -> dict[str, float]:
    """How well predictions match one run.

    Args:
        observed: logged losses in nats: (points,), in step order.
        predicted: predicted losses: (points,).

    Returns:
        ``n`` points; ``mae`` and ``rmse`` in nats; ``pred_e`` and ``worst_e``, mean and largest
        error relative to the observed loss; ``r2``, centred on the mean observed loss (NaN when
        that does not vary); ``final_error``, predicted minus observed at the last point.
    """
    error = predicted - observed
    spread = float(np.sum((observed - observed.mean()) ** 2))
    return {
        "n": len(observed),
        "mae": float(np.mean(np.abs(error))),
        "rmse": float(np.sqrt(np.mean(error**2))),
        "pred_e": float(np.mean(np.abs(error) / observed)),
        "worst_e": float(np.max(np.abs(error) / observed)),
        "r2": 1.0 - float(np.sum(error**2)) / spread if spread > 0 else float("nan"),
        "final_error": float(error[-1]),
    }


def mean_metrics(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean over runs of every measure they share, and of the size of the final error."""
    keys = [key for key in runs[0] if all(key in run for run in runs)]
    mean = {key: float(np.mean([run[key] for run in runs])) for key in keys}
    mean["abs_final_error"] = float(np.mean([abs(run["final_error"]) for run in runs]))
    return mean
