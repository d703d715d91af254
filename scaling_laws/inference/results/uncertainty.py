"""How far a prediction may be off: what held-out runs showed, as widths of intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling_laws.common import LawError

__all__ = [
    "Exposure",
    "Uncertainty",
    "interval_around",
    "interval_of_end",
    "scale_of",
    "spread_of",
]

Array = NDArray[np.float64]
ENDING = 50.0  # power of the share of the run that is done: the last percents count as its end


@dataclass(frozen=True, eq=False)
class Exposure:
    """What makes a predicted loss more or less certain, at each of some steps.

    Attributes:
        spread: standard deviation of the log loss over draws of the parameters: (points,).
        decayed: share of the highest LR so far by which the LR has fallen: (points,).
        ending: near 1 at the end of a schedule, near 0 before: (points,).
    """

    spread: Array
    decayed: Array
    ending: Array

    @classmethod
    def of(cls, lr: Array, steps: NDArray[np.int64], spread: ArrayLike = 0.0) -> Exposure:
        """Of some steps of a schedule: lr (all steps,), steps (points,), spread (points,)."""
        highest = np.maximum(np.maximum.accumulate(lr), np.finfo(float).tiny)
        decayed = 1.0 - (lr / highest)[steps]
        ending = ((steps + 1) / len(lr)) ** ENDING
        return cls(np.broadcast_to(np.asarray(spread, dtype=float), steps.shape), decayed, ending)


def spread_of(log_losses: Array) -> Array:
    """Standard deviation over draws that a few wild ones do not move: (draws, points) -> (points,).

    Half the distance between the quantiles that are a standard deviation to either side.
    """
    low, high = np.quantile(log_losses, [0.1587, 0.8413], axis=0)
    return np.asarray(0.5 * (high - low))


def scale_of(steady: float, decayed: float, exposure: Exposure) -> Array:
    """√(steady² + (decayed · share decayed)² + spread²), in log loss: (points,)."""
    return np.sqrt(steady**2 + (decayed * exposure.decayed) ** 2 + exposure.spread**2)


@dataclass(frozen=True)
class Uncertainty:
    """How far predictions of runs that the fit had not seen were off.

    A log loss is off by a Student t of scale √(steady² + (decayed · share decayed)² + spread²),
    times a factor: what the law gets wrong whatever its parameters, and what the runs leave open
    about the parameters.

    Attributes:
        method: ``leave_one_run_out``, ``leave_runs_out`` (several runs at a time),
            ``leave_rows_out`` (rows of a table) or ``leave_tail_out`` (a single run, whose last
            third was predicted from the rest).
        log_error: root mean square of log(observed / predicted) over held-out points, averaged
            over the folds.
        folds: how many refits that rests on.
        steady: error of the law in log loss at an LR that has not decayed.
        decayed: further error where the LR has decayed to zero.
        curve_90: half width of the 90 % interval of a point, in units of its scale.
        final_90: the same for the last step of a run.
        freedom: degrees of freedom of the Student t that turns 90 % into other levels.
    """

    method: str
    log_error: float
    folds: int
    steady: float
    decayed: float
    curve_90: float
    final_90: float
    freedom: float

    @classmethod
    def plain(cls, method: str, log_error: float, folds: int) -> Uncertainty:
        """One width everywhere: a Student t with as many degrees of freedom as folds.

        Errors within a fold move together, so that it counts once however many points it has.
        """
        width = _quantile(0.9, folds)
        return cls(method, log_error, folds, log_error, 0.0, width, width, float(folds))

    def scale(self, exposure: Exposure) -> Array:
        """Scale of the error in log loss at each of some points: (points,)."""
        return scale_of(self.steady, self.decayed, exposure)

    def half_width(self, level: float, exposure: Exposure | None = None) -> Array:
        """Half width in log loss of intervals meant to hold `level` of unseen losses.

        Args:
            level: between 0 and 1.
            exposure: of the points; without it, those of a run's end at its highest LR.

        Returns:
            (points,), or () without an exposure.

        Raises:
            LawError: if `level` is not between 0 and 1.
        """
        if not 0.0 < level < 1.0:
            raise LawError(f"level={level!r} must lie between 0 and 1, e.g. 0.9")
        seen = exposure or Exposure(np.zeros(()), np.zeros(()), np.ones(()))
        factor = self.curve_90 ** (1.0 - seen.ending) * self.final_90**seen.ending
        factor *= _quantile(level, self.freedom) / _quantile(0.9, self.freedom)
        return self.scale(seen) * factor


def _quantile(level: float, freedom: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.5 + 0.5 * level))


def interval_around(
    value: Array,
    uncertainty: Uncertainty | None,
    level: float,
    exposure: Exposure | None = None,
) -> tuple[Array, Array]:
    """Lower and upper ends of intervals around predictions, each of their shape.

    Raises:
        LawError: if the law has no uncertainty, or `level` is not between 0 and 1.
    """
    if uncertainty is None:
        raise LawError("this law has no uncertainty: its parameters were given, not fitted")
    width = uncertainty.half_width(level, exposure)
    # the width is relative to the size: the ends of a negative value change places
    spread = np.abs(value) * np.expm1(width)
    shrink = np.abs(value) * -np.expm1(-width)
    return (
        value - np.where(value >= 0, shrink, spread),
        value + np.where(value >= 0, spread, shrink),
    )


def interval_of_end(
    value: float, uncertainty: Uncertainty | None, level: float, exposure: Exposure | None = None
) -> tuple[float, float]:
    """Lower and upper end of an interval around one loss; see `interval_around`."""
    low, high = interval_around(np.array([value]), uncertainty, level, exposure)
    return float(low[0]), float(high[0])
