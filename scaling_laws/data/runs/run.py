"""A training run: its schedule and its logged losses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from os import PathLike
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import DataError, UsageError, unknown_name
from scaling_laws.models import FACTS, TRACES, Schedule, in_trace

__all__ = ["FACTS", "TRACES", "Run", "run_list"]


def run_list(runs: Iterable[Run] | Mapping[str, Run]) -> list[Run]:
    """Runs as a list; the keys of a mapping name its runs.

    Raises:
        UsageError: if a value is not a `Run`, or two have the same name.
    """
    if isinstance(runs, str | PathLike | Run):
        load = "[run]" if isinstance(runs, Run) else f"scaling_laws.load_runs({str(runs)!r})"
        raise UsageError(
            f"runs must be Run objects in a list or a mapping, not a {type(runs).__name__}; "
            f"pass {load}",
            value=runs,
        )
    values = list(runs.values() if isinstance(runs, Mapping) else runs)
    for value in values:
        if not isinstance(value, Run):
            raise UsageError(
                f"runs must be Run objects, not {type(value).__name__}; read them with "
                "scaling_laws.load_runs or read_run",
                value=value,
            )
    if isinstance(runs, Mapping):
        return [run if run.name == name else replace(run, name=name) for name, run in runs.items()]
    names: set[str] = set()
    for run in values:
        if run.name in names:
            raise UsageError(
                f"two runs are named {run.name!r}; give them different names", value=run.name
            )
        names.add(run.name)
    return values


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """One training run.

    Attributes:
        name: unique among the runs of a call.
        schedule: the learning rate of every optimizer step.
        steps: increasing steps at which a loss was logged, int64, (points,). A loss logged at step
            s follows the updates with `schedule.lr[0..s]`, both ends included.
        loss: losses in nats, float64, (points,).
        facts: metadata of the run, of those in `FACTS`.
        traces: quantities at every optimizer step, of those in `TRACES`, each (schedule.steps,).
        source: the file, for messages and law files.
        window: number of steps averaged by each logged loss, up to and including its own.
        weight: weight of each point in a fit, >= 0, (points,); default 1.
    """

    name: str
    schedule: Schedule
    steps: NDArray[np.int64] = field(repr=False)
    loss: NDArray[np.float64] = field(repr=False)
    facts: Mapping[str, float] = field(default_factory=dict)
    source: str = ""
    traces: Mapping[str, NDArray[np.float64]] = field(default_factory=dict, repr=False)
    window: int = 1
    weight: NDArray[np.float64] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        where = self.source or self.name
        counted = np.array(self.steps, dtype=np.float64)
        if not (np.isfinite(counted).all() and (counted == np.floor(counted)).all()):
            raise DataError(f"{where}: steps must be whole numbers", path=self.source or None)
        steps = counted.astype(np.int64)
        loss = np.array(self.loss, dtype=np.float64)
        if steps.ndim != 1 or steps.shape != loss.shape or steps.size == 0:
            raise DataError(
                f"{where}: steps {steps.shape} and loss {loss.shape} must be 1-D and of equal "
                "length",
                path=self.source or None,
            )
        if steps[0] < 0 or (np.diff(steps) <= 0).any():
            raise DataError(f"{where}: steps must be >= 0 and increase", path=self.source or None)
        if not (np.isfinite(loss).all() and (loss > 0).all()):
            raise DataError(f"{where}: losses must be finite and > 0", path=self.source or None)
        if steps[-1] >= self.schedule.steps:
            raise DataError(
                f"{where}: a loss is logged at step {steps[-1]}, beyond the schedule's "
                f"{self.schedule.steps} steps ({self.schedule.spec})",
                path=self.source or None,
            )
        traces = {name: np.array(row, dtype=np.float64) for name, row in self.traces.items()}
        for name, row in traces.items():
            if name not in TRACES:
                raise DataError(
                    f"{where}: {unknown_name('trace', name, TRACES)}",
                    path=self.source or None,
                    value=name,
                )
            if row.shape != (self.schedule.steps,) or not in_trace(name, row).all():
                raise DataError(
                    f"{where}: {name} must be {self.schedule.steps} finite numbers "
                    f"{TRACES[name]}, one per step",
                    path=self.source or None,
                    value=name,
                )
        if self.window < 1 or self.window != int(self.window):
            raise DataError(
                f"{where}: window={self.window!r} must be a whole number of steps >= 1",
                path=self.source or None,
            )
        weight = np.ones(len(loss)) if self.weight is None else np.array(self.weight, dtype=float)
        if weight.shape != loss.shape or not (np.isfinite(weight) & (weight >= 0)).all():
            raise DataError(
                f"{where}: weight must be {len(loss)} finite numbers >= 0, one per point",
                path=self.source or None,
            )
        for values in (steps, loss, weight, *traces.values()):
            values.flags.writeable = False
        object.__setattr__(self, "steps", steps)
        object.__setattr__(self, "loss", loss)
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "window", int(self.window))
        object.__setattr__(self, "facts", MappingProxyType(dict(self.facts)))
        object.__setattr__(self, "traces", MappingProxyType(traces))

    def __repr__(self) -> str:
        return (
            f"Run({self.name}: {self.schedule.spec}, {len(self.steps)} losses at steps "
            f"{self.steps[0]} to {self.steps[-1]})"
        )

    def from_step(self, first: int | str) -> Run:
        """The same run without the points before a step, or before the end of its warm-up.

        Args:
            first: a step, or ``"warmup"``.

        Raises:
            UsageError: if no point remains.
        """
        first = self.schedule.warmup if first == "warmup" else int(first)
        keep = self.steps >= first
        if not keep.any():
            raise UsageError(
                f"run {self.name!r}: no point at or after step {first}; "
                f"its last logged step is {self.steps[-1]}",
                value=first,
            )
        return self.at(np.flatnonzero(keep))

    def at(self, index: NDArray[np.int64]) -> Run:
        """The same run with some of its points, by their indices in `steps`."""
        assert self.weight is not None  # set on construction
        return replace(
            self, steps=self.steps[index], loss=self.loss[index], weight=self.weight[index]
        )

    def averaged(self, losses: NDArray[np.float64]) -> NDArray[np.float64]:
        """The losses that would be logged, from those of every step: (steps,) -> (points,)."""
        if self.window == 1:
            return losses[self.steps]
        total = np.concatenate([[0.0], np.cumsum(losses)])
        first = np.maximum(self.steps + 1 - self.window, 0)
        return np.asarray((total[self.steps + 1] - total[first]) / (self.steps + 1 - first))
