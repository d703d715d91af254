"""The plain data of a fitted law: what a law file stores and predictions are computed from.

Everything here is frozen. The classes with methods, `CurveFit` and `PointFit`, derive from
`FitState` and are defined above the modules that take a state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import LawError
from scaling_laws.inference.results.ranges import InputRange, Range
from scaling_laws.inference.results.record import FitRecord
from scaling_laws.inference.results.uncertainty import Uncertainty
from scaling_laws.models import AnyLaw, Law, PointLaw, check_parameters

__all__ = ["AnyState", "CurveState", "FitState", "FittedPoints", "PointState"]

Array = NDArray[np.float64]
LawType = TypeVar("LawType", bound=AnyLaw, covariant=True)
RangeType = TypeVar("RangeType", bound=Range | InputRange, covariant=True)


@dataclass(frozen=True, eq=False, repr=False)
class FittedPoints:
    """The points that a law was fitted to, and what it predicts there.

    Attributes:
        run: name of the run, or table, of each point: (points,).
        step: 0-based step, or row of the table: (points,).
        observed: measured losses: (points,).
        fitted: predicted losses: (points,).
    """

    run: NDArray[np.str_]
    step: NDArray[np.int64]
    observed: Array
    fitted: Array

    def __len__(self) -> int:
        return len(self.observed)

    def __repr__(self) -> str:
        return f"FittedPoints({len(self)} points of {len(np.unique(self.run))} runs)"

    def to_frame(self) -> Any:
        """A pandas DataFrame with one row per point and the columns run, step, observed, fitted."""
        import pandas as pd

        return pd.DataFrame(vars(self))


@dataclass(frozen=True, eq=False, repr=False)
class FitState(Generic[LawType, RangeType]):
    """A law with numbers, and how far they can be trusted.

    Attributes:
        law: the law.
        params: its parameters by name, for learning rates as they are logged.
        uncertainty: held-out errors, if they were measured.
        range: what the fitted runs covered, if there was a fit.
        record: how the fit was made, if there was one.
        facts: numbers about the fitted runs, such as weight_decay, where all agree.
        draws: bootstrap samples of the parameters by name, each (draws,); empty if there are none.
            They spread as the runs, and the prior, leave the parameters open.
        points: the fitted points, for a fit made in this process; a law file does not store them.
    """

    law: LawType
    params: Mapping[str, float]
    uncertainty: Uncertainty | None = None
    range: RangeType | None = None
    record: FitRecord | None = None
    facts: Mapping[str, float] = field(default_factory=dict)
    draws: Mapping[str, Array] = field(default_factory=dict)
    points: FittedPoints | None = None

    def __post_init__(self) -> None:
        checked = check_parameters(self.law.name, self.law.parameters, self.params)
        object.__setattr__(self, "params", MappingProxyType(checked))
        object.__setattr__(self, "facts", MappingProxyType(dict(self.facts)))
        draws = {name: np.array(row, dtype=np.float64) for name, row in self.draws.items()}
        if draws and (set(draws) != set(checked) or len({row.shape for row in draws.values()}) > 1):
            raise LawError(
                f"{self.law.name}: draws must contain all parameters, and equally many of each"
            )
        for row in draws.values():
            row.flags.writeable = False
        object.__setattr__(self, "draws", MappingProxyType(draws))

    @property
    def draw_count(self) -> int:
        """Number of draws."""
        return next((len(row) for row in self.draws.values()), 0)

    def parameter_intervals(self, level: float = 0.9) -> dict[str, tuple[float, float]]:
        """The central interval of the draws of each parameter; empty without draws.

        Args:
            level: share of the draws inside, between 0 and 1.

        Raises:
            LawError: if `level` is not between 0 and 1.
        """
        if not 0.0 < level < 1.0:
            raise LawError(f"level={level!r} must lie between 0 and 1, e.g. 0.9", value=level)
        lower, upper = 0.5 - 0.5 * level, 0.5 + 0.5 * level
        return {
            name: (float(np.quantile(row, lower)), float(np.quantile(row, upper)))
            for name, row in self.draws.items()
        }


CurveState: TypeAlias = FitState[Law, Range]
PointState: TypeAlias = FitState[PointLaw, InputRange]
AnyState: TypeAlias = FitState[AnyLaw, Range | InputRange]
