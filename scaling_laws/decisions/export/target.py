"""Targets of an export, requests to them, and the resulting export."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_laws._version import __version__
from scaling_laws.common import OutputError, write_bytes
from scaling_laws.decisions.export.knots import Knots
from scaling_laws.decisions.export.native import NativeFamily, NativeFit
from scaling_laws.models import Schedule

__all__ = [
    "Export",
    "NativeForm",
    "PredictedLosses",
    "Request",
    "ScheduleRow",
    "Target",
]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PredictedLosses:
    """A law's prediction for the schedule; all None without a law.

    Attributes:
        law: name of the law.
        final_loss: predicted loss in nats after the last step.
        interval: 90 % interval of `final_loss`, if the law's errors were measured.
    """

    law: str | None = None
    final_loss: float | None = None
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class ScheduleRow:
    """A row of the table to check: a step, the rate the run must log, the schedule's rate."""

    step: int
    lr: float
    schedule_lr: float


@dataclass(frozen=True, eq=False)
class Request:
    """The inputs of a target.

    Attributes:
        plan: the schedule to write, from `start_step` on.
        spec: description of the whole schedule, on one line.
        peak_lr: of the whole schedule, which is the LR of a resumed trainer's optimizer.
        start_step: step of the whole schedule at which `plan` starts.
        knots: of `plan`.
        form: ``multiplier`` of the peak or ``absolute`` learning rate.
        unit: ``steps``, ``samples`` or ``tokens``.
        per_step: units per step.
        rows: the table to check.
        outlook: the prediction of a law.
        native: nearest native schedule, if the target has any.
        native_loss: its predicted final loss, with a law.
        checkpoint_every: steps between two checkpoints, for merges.
        samples_per_step: the global batch size, if known.
    """

    plan: Schedule
    spec: str
    peak_lr: float
    start_step: int
    knots: Knots
    form: str
    unit: str
    per_step: int
    rows: tuple[ScheduleRow, ...]
    outlook: PredictedLosses
    native: NativeFit | None = None
    native_loss: float | None = None
    checkpoint_every: int | None = None
    samples_per_step: int | None = None

    @property
    def scale(self) -> float:
        """Divisor of every written rate: the peak of the whole schedule, or 1."""
        return self.peak_lr if self.form == "multiplier" else 1.0

    @property
    def nearest(self) -> NativeFit:
        """The native fit of a target that has native families."""
        if self.native is None:
            raise ValueError("the target has no native families")
        return self.native

    def heading(self, subject: str, max_error: float) -> list[str]:
        """Lines that describe a file, without line breaks.

        Args:
            subject: what the file is for.
            max_error: largest distance of its rates from the schedule, in LR.
        """
        plan = self.plan
        lines = [
            f"Learning rates for {subject}, written by scaling-laws {__version__}.",
            f"schedule: {self.spec}",
            f"peak LR {self.peak_lr:.12g}, {plan.steps} updates",
            "lr[t] is the rate of update t, counted from 0; constant after the last update.",
        ]
        if self.start_step:
            lines.append(f"Step 0 here is step {self.start_step} of the schedule.")
        lines.append(
            f"largest error: {max_error:.2g} in LR, {max_error / self.peak_lr:.2g} of the peak."
        )
        if self.outlook.final_loss is not None:
            interval = self.outlook.interval
            suffix = f", 90 % [{interval[0]:.4f}, {interval[1]:.4f}]" if interval else ""
            lines.append(
                f"predicted final loss under {self.outlook.law}: "
                f"{self.outlook.final_loss:.5f} nats{suffix}."
            )
        return lines

    def resume_lines(self, counter: str, *restored: str) -> list[str]:
        """How a run that was stopped goes on.

        Args:
            counter: what counts the updates, e.g. ``the scheduler``.
            restored: how the trainer restores it, for a file that starts at step 0.
        """
        if not self.start_step:
            return list(restored)
        return [
            f"Only for a run in which {counter} counts from 0 again at step {self.start_step} of",
            "the schedule. Where a checkpoint restores the count, the schedule would be shifted",
            "twice: export without --start-step then.",
        ]

    def native_heading(self, subject: str) -> list[str]:
        """The heading of a native schedule, with its cost in predicted loss."""
        fit = self.nearest
        name = "exactly" if fit.exact else "nearest"
        lines = [*self.heading(subject, fit.max_error), f"native schedule ({name}): {fit.label}"]
        if self.native_loss is not None and self.outlook.final_loss is not None:
            cost = self.native_loss - self.outlook.final_loss
            lines.append(
                f"its predicted final loss: {self.native_loss:.5f} nats, {cost:+.5f} against the "
                "schedule"
            )
        return lines

    def check_lines(self) -> list[str]:
        """The table as lines of text, for a comment."""
        header = "check against the run's log: update -> learning rate"
        return [header, *(f"  {row.step:>9}  {row.lr:.9g}" for row in self.rows)]


@dataclass(frozen=True)
class NativeForm:
    """The native schedules of a trainer, and how one of them is configured.

    Attributes:
        families: the native schedules.
        write: request -> the text for the trainer.
        arguments: request -> the trainer's names and values.
    """

    families: tuple[NativeFamily, ...]
    write: Callable[[Request], str]
    arguments: Callable[[Request], dict[str, Any]]


@dataclass(frozen=True)
class Target:
    """A format that a schedule can be exported to.

    Attributes:
        name: the value of ``--to``.
        meaning: one line about the output.
        suffix: usual suffix of the file name.
        forms: among ``multiplier`` and ``absolute``, the default first.
        units: among ``steps``, ``samples`` and ``tokens``, the default first.
        exact: request -> the content that reproduces the schedule.
        native: the trainer's native schedules, if it has any.
        prefers_native: whether the native form is the default.
        max_error: request -> error of the exact form in LR, if it differs from that of the knots.
        run_lr: (schedule, steps between checkpoints) -> the rates that the run must log, if they
            are not the schedule's.
        python: whether the exact form is a Python file.
        states_distance: whether a comment in the native form states its distance from the
            schedule; if not, one that is not near is refused.
    """

    name: str
    meaning: str
    suffix: str
    forms: tuple[str, ...]
    units: tuple[str, ...]
    exact: Callable[[Request], str | bytes]
    native: NativeForm | None = None
    prefers_native: bool = False
    max_error: Callable[[Request], float] | None = None
    run_lr: Callable[[Schedule, int | None], Array] | None = None
    python: bool = False
    states_distance: bool = True


@dataclass(frozen=True, eq=False)
class Export:
    """A schedule written for a trainer.

    Attributes:
        target: name of the target.
        form: ``multiplier`` or ``absolute``.
        unit: of positions.
        kind: ``exact`` or ``native``.
        exact: whether the export reproduces the schedule to 1e-7 of its peak.
        max_lr_error: largest distance from the schedule, in LR.
        text: the content as text; None if it is not text.
        content: the content as bytes.
        table: rates with which the run's log is to be compared.
        native: the nearest native schedule, if the trainer has any.
        native_arguments: the trainer's names and values for it.
        native_text: its configuration as text.
        outlook: the law's prediction for the schedule.
        native_final_loss: predicted final loss of the native schedule.
        notes: caveats.
    """

    target: str
    form: str
    unit: str
    kind: str
    exact: bool
    max_lr_error: float
    text: str | None = field(repr=False)
    content: bytes = field(repr=False)
    table: tuple[ScheduleRow, ...] = field(repr=False)
    native: NativeFit | None = None
    native_arguments: Mapping[str, Any] = field(default_factory=dict)
    native_text: str | None = field(default=None, repr=False)
    outlook: PredictedLosses = field(default_factory=PredictedLosses)
    native_final_loss: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def cost_nats(self) -> float | None:
        """Predicted final loss of the native schedule minus that of the requested one."""
        if self.native_final_loss is None or self.outlook.final_loss is None:
            return None
        return self.native_final_loss - self.outlook.final_loss

    def save(self, path: Path | str) -> Path:
        """Write the content to a file atomically.

        Raises:
            OutputError: if the file cannot be written.
        """
        if not str(path):
            raise OutputError("the name of the file is empty; give one")
        return write_bytes(path, self.content)
