"""The fitted law: a law's name, its numbers, and how far they can be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import LawError
from scaling_laws.inference.results.uncertainty import Uncertainty
from scaling_laws.models import AnyLaw, Law, PointLaw, Schedule, check_parameters, get_law

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from scaling_laws.inference.results.point_prediction import PointPrediction
    from scaling_laws.inference.results.prediction import Prediction

__all__ = ["FitRecord", "FittedLaw", "InputRange", "Range"]


@dataclass(frozen=True)
class Range:
    """What the fitted runs covered; beyond it a prediction extrapolates.

    Attributes:
        peak_lr: lowest and highest peak learning rate.
        steps: last logged step of the longest run.
        lowest_lr: lowest learning rate after the peak, as a share of the peak, at a logged step.
        fastest_fall: fewest steps within which a schedule falls by half of its peak; None if none
            does, or where it is not known.
        facts: lowest and highest of each fact that the law uses.
    """

    peak_lr: tuple[float, float]
    steps: int
    lowest_lr: float
    facts: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    fastest_fall: int | None = None

    def leaves(self, schedule: Schedule, facts: Mapping[str, float] | None = None) -> list[str]:
        """In words, where a schedule, or a fact, leaves the range."""
        notes = []
        low, high = self.peak_lr
        if not 0.99 * low <= schedule.peak_lr <= 1.01 * high:
            notes.append(f"peak LR {schedule.peak_lr:g} is outside the fitted {low:g} to {high:g}")
        if schedule.steps > 1.05 * (self.steps + 1):
            notes.append(f"{schedule.steps} steps are more than the fitted {self.steps + 1}")
        end = float(schedule.lr[-1]) / schedule.peak_lr if schedule.peak_lr > 0 else 0.0
        if end < 0.5 * self.lowest_lr:
            notes.append(
                f"it ends at {end:.2g} of its peak, the fitted runs go down to {self.lowest_lr:.2g}"
            )
        fall = None if self.fastest_fall is None else fastest_fall(schedule.lr)
        if self.fastest_fall is not None and fall is not None and 2 * fall < self.fastest_fall:
            notes.append(
                f"its LR falls by half of the peak within {fall} step{'s' * (fall > 1)}, the "
                f"fitted runs take {self.fastest_fall} at least"
            )
        for name, (low, high) in self.facts.items():
            value = (facts or {}).get(name, low)
            if not 0.99 * low <= value <= 1.01 * high:
                notes.append(f"{name} {value:g} is outside the fitted {low:g} to {high:g}")
        return notes


def fastest_fall(lr: NDArray[np.float64]) -> int | None:
    """Fewest steps within which a schedule falls by half of its peak; None if it never does.

    >>> fastest_fall(np.array([1.0, 1.0, 0.7, 0.4, 0.4]))
    2
    """
    from scipy.ndimage import minimum_filter1d  # here: it takes a while to import

    half = 0.5 * float(lr.max())

    def falls_within(steps: int) -> bool:
        ahead = minimum_filter1d(lr, steps + 1, origin=-((steps + 1) // 2), mode="nearest")
        return bool(np.any(lr - ahead >= half))

    few, many = 0, len(lr) - 1
    if half <= 0 or not falls_within(many):
        return None
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if falls_within(middle) else (middle, many)
    return many


@dataclass(frozen=True)
class InputRange:
    """What the fitted rows of a point law covered.

    Attributes:
        inputs: lowest and highest value of each input.
        totals: lowest and highest sum of the inputs whose names begin so, such as the shares of a
            mixture: where they always sum to one, a law is known for such mixtures only.
    """

    inputs: Mapping[str, tuple[float, float]]
    totals: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, inputs: Mapping[str, NDArray[np.float64]], prefixes: Sequence[str] = ()
    ) -> InputRange:
        """The range of some rows, and of the sums of the inputs with these prefixes."""

        def ends(row: NDArray[np.float64]) -> tuple[float, float]:
            return float(row.min()), float(row.max())

        return cls(
            {name: ends(row) for name, row in inputs.items()},
            {prefix: ends(_total(inputs, prefix)) for prefix in prefixes},
        )

    def leaves(self, inputs: Mapping[str, NDArray[np.float64]]) -> list[str]:
        """In words, where inputs leave the range."""
        notes = []
        for name, (low, high) in self.inputs.items():
            row = inputs[name]
            if (row < 0.99 * low).any() or (row > 1.01 * high).any():
                notes.append(
                    f"{name} {row.min():g} to {row.max():g} leaves the fitted {low:g} to {high:g}"
                    if row.size > 1
                    else f"{name} {row.item():g} is outside the fitted {low:g} to {high:g}"
                )
        for prefix, (low, high) in self.totals.items():
            total = _total(inputs, prefix)
            if (total < 0.99 * low).any() or (total > 1.01 * high).any():
                notes.append(
                    f"{prefix}* sum to {total.min():g}, in the fitted rows to {low:g} to {high:g}"
                )
        return notes


def _total(inputs: Mapping[str, NDArray[np.float64]], prefix: str) -> NDArray[np.float64]:
    rows = [row for name, row in inputs.items() if name.startswith(prefix)]
    total = rows[0]
    for row in rows[1:]:
        total = total + row
    return total


@dataclass(frozen=True)
class FitRecord:
    """How a fit came about.

    Attributes:
        objective: sum over points of Huber(δ = `huber_delta`) of log(observed / predicted), at the
            parameters of the law.
        huber_delta: δ.
        n_points: points fitted.
        starts: starts tried.
        starts_at_best: starts that ended within 0.1 % of the best objective.
        seconds: wall time.
        seed: of the starts.
        from_step: points before this step, or before ``"warmup"`` ended, were left out.
        runs: metrics of each fitted run, by name.
        sources: where each run came from.
        warnings: what a user should know before trusting the parameters.
        minimised: what the fit minimised, as text, before the prior.
        lowest: its lowest value without the prior, over all starts.
        statuses: how many starts ended how.
        prior: centre and spread of the free number, and strength, of each parameter that has one.
        prior_source: where the prior comes from.
        condition: condition number of the Gauss-Newton matrix in log parameters.
        fixed: parameters that were given.
        ties: shape parameters that were made equal to another.
        solver: name of the solver of every solve.
    """

    objective: float
    huber_delta: float
    n_points: int
    starts: int
    starts_at_best: int
    seconds: float
    seed: int
    from_step: int | str
    runs: Mapping[str, Mapping[str, float]]
    sources: Mapping[str, str]
    warnings: tuple[str, ...] = ()
    minimised: str = "huber:0.001"
    lowest: float | None = None
    statuses: Mapping[str, int] = field(default_factory=dict)
    prior: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    prior_source: str = ""
    condition: float | None = None
    fixed: Mapping[str, float] = field(default_factory=dict)
    ties: Mapping[str, str] = field(default_factory=dict)
    solver: str = "varpro"


@dataclass(frozen=True, eq=False)
class FittedLaw:
    """A law with numbers.

    Attributes:
        law: the law.
        params: its parameters by name, for learning rates as they are logged.
        uncertainty: held-out errors, if they were measured.
        range: what the fitted runs covered, if there was a fit.
        record: the fit, if there was one.
        facts: numbers about the fitted runs, such as weight_decay, where all agree.
        draws: parameters of refits to reweighted runs, by name, each (draws,); empty if there are
            none. They spread as the runs, and the prior, leave the parameters open.
    """

    law: AnyLaw
    params: Mapping[str, float]
    uncertainty: Uncertainty | None = None
    range: Range | InputRange | None = None
    record: FitRecord | None = None
    facts: Mapping[str, float] = field(default_factory=dict)
    draws: Mapping[str, NDArray[np.float64]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        checked = check_parameters(self.law.name, self.law.parameters, self.params)
        object.__setattr__(self, "params", MappingProxyType(checked))
        object.__setattr__(self, "facts", MappingProxyType(dict(self.facts)))
        draws = {name: np.array(row, dtype=np.float64) for name, row in self.draws.items()}
        if draws and (set(draws) != set(checked) or len({row.shape for row in draws.values()}) > 1):
            raise LawError(f"{self.law.name}: draws must be of all its parameters, equally many")
        for row in draws.values():
            row.flags.writeable = False
        object.__setattr__(self, "draws", MappingProxyType(draws))

    @property
    def draw_count(self) -> int:
        """How many draws there are."""
        return next((len(row) for row in self.draws.values()), 0)

    def parameter_intervals(self, level: float = 0.9) -> dict[str, tuple[float, float]]:
        """The middle `level` of the draws of each parameter; empty without draws.

        Raises:
            LawError: if `level` is not between 0 and 1.
        """
        if not 0.0 < level < 1.0:
            raise LawError(f"level={level!r} must lie between 0 and 1, e.g. 0.9")
        ends = (0.5 - 0.5 * level, 0.5 + 0.5 * level)
        return {
            name: (float(np.quantile(row, ends[0])), float(np.quantile(row, ends[1])))
            for name, row in self.draws.items()
        }

    @classmethod
    def of(cls, law: str, params: Mapping[str, float]) -> FittedLaw:
        """A law with given parameters.

        >>> FittedLaw.of("power", {"L0": 2.0, "A": 0.5, "alpha": 0.5}).law.name
        'power'
        """
        found = get_law(law)
        if isinstance(found, PointLaw):
            found = found.expand_for_parameters(list(params))
        return cls(found, params)

    @classmethod
    def published(cls, law: str, label: str) -> FittedLaw:
        """A law with parameters from the literature; labels are in `LAW.published`.

        Raises:
            LawError: listing the labels if there is no such one.

        >>> FittedLaw.published("chinchilla", "hoffmann_rounded").params["E"]
        1.69
        """
        found = get_law(law)
        if label not in found.published:
            known = ", ".join(found.published) or "none"
            raise LawError(f"{law} has no published parameters {label!r}; known: {known}")
        return cls.of(law, found.published[label])

    @property
    def schedule_law(self) -> Law:
        """The law, if it is one of schedules.

        Raises:
            LawError: if it is not.
        """
        if not isinstance(self.law, Law):
            raise LawError(
                f"{self.law.name} knows no schedule, only {', '.join(self.point_law.input_names)}"
            )
        return self.law

    @property
    def point_law(self) -> PointLaw:
        """The law, if it is one of single numbers.

        Raises:
            LawError: if it is not.
        """
        if not isinstance(self.law, PointLaw):
            raise LawError(f"{self.law.name} needs a schedule; single numbers do not suffice")
        return self.law

    def range_notes(self, schedule: Schedule, facts: Mapping[str, float]) -> tuple[str, ...]:
        """In words, where a schedule and facts leave what the fitted runs covered."""
        return tuple(self.range.leaves(schedule, facts)) if isinstance(self.range, Range) else ()

    def predict(
        self, schedule: Schedule | str, steps: Sequence[int] | None = None, **given: Any
    ) -> Prediction:
        """The loss under a schedule; see `scaling_laws.inference.results.prediction.predict`."""
        from scaling_laws.inference.results.prediction import predict

        return predict(self, schedule, steps, **given)

    def at(self, **inputs: ArrayLike) -> PointPrediction:
        """What a law of single numbers gives; see `point_prediction.at`.

        >>> law = FittedLaw.published("chinchilla", "hoffmann_rounded")
        >>> round(float(law.at(model_params=70e9, tokens=1.4e12).value), 3)
        1.937
        """
        from scaling_laws.inference.results.point_prediction import at

        return at(self, inputs)

    def summary(self) -> str:
        """The fit as text: statistics, parameters, errors per run, warnings."""
        from scaling_laws.inference.results.summary import summary

        return summary(self)

    def save(self, path: str) -> None:
        """Write the law file; see `scaling_laws.inference.results.law_file.save_law`."""
        from scaling_laws.inference.results.law_file import save_law

        save_law(self, path)
