"""A prior on the nonlinear parameters of a law, and the calibration of its forecasts.

Two or three runs do not identify how a memory fades; fits to other runs do. A prior is a normal
distribution of the unconstrained parameter (the logarithm of a positive one).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scaling_laws.models.laws.law import Law

__all__ = ["InProgressCalibration", "LoggedRun", "Prior", "PriorFromRuns"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Prior:
    """A normal prior on some nonlinear parameters.

    Attributes:
        mean: of the unconstrained parameter, by name.
        sd: its standard deviation, by name.
        source: origin of the numbers.
        most_runs: largest number of runs that the data count as, relative to the prior. Runs of one
            model share the misspecification of a law, and a fit that follows it predicts other runs
            worse.
    """

    mean: Mapping[str, float]
    sd: Mapping[str, float]
    source: str
    most_runs: float = float("inf")

    @classmethod
    def from_start_ranges(cls, law: Law) -> Prior:
        """The middle of each start range, half the range as standard deviation."""
        mean, sd = {}, {}
        for parameter in law.nonlinear_parameters:
            low, high = (parameter.transform.inverse(end) for end in parameter.start)
            mean[parameter.name] = 0.5 * (low + high)
            sd[parameter.name] = 0.5 * (high - low)
        return cls(mean, sd, "the law's start ranges")

    def completed(self, law: Law) -> Prior:
        """The prior, completed by the start ranges of a law for the other parameters."""
        weak = Prior.from_start_ranges(law)
        return Prior(
            {name: self.mean.get(name, start) for name, start in weak.mean.items()},
            {name: self.sd.get(name, start) for name, start in weak.sd.items()},
            self.source,
            self.most_runs,
        )

    def arrays(self, law: Law) -> tuple[Array, Array]:
        """Mean and precision by nonlinear parameter: (nonlinear,) each; 0 where it names none."""
        names = [parameter.name for parameter in law.nonlinear_parameters]
        mean = [self.mean.get(name, 0.0) for name in names]
        sd = [self.sd.get(name, np.inf) for name in names]
        return np.array(mean), 1.0 / np.array(sd) ** 2


@dataclass(frozen=True)
class InProgressCalibration:
    """Widths of the intervals of forecasts of runs in progress, as measured on finished runs.

    Attributes:
        fitted_width: half width of a 90 % interval in standard deviations, after a fit to other
            runs.
        prior_width: the same without any fit, by the law's prior alone.
    """

    fitted_width: float
    prior_width: float


class HasLR(Protocol):
    """A schedule."""

    @property
    def lr(self) -> Array:
        """Learning rate of every step: (steps,)."""


class LoggedRun(Protocol):
    """What a law may read of a logged run to centre its prior."""

    @property
    def schedule(self) -> HasLR:
        """Its schedule."""

    @property
    def steps(self) -> NDArray[Any]:
        """Steps with a logged loss: (points,)."""

    @property
    def facts(self) -> Mapping[str, float]:
        """Its metadata."""

    @property
    def traces(self) -> Mapping[str, Array]:
        """Its logged quantities at every step, by name: (steps,) each."""


PriorFromRuns = Callable[["Law", Prior, Sequence[Any]], Prior]  # (law, prior, runs) -> prior
