"""Error measures, one definition each (Luo et al. 2025 for PredE and WorstE)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["information_criteria", "log_errors", "mean_metrics", "metrics"]

MIN_LOG_ERROR = 1e-12  # lower bound on log errors, so that their logarithms are finite


def log_errors(
    observed: NDArray[np.float64], predicted: NDArray[np.float64]
) -> NDArray[np.float64]:
    """log(observed / predicted): (points,), with predictions of at least 1e-6 of the observed."""
    return np.asarray(np.log(observed) - np.log(np.maximum(predicted, 1e-6 * observed)))


def metrics(observed: NDArray[np.float64], predicted: NDArray[np.float64]) -> dict[str, float]:
    """Metrics of the predictions for one run.

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
    """Means over runs of all shared metrics, and of the absolute final error."""
    keys = [key for key in runs[0] if all(key in run for run in runs)]
    mean = {key: float(np.mean([run[key] for run in runs])) for key in keys}
    mean["abs_final_error"] = float(np.mean([abs(run["final_error"]) for run in runs]))
    return mean


def information_criteria(
    log_error: float, effective_points: float, n_parameters: int
) -> tuple[float, float]:
    """AIC = n·log(log_error²) + 2·k and BIC = n·log(log_error²) + k·log(n).

    n counts the points as if they were independent: ten per run at most, because residuals within a
    run are correlated, and one per row of a table. Both measure how well a law fits, not how well
    it predicts, and neither accounts for the prior.

    Args:
        log_error: root mean square of log(observed / predicted).
        effective_points: n.
        n_parameters: k, the fitted parameters.

    >>> aic, bic = information_criteria(1e-3, 30.0, 4)
    >>> round(aic, 1), round(bic, 1)
    (-406.5, -400.9)
    """
    fit = 2.0 * effective_points * float(np.log(max(log_error, MIN_LOG_ERROR)))
    return fit + 2.0 * n_parameters, fit + n_parameters * float(np.log(effective_points))
