"""One run to train: its configuration, its destination, the run it branches from, its result."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from scaling_laws.common import ProxyError
from scaling_laws.proxy.training.checkpoints import fingerprint, settings_of, stored_settings
from scaling_laws.proxy.training.compiled_steps import shapes_of
from scaling_laws.proxy.training.proxy_config import ProxyConfig
from scaling_laws.proxy.training.run_files import Destination, finished_settings

__all__ = [
    "BranchPoint",
    "LoggedStep",
    "TrainingResult",
    "TrainingRun",
    "fleet_key",
    "has_checkpoint",
    "is_finished",
]

CHECKPOINTS = "checkpoints"  # folder in a set for the states from which branches start


@dataclass(frozen=True)
class BranchPoint:
    """The update at which a run departs from another one: ``FOLDER/RUN@STEP``.

    Attributes:
        folder: the set of the other run.
        run: name of the other run.
        step: number of updates that both share; the first update of the branch is update `step`.
    """

    folder: Path
    run: str
    step: int

    @property
    def path(self) -> Path:
        """The checkpoint that the other run keeps for its branches."""
        return self.folder / CHECKPOINTS / f"{self.run}@{self.step}.npz"


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """A run to train.

    Attributes:
        config: what to train.
        destination: where the run is written.
        command: the command line that reproduces it, if there is one.
        license_text: licence of the curves, written when the set is new.
        parent: where it starts, unless from scratch.
        keep: steps at which it keeps a checkpoint for branches, multiples of `config.every`.

    Raises:
        ProxyError: if a step of `parent` or `keep` is out of range, or no loss is logged there.
    """

    config: ProxyConfig
    destination: Destination
    command: str = ""
    license_text: str = "unspecified"
    parent: BranchPoint | None = None
    keep: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        steps, every = self.config.schedule.steps, self.config.every
        kept = [(step, self.start + 1, steps) for step in self.keep]
        starts = [] if self.parent is None else [(self.start, 1, steps - 1)]
        for step, lowest, highest in (*starts, *kept):
            if not lowest <= step <= highest or (step % every and step != steps):
                raise ProxyError(
                    f"{self.destination.name}: a branch at step {step} must lie in [{lowest}, "
                    f"{highest}] and be a multiple of the {every} steps between two logged losses",
                    value=step,
                )

    @property
    def start(self) -> int:
        """The first update that this run trains itself."""
        return 0 if self.parent is None else self.parent.step

    def checkpoint_path(self, step: int) -> Path:
        """Path of the checkpoint that this run keeps after `step` updates."""
        return BranchPoint(self.destination.folder, self.destination.name, step).path


@dataclass(frozen=True)
class LoggedStep:
    """Progress of a run after a logged step.

    Attributes:
        name: of the run.
        folder: its set.
        step: updates done.
        steps: updates of the whole run.
        loss: validation loss in nats per token.
        tokens_per_second: since the previous logged step.
    """

    name: str
    folder: Path
    step: int
    steps: int
    loss: float
    tokens_per_second: float


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """The result of a run.

    Attributes:
        name: of the run.
        folder: its set.
        state: ``finished`` now, ``skipped`` because it already existed, or ``failed``.
        final_loss: the last logged loss in nats per token, NaN if it failed.
        seconds: wall time of its own updates; zero if it was skipped.
        files: files written.
        error: why it failed, or "".
    """

    name: str
    folder: Path
    state: Literal["finished", "skipped", "failed"]
    final_loss: float
    seconds: float = 0.0
    files: tuple[Path, ...] = ()
    error: str = ""


def fleet_key(run: TrainingRun) -> Hashable:
    """Runs can train side by side if and only if their keys are equal."""
    config = run.config
    return (
        shapes_of(config),
        config.every,
        config.schedule.steps,
        config.ramp,
        config.merge,
        config.corpus.digest,
        run.start,
    )


def is_finished(run: TrainingRun) -> bool:
    """Whether the run already exists, trained with the same settings.

    Raises:
        ProxyError: if a run of that name exists with other settings and must not be overwritten.
    """
    destination = run.destination
    settings = finished_settings(destination)
    if settings is None:
        return False
    if settings == fingerprint(settings_of(run.config)):
        return True
    if destination.overwrite:
        return False
    detail = "with other settings" if settings else "which does not state its settings"
    raise ProxyError(
        f"{destination.folder} already has a run {destination.name!r}, {detail}; "
        "choose another name, remove it or pass --overwrite",
        path=destination.curve,
        value=destination.name,
    )


def has_checkpoint(run: TrainingRun, step: int) -> bool:
    """Whether the checkpoint of `step` exists, and is not that of an earlier, replaced run."""
    path = run.checkpoint_path(step)
    return path.exists() and stored_settings(path) == [settings_of(run.config, step)]
