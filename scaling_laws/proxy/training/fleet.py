"""Runs that survive: fleets of members with checkpoints, branches and finished runs skipped."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from scaling_laws.common import ProxyError
from scaling_laws.proxy.training import training_loop as training
from scaling_laws.proxy.training.checkpoints import (
    check_origin,
    fingerprint,
    load_position,
    save_position,
    settings_of,
    stored_settings,
)
from scaling_laws.proxy.training.config import ProxyConfig, Window
from scaling_laws.proxy.training.steps import shapes_of
from scaling_laws.proxy.training.write_curve import (
    Destination,
    check_destination,
    finished_settings,
    read_curve,
    write_run,
)

__all__ = ["Branch", "Member", "Result", "Update", "fleet_key", "is_finished", "train_fleet"]

CHECKPOINTS = "checkpoints"  # folder in a set for what its branches start from
Fleet = Literal["auto", "vmap", "loop"]


@dataclass(frozen=True)
class Branch:
    """Where a run leaves another's path: ``FOLDER/RUN@STEP``.

    Attributes:
        folder: the set of the other run.
        run: its name.
        step: updates that both share; the next one is update `step`.
    """

    folder: Path
    run: str
    step: int

    @property
    def path(self) -> Path:
        """The checkpoint that the other run has kept."""
        return self.folder / CHECKPOINTS / f"{self.run}@{self.step}.npz"


@dataclass(frozen=True, eq=False)
class Member:
    """A run of a fleet.

    Attributes:
        config: what to train.
        destination: where the run goes.
        command: the command line that trains it again, if there is one.
        license_text: of the curves, for a set that does not exist yet.
        parent: where it starts, if not at the beginning.
        keep: steps at which it leaves a checkpoint for branches, multiples of `config.every`.
    """

    config: ProxyConfig
    destination: Destination
    command: str = ""
    license_text: str = "unspecified"
    parent: Branch | None = None
    keep: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        steps, every = self.config.schedule.steps, self.config.every
        kept = [(step, self.start + 1, steps) for step in self.keep]
        starts = [] if self.parent is None else [(self.start, 1, steps - 1)]
        for step, least, most in (*starts, *kept):
            if not least <= step <= most or (step % every and step != steps):
                raise ProxyError(
                    f"{self.destination.name}: a branch at step {step} must lie in [{least}, "
                    f"{most}] and be a multiple of the {every} steps between two logged losses"
                )

    @property
    def start(self) -> int:
        """The first update that it does itself."""
        return 0 if self.parent is None else self.parent.step

    def kept(self, step: int) -> Path:
        """Where its own checkpoint after `step` updates lies."""
        return Branch(self.destination.folder, self.destination.name, step).path


@dataclass(frozen=True)
class Update:
    """News of a member after a logged step."""

    name: str
    folder: Path
    step: int
    steps: int
    loss: float
    tokens_per_second: float


@dataclass(frozen=True, eq=False)
class Result:
    """What became of a member.

    Attributes:
        name: of the run.
        folder: its set.
        state: ``finished`` now, ``skipped`` because it was there, or ``failed``.
        final_loss: the last logged one, NaN if it failed.
        seconds: wall time of its training, of its own steps alone; zero if it was there.
        files: written.
        error: why it failed.
    """

    name: str
    folder: Path
    state: Literal["finished", "skipped", "failed"]
    final_loss: float
    seconds: float = 0.0
    files: tuple[Path, ...] = ()
    error: str = ""


def fleet_key(member: Member) -> Hashable:
    """Members may train side by side if and only if this is equal."""
    config = member.config
    return (
        shapes_of(config),
        config.every,
        config.schedule.steps,
        config.ramp,
        config.merge,
        config.corpus.digest,
        member.start,
    )


def is_finished(member: Member) -> bool:
    """Whether the run is there already, trained with the same settings.

    Raises:
        ProxyError: if a run of that name is there with other settings and may not be replaced.
    """
    found = finished_settings(member.destination)
    if found is None:
        return False
    if found == fingerprint(settings_of(member.config)):
        return True
    if member.destination.overwrite:
        return False
    what = "with other settings" if found else "which does not state its settings"
    raise ProxyError(
        f"{member.destination.folder} has a run {member.destination.name!r} already, {what}; "
        "choose another name, remove it or pass --overwrite"
    )


def train_fleet(
    members: Sequence[Member],
    *,
    work: Path,
    checkpoint_every: float = 60.0,
    progress: Callable[[Update], None] | None = None,
    fleet: Fleet = "auto",
) -> list[Result]:
    """Train members and write each into its set; those that are there already are skipped.

    A branch may be in one call with its parent. A run that is there without a checkpoint that it
    is to keep is trained again for its sake, and its curve left as it is. Killed at any moment
    and called again, it goes on from the last checkpoint to the same bits: a checkpoint holds all
    there is to know between two logged steps. A member that diverges fails alone.

    Args:
        members: any; those that share a `fleet_key` can train side by side.
        work: folder of the checkpoints of unfinished runs; they go when the runs are written.
        checkpoint_every: seconds between two of them.
        progress: called for each member after each logged step.
        fleet: ``vmap``: members of a key side by side in one compiled step, as one batch of
            products; ``loop``: one after the other, by the same compiled step, which makes a
            member's numbers independent of the others. ``auto`` is loop on a CPU, whose cores one
            member fills, and vmap elsewhere.

    Returns:
        One result for each member, in order.

    Raises:
        ProxyError: before any training, if a member's destination is taken, its parent's
            checkpoint missing or of another path, or two members have one destination.
    """
    side_by_side = fleet == "vmap" or (fleet == "auto" and jax.default_backend() != "cpu")
    places = [member.destination.curve.resolve() for member in members]
    groups: dict[Hashable, list[int]] = {}
    results: dict[int, Result] = {}
    for index, member in enumerate(members):
        if places[index] in places[:index]:
            raise ProxyError(f"two members would write {places[index]}; name them apart")
        groups.setdefault(fleet_key(member) if side_by_side else index, []).append(index)
        if not is_finished(member):
            check_destination(member.destination, member.config)
        elif all(_has_kept(member, step) for step in member.keep):
            results[index] = _skipped(member)
    # finished ones train again beside the others, whose numbers depend on them
    waiting = [each for each in groups.values() if any(index not in results for index in each)]
    again = [members[index] for indices in waiting for index in indices]
    coming = {member.kept(step).resolve(): member for member in again for step in member.keep}
    for member in again:
        if member.parent is not None and member.parent.path.resolve() not in coming:
            _check_parent(member, member.parent)
    # a branch starts later than its parent, so parents go first
    for indices in sorted(waiting, key=lambda each: members[each[0]].start):
        lost = {i: result for i in indices if (result := _lost(members[i], coming)) is not None}
        left = [index for index in indices if index not in lost]
        group = [members[index] for index in left]
        trained = _train(group, work, checkpoint_every, progress, len(group) > 1) if group else []
        results = lost | dict(zip(left, trained, strict=True)) | results
    return [results[index] for index in range(len(members))]


def _train(
    group: list[Member],
    work: Path,
    checkpoint_every: float,
    progress: Callable[[Update], None] | None,
    fleet: bool,
) -> list[Result]:
    """Train members that share a key, from where their checkpoint left them."""
    configs = [member.config for member in group]
    settings = [settings_of(config) for config in configs]
    spare = work / f"{_label(group, settings)}.npz"
    position, faults = _resume(spare, group, configs, fleet)
    held_out = jnp.asarray(configs[0].validation_windows)
    saved = time.monotonic()
    for window in configs[0].windows(position.step):
        position, losses = training.advance(configs, position, window, held_out, fleet)
        for index, member in enumerate(group):
            _after(index, member, position, window, losses[index], faults, progress)
        if len(faults) == len(group):
            break
        for index, member in enumerate(group):
            if window.end in member.keep and index not in faults:
                save_position(
                    member.kept(window.end),
                    _one(position, index, fleet),
                    [settings_of(member.config, window.end)],
                )
        if time.monotonic() - saved >= checkpoint_every and window.end < configs[0].schedule.steps:
            told = [{**each, "fault": faults.get(i)} for i, each in enumerate(settings)]
            save_position(spare, position, told)
            saved = time.monotonic()
    results = [
        _finish(member, position.rows[index], position.seconds / len(group), faults.get(index))
        for index, member in enumerate(group)
    ]
    for file in (spare, *work.glob(f".{spare.stem}.*")):  # and what a kill left half-written
        file.unlink(missing_ok=True)
    return results


def _after(
    index: int,
    member: Member,
    position: training.Position,
    window: Window,
    losses: Any,
    faults: dict[int, str],
    progress: Callable[[Update], None] | None,
) -> None:
    """Look at a member at the end of a window, and tell."""
    row = dict(zip(training.COLUMNS, position.rows[index, -1], strict=False))
    if index not in faults:
        fault = training.divergence(member.config, window, losses, row["loss"])
        if fault is not None:
            faults[index] = fault
    if progress is not None and index not in faults:
        progress(
            Update(
                member.destination.name,
                member.destination.folder,
                window.end,
                member.config.schedule.steps,
                row["loss"],
                row["tokens_per_second"],
            )
        )


def _resume(
    spare: Path, group: list[Member], configs: list[ProxyConfig], fleet: bool
) -> tuple[training.Position, dict[int, str]]:
    """The last checkpoint, else that of the parents, else the beginning; and who has failed."""
    if spare.exists():
        position, told = load_position(spare, configs, fleet)
        faults = {i: str(each["fault"]) for i, each in enumerate(told) if each.get("fault")}
        if all(  # else a checkpoint was asked for after the training had passed it
            _has_kept(member, step)
            for i, member in enumerate(group)
            for step in member.keep
            if i not in faults and step <= position.step
        ):
            return position, faults
    if group[0].parent is None:
        return training.begin(configs, fleet), {}
    starts = [_branch(member, member.parent) for member in group if member.parent is not None]
    if not fleet:
        return starts[0], {}
    state, snapshots = jax.tree.map(
        lambda *leaves: jnp.stack(leaves), *((each.state, each.snapshots) for each in starts)
    )
    rows = np.concatenate([each.rows for each in starts])
    return training.Position(starts[0].step, state, snapshots, rows, 0.0), {}


def _lost(member: Member, coming: Mapping[Path, Member]) -> Result | None:
    """What becomes of a branch whose parent was to train in the same call and failed."""
    place, parent = member.destination, member.parent
    origin = None if parent is None else coming.get(parent.path.resolve())
    if parent is None or origin is None or _has_kept(origin, parent.step):
        return None
    error = f"{place.name}: {parent.run} failed before step {parent.step}"
    return Result(place.name, place.folder, "failed", float("nan"), error=error)


def _has_kept(member: Member, step: int) -> bool:
    """Whether a member's own checkpoint is there, and not that of a run it has replaced."""
    path = member.kept(step)
    return path.exists() and stored_settings(path) == [settings_of(member.config, step)]


def _branch(member: Member, parent: Branch) -> training.Position:
    """Where a member leaves its parent's path."""
    _check_parent(member, parent)
    return load_position(parent.path, [member.config])[0]._replace(seconds=0.0)


def _check_parent(member: Member, parent: Branch) -> None:
    """Raise unless the parent has kept what the member's own first updates lead to."""
    settings = settings_of(member.config, parent.step)
    check_origin(parent.path, settings, member.destination.name, parent.run, parent.step)


def _one(position: training.Position, index: int, fleet: bool) -> training.Position:
    """One member's part of a fleet's position."""
    if not fleet:
        return position
    state, snapshots = jax.tree.map(lambda leaf: leaf[index], (position.state, position.snapshots))
    return position._replace(
        state=state, snapshots=snapshots, rows=position.rows[index : index + 1]
    )


def _finish(member: Member, rows: Any, seconds: float, fault: str | None) -> Result:
    name, folder = member.destination.name, member.destination.folder
    if fault is not None:
        return Result(name, folder, "failed", float("nan"), seconds, error=fault)
    if is_finished(member):  # of a fleet that had to run again for another member's sake
        return _skipped(member)
    curve = training.curve_of(member.config, rows, seconds)
    extra = {"settings": fingerprint(settings_of(member.config))}
    if member.parent is not None:
        extra["from"] = f"{member.parent.run}@{member.parent.step}"
    files = write_run(
        member.destination,
        member.config,
        curve,
        command=member.command,
        license_text=member.license_text,
        extra=extra,
    )
    return Result(name, folder, "finished", float(curve.loss[-1]), seconds, tuple(files))


def _skipped(member: Member) -> Result:
    destination = member.destination
    loss = read_curve(destination.curve)["loss"]
    return Result(destination.name, destination.folder, "skipped", float(loss[-1]))


def _label(group: list[Member], settings: list[dict[str, Any]]) -> str:
    """A file name for a group that no other group has."""
    places = [str(member.destination.curve.resolve()) for member in group]
    digest = hashlib.sha256("\n".join([fingerprint(*settings), *places]).encode()).hexdigest()
    return f"{group[0].destination.name[:100]}-{digest[:16]}"
