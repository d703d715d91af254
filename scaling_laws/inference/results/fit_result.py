"""What the fits of both kinds of laws share: statistics, reports, files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import LawError
from scaling_laws.inference.results.law_file import read_state, write_state
from scaling_laws.inference.results.plotting import plot_points
from scaling_laws.inference.results.state import FitState, FittedPoints, LawType, RangeType
from scaling_laws.inference.results.summary import FitReport, criteria_of, report_of, summary
from scaling_laws.models import AnyLaw

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FitResult", "published_params"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class FitResult(FitState[LawType, RangeType]):
    """What the two kinds of fitted laws share; see `CurveFit` and `PointFit`.

    Attributes and methods follow lmfit and statsmodels: `params`, `conf_int`, `bse`, `observed`,
    `fittedvalues`, `resid`, `nobs`, `aic`, `bic`, `summary`.
    """

    def conf_int(self, level: float = 0.9) -> Any:
        """Central intervals of the bootstrap draws, as a pandas DataFrame.

        Args:
            level: share of the draws inside, between 0 and 1. (statsmodels takes 1 − level.)

        Returns:
            One row per parameter, with the columns lower and upper; NaN without draws and for
            fixed parameters.

        Raises:
            LawError: if `level` is not between 0 and 1.
        """
        import pandas as pd

        intervals = self.parameter_intervals(level)
        fixed = self._fixed
        rows = {
            name: intervals[name] if name in intervals and name not in fixed else (np.nan, np.nan)
            for name in self.law.names
        }
        return pd.DataFrame.from_dict(rows, orient="index", columns=["lower", "upper"])

    @property
    def _fixed(self) -> Mapping[str, float]:
        return {} if self.record is None else self.record.fixed

    @property
    def bse(self) -> dict[str, float]:
        """Standard error of each parameter: half the central 68 % interval of the draws.

        NaN without draws and for fixed parameters.
        """
        return {
            row.name: np.nan if row.standard_error is None else row.standard_error
            for row in self.report().parameters
        }

    @property
    def observed(self) -> Array:
        """Measured losses at the fitted points: (points,).

        Raises:
            LawError: if the fit was loaded from a law file, which does not store the points.
        """
        return self._known_points.observed

    @property
    def fittedvalues(self) -> Array:
        """Predicted losses at the fitted points: (points,).

        Raises:
            LawError: as for `observed`.
        """
        return self._known_points.fitted

    @property
    def resid(self) -> Array:
        """`observed` − `fittedvalues`: (points,). The fit minimised a cost of their log ratio.

        Raises:
            LawError: as for `observed`.
        """
        return self.observed - self.fittedvalues

    @property
    def _known_points(self) -> FittedPoints:
        if self.points is None:
            raise LawError(
                f"this fit of {self.law.name} does not contain the fitted points: a law file does "
                "not store them; fit again, or call .with_points(data) or .evaluate(data)"
            )
        return self.points

    @property
    def nobs(self) -> int:
        """Number of fitted points.

        Raises:
            LawError: if the parameters were given, not fitted.
        """
        if self.record is None:
            raise LawError(f"{self.law.name}: the parameters were given, not fitted; fit it first")
        return self.record.n_points

    @property
    def aic(self) -> float:
        """Akaike information criterion; see `scaling_laws.inference.metrics.information_criteria`.

        Raises:
            LawError: without a fit, or for a law file older than version 3.
        """
        return self._criteria[0]

    @property
    def bic(self) -> float:
        """Bayesian information criterion; see `aic`."""
        return self._criteria[1]

    @property
    def _criteria(self) -> tuple[float, float]:
        criteria = criteria_of(self)
        if criteria is None:
            raise LawError(
                f"{self.law.name}: aic and bic need a fit, and law files before version 3 do not "
                "record its error; fit the law again"
            )
        return criteria

    def report(self) -> FitReport:
        """The report of the fit as one object, for text, HTML and JSON."""
        return report_of(self)

    def summary(self) -> str:
        """The fit as text: statistics, intervals, parameters, errors per run, warnings."""
        return summary(self)

    def to_frame(self, level: float = 0.9) -> Any:
        """A pandas DataFrame with one row per parameter.

        Columns: value, std_error, lower, upper, fixed, tied_to, unit.

        Raises:
            LawError: if `level` is not between 0 and 1.
        """
        frame = self.conf_int(level)
        rows = self.report().parameters
        frame.insert(0, "value", [row.value for row in rows])
        frame.insert(1, "std_error", list(self.bse.values()))
        frame["fixed"] = [row.fixed for row in rows]
        frame["tied_to"] = [row.tied_to for row in rows]
        frame["unit"] = [row.unit for row in rows]
        return frame

    def plot(self) -> Figure:
        """A matplotlib Figure: measured and fitted losses above, relative residuals below.

        Raises:
            LawError: as for `observed`.
        """
        return plot_points(self._known_points)

    def save(self, path: Path | str) -> Path:
        """Write the law file, whole or not at all; `points` is not stored.

        Raises:
            OutputError: if it cannot be written.
        """
        return write_state(self, path)

    @classmethod
    def of_state(cls, state: FitState[Any, Any]) -> Self:
        """The same data as an instance of this class.

        Raises:
            LawError: if the law is of the other kind.
        """
        return cls(**{item.name: getattr(state, item.name) for item in fields(state)})

    @classmethod
    def load(cls, path: Path | str, *, law: AnyLaw | None = None) -> Self:
        """Read a law file that contains a fit of this class; `load_law` reads both kinds.

        Args:
            path: of the file.
            law: the law, where it is not registered.

        Raises:
            LawFileError: if it cannot be read, or is not a law file.
            LawError: if it contains the other kind of fit.
        """
        return cls.of_state(read_state(path, law))

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value:.4g}" for name, value in self.params.items())
        record = self.record
        source = (
            "parameters given"
            if record is None
            else f"fitted to {record.n_points} points of {len(record.runs)} "
            f"run{'s' * (len(record.runs) != 1)}"
        )
        return f"{type(self).__name__}({self.law.name}: {values}; {source})"

    def _repr_html_(self) -> str:
        return self.report().html()


def published_params(law: AnyLaw, label: str) -> Mapping[str, float]:
    """Parameters of a law from the literature.

    Raises:
        LawError: if there are none of that label; the message lists the labels.
    """
    if label not in law.published:
        known = ", ".join(law.published) or "none"
        raise LawError(
            f"{law.name} has no published parameters {label!r}; known: {known}", value=label
        )
    return law.published[label]
