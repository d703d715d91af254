"""What a replan says."""

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
    """Where the run stands.

    Attributes:
        step: updates done; the next one is this step.
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
    """A way to go on, to its end.

    Attributes:
        schedule: the whole run, what is done included.
        final_loss: predicted, in nats.
        interval_90: of that.
        curve: its losses from the last update done.
    """

    schedule: Schedule
    final_loss: float
    interval_90: Interval
    curve: ForecastCurve = field(repr=False)


@dataclass(frozen=True)
class Cooldown:
    """The best cooldown for a budget: the present LR is held, then it falls.

    Attributes:
        steps: of the whole run.
        start: first step of the cooldown.
        shape: ``linear`` or ``1-sqrt``.
        final_loss: predicted, in nats.
        interval_90: of that.
        spec: of what follows the steps that are done.
    """

    steps: int
    start: int
    shape: str
    final_loss: float
    interval_90: Interval
    spec: str


@dataclass(frozen=True)
class Stop:
    """What the run would have if it ended at a step.

    Attributes:
        step: updates done by then.
        stopped_now: predicted loss of the current plan there, cut short.
        cooled_down: predicted loss if the best cooldown ended there.
        interval_90: of `cooled_down`.
        start: first step of that cooldown.
    """

    step: int
    stopped_now: float | None
    cooled_down: float
    interval_90: Interval
    start: int


@dataclass(frozen=True, eq=False, repr=False)
class Replan:
    """A run in progress: what will happen, and what to do.

    Attributes:
        run: the run, its log cut at `now`.
        now: where it stands.
        fitted: the law after the run so far, with its uncertainty.
        plan: the end of the current plan.
        best: the best way found to use the steps that are left, or the plan itself.
        gain: predicted final loss of the plan less that of the best; None if they differ in length.
        gain_interval_90: of that.
        cooldowns: by budget.
        stopping: by step.
        scope: how the law was believed: same, near, other or shipped.
        notes: what to know before acting.
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
        """Whether the interval of the gain leaves 0 out; None without a gain."""
        return None if self.gain_interval_90 is None else self.gain_interval_90[0] > 0.0

    @property
    def done(self) -> NDArray[np.float64]:
        """Learning rates of the updates that are done: (now.step,)."""
        return self.run.schedule.lr[: self.now.step]

    def __repr__(self) -> str:
        return (
            f"Replan({self.run.name} at step {self.now.step}: plan {self.plan.final_loss:.4f}"
            f"{interval_phrase(self.plan.interval_90)}, best {self.best.final_loss:.4f}"
            f"{interval_phrase(self.best.interval_90)}: {self.best.schedule.spec})"
        )

    def as_json(self) -> dict[str, Any]:
        """The keys of the interface, without the files."""
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
            "cooldowns": [vars(each).copy() for each in self.cooldowns],
            "stopping": [vars(each).copy() for each in self.stopping],
            "notes": list(self.notes),
            "seconds": self.seconds,
        }
