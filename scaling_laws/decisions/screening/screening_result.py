"""The result of a screen."""

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
    """One candidate that was rescored, at full length in float64.

    Attributes:
        spec: of the schedule.
        shape: of its family.
        final_loss: predicted by the fit, in nats.
        screened: its score in the screen; with draws, the mean over them.
        smoothing_sensitivity: change of the final loss under a short moving average of the
            schedule, in nats; None if it was not computed.
        interval_90: 90 % interval of the final loss, or None if the law's errors were not measured.
        expected: mean of the final loss over the draws, or None without draws.
        best_share: share of the draws in which no other finalist is lower, or None.
        regret: mean over the draws of its loss minus that of the draw's best finalist, or None.
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
    """The result of a screen.

    Attributes:
        law: name of the law.
        ranked: the best candidates, lowest first: by expected loss with draws, else by final loss.
        best_by_shape: the best candidate per shape, lowest first.
        candidates: number of evaluated candidates.
        n_nonfinite: number of candidates without a finite loss.
        cells: per candidate in the screen.
        disagreement: largest difference between screen and full length over a sample of every
            shape, by which `cells` was chosen.
        rescored_disagreement: the same over the rescored candidates, including the rounding of
            their specs.
        kept: number of lowest scores that were rescored.
        margin: the worst kept score minus that of the last of `ranked`: the ranking can lack a
            candidate only if screen and full length differ by more than this.
        edges: inner edges of the histogram of scores, in nats: (bins - 1,).
        counts: candidates per bin; the first and last bin are open: (bins,).
        draws: parameter vectors per candidate; 1 without draws.
        devices: number of devices, over all processes.
        processes: number of processes.
        seed: of the points.
        seconds: wall time of the screen itself, including compilation.
        total_seconds: including the sample before it and the rescoring after it.
        notes: where the best candidate leaves the range of the fit.
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
        """The best candidate that is robust to smoothing; the first of all if none is."""
        smooth = (
            candidate
            for candidate in (*self.ranked, *self.best_by_shape)
            if candidate.smoothing_sensitivity is not None
            and candidate.smoothing_sensitivity <= MAX_SMOOTHING_SENSITIVITY
        )
        return next(smooth, self.ranked[0])

    def __repr__(self) -> str:
        best = self.best
        return (
            f"Screening({self.law}: {self.candidates:,} schedules, best {best.spec}, final loss "
            f"{best.final_loss:.4f}{interval_phrase(best.interval_90)})"
        )

    def as_json(self) -> dict[str, Any]:
        """The result as a mapping of plain values."""
        result = asdict(self)
        result["refused"] = result.pop("n_nonfinite")
        for candidate in (*result["ranked"], *result["best_by_shape"]):
            candidate["roughness"] = candidate.pop("smoothing_sensitivity")
        return result
