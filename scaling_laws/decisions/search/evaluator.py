"""The exact objective of a candidate: the law evaluated at every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from scaling_laws.inference import (
    CurveFit,
    compiled_final_loss,
    interval_of_end,
    variance_inputs_of,
)
from scaling_laws.models import Schedule, in_float64

__all__ = ["ObjectiveEvaluator", "ScoredSchedule"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ScoredSchedule:
    """A schedule, its predicted final loss and its value of the objective, in nats."""

    schedule: Schedule
    final_loss: float
    value: float


@dataclass(frozen=True, eq=False)
class ObjectiveEvaluator:
    """The objective, evaluated without approximation.

    Attributes:
        fitted: the law.
        facts: known facts of the run.
        horizons: step counts at which the loss is evaluated; the last one is the run's length.
        robust: whether the upper ends of 90 % intervals replace the losses.
    """

    fitted: CurveFit
    facts: Mapping[str, float]
    horizons: Sequence[int]
    robust: bool = False

    @property
    def description(self) -> str:
        """The objective in words."""
        what = "upper end of the 90 % interval" if self.robust else "final loss"
        if len(self.horizons) == 1:
            return what
        return f"mean {what} after {', '.join(str(end) for end in self.horizons)} steps"

    @in_float64
    def final_loss(self, lr: Array, decay: Array | None = None) -> float:
        """Loss after the last step of a schedule (steps,), for a weight decay (steps,)."""
        traces = {} if decay is None else {"weight_decay": jnp.asarray(decay)}
        params, facts = (
            {name: jnp.float64(value) for name, value in numbers.items()}
            for numbers in (self.fitted.params, self.facts)
        )
        return float(compiled_final_loss(self.fitted.law)(params, lr, facts, traces))

    def interval(self, lr: Array, decay: Array | None = None) -> tuple[float, float] | None:
        """90 % interval of the loss after the last step; None if the law has no uncertainty."""
        if self.fitted.uncertainty is None:
            return None
        traces = {} if decay is None else {"weight_decay": decay}
        last = np.array([len(lr) - 1])
        inputs = variance_inputs_of(self.fitted, lr, last, self.facts, traces)
        value = self.final_loss(lr, decay)
        return interval_of_end(value, self.fitted.uncertainty, 0.9, inputs)

    def value(self, lr: Array, decay: Array | None = None) -> float:
        """The objective of a schedule: mean over the horizons, in nats."""
        values = []
        for horizon in self.horizons:
            part = None if decay is None else decay[:horizon]
            interval = self.interval(lr[:horizon], part) if self.robust else None
            values.append(self.final_loss(lr[:horizon], part) if interval is None else interval[1])
        return float(np.mean(values))
