"""Predictive uncertainty: widths of intervals, calibrated on runs that a refit had not seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling_laws.common import LawError

__all__ = [
    "Uncertainty",
    "VarianceInputs",
    "interval_around",
    "interval_of_end",
    "interval_phrase",
    "robust_sd",
    "scale_of",
]

Array = NDArray[np.float64]
MAX_WIDTH = 50.0  # in log loss: an interval of a factor of exp(50) either way says nothing
END_POWER = 50.0  # of the completed fraction of the run: the last few percent count as its end


@dataclass(frozen=True, eq=False)
class VarianceInputs:
    """What the predictive variance of a log loss depends on, at each of some steps.

    Attributes:
        parameter_sd: standard deviation of the log loss over draws of the parameters: (points,).
        decayed_fraction: 1 − LR / highest LR so far: (points,).
        end_weight: near 1 at the end of a schedule, near 0 before it: (points,).
    """

    parameter_sd: Array
    decayed_fraction: Array
    end_weight: Array

    @classmethod
    def of(
        cls, lr: Array, steps: NDArray[np.int64], parameter_sd: ArrayLike = 0.0
    ) -> VarianceInputs:
        """Of some steps of a schedule.

        Args:
            lr: of every step of the schedule: (steps,).
            steps: 0-based: (points,).
            parameter_sd: of those steps: (points,) or a number.
        """
        highest = np.maximum(np.maximum.accumulate(lr), np.finfo(float).tiny)
        decayed_fraction = 1.0 - (lr / highest)[steps]
        end_weight = ((steps + 1) / len(lr)) ** END_POWER
        sd = np.broadcast_to(np.asarray(parameter_sd, dtype=float), steps.shape)
        return cls(sd, decayed_fraction, end_weight)


def robust_sd(log_losses: Array) -> Array:
    """Robust standard deviation over draws: (draws, points) -> (points,).

    Half the distance between the 15.87 % and 84.13 % quantiles, so that a few outlying draws do
    not change it.
    """
    low, high = np.quantile(log_losses, [0.1587, 0.8413], axis=0)
    return np.asarray(0.5 * (high - low))


def scale_of(sigma_constant: float, sigma_decay: float, inputs: VarianceInputs) -> Array:
    """√(σ_constant² + (σ_decay · decayed fraction)² + parameter sd²), in log loss: (points,)."""
    return np.sqrt(
        sigma_constant**2 + (sigma_decay * inputs.decayed_fraction) ** 2 + inputs.parameter_sd**2
    )


@dataclass(frozen=True)
class Uncertainty:
    """Error model of predictions, calibrated on held-out runs.

    The error of a log loss is Student t with the scale of `scale_of`, times a factor. The first two
    terms are misspecification of the law, whatever its parameters; the third is what the runs leave
    open about the parameters.

    Attributes:
        method: ``leave_one_run_out``, ``leave_runs_out`` (several runs at a time),
            ``leave_rows_out`` (rows of a table) or ``leave_tail_out`` (a single run, whose last
            third was predicted from the rest).
        log_error: root mean square of log(observed / predicted) over held-out points, averaged
            over the folds.
        folds: number of refits behind it.
        sigma_constant: error of the law in log loss at an LR that has not decayed.
        sigma_decay: further error where the LR has decayed to zero.
        curve_90: half width of the 90 % interval of a point, in units of its scale.
        final_90: the same for the last step of a run.
        dof: degrees of freedom of the Student t that turns 90 % into other levels.
    """

    method: str
    log_error: float
    folds: int
    sigma_constant: float
    sigma_decay: float
    curve_90: float
    final_90: float
    dof: float

    @classmethod
    def plain(cls, method: str, log_error: float, folds: int) -> Uncertainty:
        """One width everywhere: a Student t with as many degrees of freedom as folds.

        Errors within a fold move together, so that it counts once however many points it has.
        """
        width = _quantile(0.9, folds)
        return cls(method, log_error, folds, log_error, 0.0, width, width, float(folds))

    def scale(self, inputs: VarianceInputs) -> Array:
        """Scale of the error in log loss at each of some points: (points,)."""
        return scale_of(self.sigma_constant, self.sigma_decay, inputs)

    def half_width(self, level: float, inputs: VarianceInputs | None = None) -> Array:
        """Half width in log loss of intervals that should contain `level` of unseen losses.

        Args:
            level: between 0 and 1.
            inputs: of the points; without them, those of a run's end at its highest LR.

        Returns:
            (points,), or () without `inputs`.

        Raises:
            LawError: if `level` is not between 0 and 1.
        """
        if not 0.0 < level < 1.0:
            raise LawError(f"level={level!r} must lie between 0 and 1, e.g. 0.9")
        at = inputs or VarianceInputs(np.zeros(()), np.zeros(()), np.ones(()))
        factor = self.curve_90 ** (1.0 - at.end_weight) * self.final_90**at.end_weight
        factor *= _quantile(level, self.dof) / _quantile(0.9, self.dof)
        return self.scale(at) * factor


def _quantile(level: float, dof: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(dof, 0.5 + 0.5 * level))


def interval_around(
    value: Array,
    uncertainty: Uncertainty | None,
    level: float,
    inputs: VarianceInputs | None = None,
) -> tuple[Array, Array]:
    """Lower and upper ends of intervals around predictions, each of their shape.

    Raises:
        LawError: if the law has no uncertainty, or `level` is not between 0 and 1.
    """
    if uncertainty is None:
        raise LawError(
            "there is no interval: the parameters were given, not fitted, or no run was held out; "
            "fit with hold_out=True"
        )
    width = np.minimum(uncertainty.half_width(level, inputs), MAX_WIDTH)
    # the width is relative to the magnitude: the two sides of a negative value swap
    above = np.abs(value) * np.expm1(width)
    below = np.abs(value) * -np.expm1(-width)
    return (
        value - np.where(value >= 0, below, above),
        value + np.where(value >= 0, above, below),
    )


def interval_of_end(
    value: float,
    uncertainty: Uncertainty | None,
    level: float,
    inputs: VarianceInputs | None = None,
) -> tuple[float, float]:
    """Lower and upper end of an interval around one loss; see `interval_around`."""
    low, high = interval_around(np.array([value]), uncertainty, level, inputs)
    return float(low[0]), float(high[0])


def interval_phrase(interval: tuple[float, float] | None) -> str:
    """A 90 % interval for the representation of a result, or nothing if there is none.

    >>> interval_phrase((1.5, 2.0))
    ', 90 % interval 1.5000 to 2.0000'
    """
    return "" if interval is None else f", 90 % interval {interval[0]:.4f} to {interval[1]:.4f}"
