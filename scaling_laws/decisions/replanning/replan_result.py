"""The result of `replan`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_laws.data import Run
from scaling_laws.inference import CurveFit, interval_phrase
from scaling_laws.models import Schedule

__all__ = ["Cooldown", "ForecastCurve", "Now", "PlanOutcome", "Replan", "Stop"]

Interval = tuple[float, float]


@dataclass(frozen=True)
class Now:
    """The current state of the run.

    Attributes:
        step: completed updates; the next one is this step.
        loss: the last logged loss.
        lr: learning rate of the last update.
    """

    step: int
    loss: float
    lr: float


@dataclass(frozen=True, eq=False)
class ForecastCurve:
    """Predicted losses along a schedule.

    Attributes:
        steps: increasing: (points,).
        loss: in nats: (points,).
        low: lower end of the 90 % interval: (points,).
        high: upper end: (points,).
    """

    steps: NDArray[np.int64]
    loss: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PlanOutcome:
    """The predicted outcome of a schedule for the remaining steps.

    Attributes:
        schedule: the whole run, including the completed steps.
        final_loss: predicted, in nats.
        interval_90: 90 % interval of `final_loss`.
        curve: predicted losses from the last completed update on.
    """

    schedule: Schedule
    final_loss: float
    interval_90: Interval
    curve: ForecastCurve = field(repr=False)


@dataclass(frozen=True)
class Cooldown:
    """The best cooldown for a budget: the current LR is kept, then it falls.

    Attributes:
        steps: of the whole run.
        start: first step of the cooldown.
        shape: ``linear`` or ``1-sqrt``.
        final_loss: predicted, in nats.
        interval_90: 90 % interval of `final_loss`.
        spec: of the remaining steps.
    """

    steps: int
    start: int
    shape: str
    final_loss: float
    interval_90: Interval
    spec: str


@dataclass(frozen=True)
class Stop:
    """Predicted losses if the run ended at an earlier or later step.

    Attributes:
        step: completed updates at that point.
        stopped_now: predicted loss of the current plan, truncated there; None beyond its end.
        cooled_down: predicted loss if the best linear cooldown ended there.
        interval_90: 90 % interval of `cooled_down`.
        start: first step of that cooldown.
    """

    step: int
    stopped_now: float | None
    cooled_down: float
    interval_90: Interval
    start: int


@dataclass(frozen=True, eq=False, repr=False)
class Replan:
    """A run in progress: its forecast, and the best schedule for the remaining steps.

    Attributes:
        run: the run, with its log cut at `now`.
        now: its current state.
        fitted: the law conditioned on the run so far, with its uncertainty.
        plan: the outcome of the current plan.
        best: the best schedule for the remaining steps; the plan itself if nothing is better.
        gain: predicted final loss of the plan minus that of `best`, in nats; None if they differ
            in length.
        gain_interval_90: 90 % interval of `gain`.
        cooldowns: the best one per budget.
        stopping: losses per step at which the run could end.
        scope: the prior that was used: same, near, other or shipped.
        notes: caveats.
        seconds: wall time.
    """

    run: Run
    now: Now
    fitted: CurveFit
    plan: PlanOutcome
    best: PlanOutcome
    gain: float | None
    gain_interval_90: Interval | None
    cooldowns: tuple[Cooldown, ...]
    stopping: tuple[Stop, ...]
    scope: str
    notes: tuple[str, ...]
    seconds: float

    @property
    def distinguishable(self) -> bool | None:
        """Whether the interval of the gain excludes 0; None without a gain."""
        return None if self.gain_interval_90 is None else self.gain_interval_90[0] > 0.0

    @property
    def done(self) -> NDArray[np.float64]:
        """Learning rates of the completed updates: (now.step,)."""
        return self.run.schedule.lr[: self.now.step]

    def __repr__(self) -> str:
        return (
            f"Replan({self.run.name} at step {self.now.step}: plan {self.plan.final_loss:.4f}"
            f"{interval_phrase(self.plan.interval_90)}, best {self.best.final_loss:.4f}"
            f"{interval_phrase(self.best.interval_90)}: {self.best.schedule.spec})"
        )

    def as_json(self) -> dict[str, Any]:
        """The result as a JSON-able mapping, without the files."""
        return {
            "law": self.fitted.law.name,
            "scope": self.scope,
            "params": dict(self.fitted.params),
            "now": vars(self.now).copy(),
            "plan": {
                "spec": self.plan.schedule.spec,
                "steps": self.plan.schedule.steps,
                "final_loss": self.plan.final_loss,
                "interval_90": list(self.plan.interval_90),
            },
            "best": {
                "spec": self.best.schedule.spec,
                "steps": self.best.schedule.steps,
                "final_loss": self.best.final_loss,
                "interval_90": list(self.best.interval_90),
                "gain": self.gain,
                "gain_interval_90": self.gain_interval_90,
                "distinguishable": self.distinguishable,
            },
            "cooldowns": [vars(cooldown).copy() for cooldown in self.cooldowns],
            "stopping": [vars(stop).copy() for stop in self.stopping],
            "notes": list(self.notes),
            "seconds": self.seconds,
        }
