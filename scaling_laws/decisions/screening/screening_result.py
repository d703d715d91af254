"""What a screen returns."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_laws.decisions.constraints import MAX_SMOOTHING_SENSITIVITY
from scaling_laws.inference import interval_phrase

__all__ = ["Ranked", "Screening"]


@dataclass(frozen=True)
class Ranked:
    """One candidate that was looked at again, at full length in float64.

    Attributes:
        spec: of the schedule.
        shape: of its family.
        final_loss: predicted by the fit, in nats.
        screened: what the screen had for it; with draws the mean over them.
        smoothing_sensitivity: change of the final loss under a short moving average of the
            schedule, in nats; None where it was not computed.
        interval_90: of the final loss, or None if the law's errors were not measured.
        expected: mean of the final loss over the draws, or None without draws.
        best_share: share of the draws under which no other finalist is lower, or None.
        regret: mean over the draws of what the draw's best finalist gains on it, or None.
    """

    spec: str
    shape: str
    final_loss: float
    screened: float
    smoothing_sensitivity: float | None = None
    interval_90: tuple[float, float] | None = None
    expected: float | None = None
    best_share: float | None = None
    regret: float | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Screening:
    """A million schedules, and the best of them.

    Attributes:
        law: name of the law.
        ranked: the best, lowest first: by expected loss with draws, else by final loss.
        best_by_shape: the best of each shape, lowest first.
        candidates: how many were evaluated.
        n_nonfinite: how many had no finite loss.
        cells: that a candidate was seen through.
        disagreement: largest difference between screen and full length, over a sample of every
            shape before the screen: what `cells` was chosen by.
        rescored_disagreement: the same over the candidates that were looked at again; the rounding
            of their specs is in it.
        kept: how many lowest scores were looked at again.
        margin: by how much the worst kept score lies above the last of `ranked`: what screen and
            full length would have to disagree for the ranking to lack a candidate.
        edges: inner edges of the histogram of scores, in nats: (bins - 1,).
        counts: candidates in each bin, the first and last open: (bins,).
        draws: parameters each candidate was evaluated under; 1 without draws.
        devices: how many worked on it.
        processes: how many these belong to.
        seed: of the points.
        seconds: wall time of the screen itself, with compilation.
        total_seconds: with the sample before and the second look after it.
        notes: where the best leaves the range of the fit.
    """

    law: str
    ranked: tuple[Ranked, ...]
    best_by_shape: tuple[Ranked, ...]
    candidates: int
    n_nonfinite: int
    cells: int
    disagreement: float
    rescored_disagreement: float
    kept: int
    margin: float
    edges: NDArray[np.float32] = field(repr=False)
    counts: NDArray[np.int64] = field(repr=False)
    draws: int
    devices: int
    processes: int
    seed: int
    seconds: float
    total_seconds: float
    notes: tuple[str, ...] = ()

    @property
    def best(self) -> Ranked:
        """The best that a short moving average does not spoil; the best of all if none is so."""
        smooth = (
            each
            for each in (*self.ranked, *self.best_by_shape)
            if each.smoothing_sensitivity is not None
            and each.smoothing_sensitivity <= MAX_SMOOTHING_SENSITIVITY
        )
        return next(smooth, self.ranked[0])

    def __repr__(self) -> str:
        best = self.best
        return (
            f"Screening({self.law}: {self.candidates:,} schedules, best {best.spec}, final loss "
            f"{best.final_loss:.4f}{interval_phrase(best.interval_90)})"
        )

    def as_json(self) -> dict[str, Any]:
        """Everything, in plain values, under the keys of the interface."""
        result = asdict(self)
        result["refused"] = result.pop("n_nonfinite")
        for candidate in (*result["ranked"], *result["best_by_shape"]):
            candidate["roughness"] = candidate.pop("smoothing_sensitivity")
        return result
