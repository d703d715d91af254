"""The run value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from scaling_laws.errors import DataError, UsageError, unknown_name
from scaling_laws.params import FACTS, TRACES
from scaling_laws.schedules import Schedule

__all__ = ["FACTS", "TRACES", "Run"]


@dataclass(frozen=True, eq=False)
class Run:
    """One training run.

    Attributes:
        name: unique among the runs of a call.
        schedule: the learning rate of every optimizer step.
        steps: increasing steps at which a loss was logged, int64, (points,). A loss logged at step
            s has seen `schedule.lr[0..s]`, both ends included.
        loss: losses in nats, float64, (points,).
        facts: numbers known of the run, of those in `FACTS`.
        traces: quantities at every optimizer step, of those in `TRACES`, each (schedule.steps,).
        source: where it came from, for messages and law files.
    """

    name: str
    schedule: Schedule
    steps: NDArray[np.int64] = field(repr=False)
    loss: NDArray[np.float64] = field(repr=False)
    facts: Mapping[str, float] = field(default_factory=dict)
    source: str = ""
    traces: Mapping[str, NDArray[np.float64]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        where = self.source or self.name
        counted = np.array(self.steps, dtype=np.float64)
        if not (np.isfinite(counted).all() and (counted == np.floor(counted)).all()):
            raise DataError(f"{where}: steps must be whole numbers")
        steps = counted.astype(np.int64)
        loss = np.array(self.loss, dtype=np.float64)
        if steps.ndim != 1 or steps.shape != loss.shape or steps.size == 0:
            raise DataError(
                f"{where}: steps {steps.shape} and loss {loss.shape} must be rows of one length"
            )
        if steps[0] < 0 or (np.diff(steps) <= 0).any():
            raise DataError(f"{where}: steps must be >= 0 and increase")
        if not (np.isfinite(loss).all() and (loss > 0).all()):
            raise DataError(f"{where}: losses must be finite and > 0")
        if steps[-1] >= self.schedule.steps:
            raise DataError(
                f"{where}: a loss is logged at step {steps[-1]}, beyond the schedule's "
                f"{self.schedule.steps} steps ({self.schedule.spec})"
            )
        traces = {name: np.array(row, dtype=np.float64) for name, row in self.traces.items()}
        for name, row in traces.items():
            if name not in TRACES:
                raise DataError(f"{where}: {unknown_name('trace', name, TRACES)}")
            if row.shape != (self.schedule.steps,) or not (np.isfinite(row) & (row > 0)).all():
                raise DataError(
                    f"{where}: {name} must be {self.schedule.steps} finite numbers > 0, one a step"
                )
        for values in (steps, loss, *traces.values()):
            values.flags.writeable = False
        object.__setattr__(self, "steps", steps)
        object.__setattr__(self, "loss", loss)
        object.__setattr__(self, "facts", MappingProxyType(dict(self.facts)))
        object.__setattr__(self, "traces", MappingProxyType(traces))

    def from_step(self, first: int) -> Run:
        """The same run without the points before step `first`.

        Raises:
            UsageError: if none is left.
        """
        keep = self.steps >= first
        if not keep.any():
            raise UsageError(
                f"run {self.name!r}: no point at or after step {first}; "
                f"its last logged step is {self.steps[-1]}"
            )
        return replace(self, steps=self.steps[keep], loss=self.loss[keep])
