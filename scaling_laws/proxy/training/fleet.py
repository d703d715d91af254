"""Train runs alone or side by side, with checkpoints and branches; finished runs are skipped."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import ProxyError
from scaling_laws.proxy.training import training_loop
from scaling_laws.proxy.training.checkpoints import (
    check_origin,
    fingerprint,
    load_position,
    save_position,
    settings_of,
)
from scaling_laws.proxy.training.proxy_config import LogInterval, ProxyConfig
from scaling_laws.proxy.training.run_files import check_destination, read_curve, write_run
from scaling_laws.proxy.training.training_run import (
    BranchPoint,
    LoggedStep,
    TrainingResult,
    TrainingRun,
    fleet_key,
    has_checkpoint,
    is_finished,
)

__all__ = ["train_fleet"]

Fleet = Literal["auto", "vmap", "loop"]
StepCallback: TypeAlias = Callable[[LoggedStep], None]


def train_fleet(
    runs: Sequence[TrainingRun],
    *,
    work: Path,
    checkpoint_every: float = 60.0,
    progress: StepCallback | None = None,
    fleet: Fleet = "auto",
) -> list[TrainingResult]:
    """Train runs and write each into its set; runs that already exist are skipped.

    A branch and its parent may be in the same call. A finished run that lacks a checkpoint it has
    to keep is trained again to produce it; its curve is not rewritten. After an interruption at any
    point, the same call resumes from the last checkpoint and gives the same bits: a checkpoint
    holds the complete state between two logged steps. A run that diverges fails alone.

    Args:
        runs: any runs; those that share a `fleet_key` can train side by side.
        work: folder for checkpoints of unfinished runs; they are removed when the runs are written.
        checkpoint_every: seconds between two of these checkpoints.
        progress: called for every run after every logged step.
        fleet: ``vmap``: runs with equal keys train side by side in one compiled step, as batched
            matrix products; ``loop``: one after the other with the same compiled step, so that the
            numbers of a run do not depend on the others. ``auto`` is ``loop`` on a CPU, where one
            run uses all cores, and ``vmap`` elsewhere.

    Returns:
        One result per run, in the order of `runs`.

    Raises:
        ProxyError: before any training, if a destination is taken, the checkpoint of a parent is
            missing or was trained with other settings, or two runs have the same destination.
    """
    side_by_side = fleet == "vmap" or (fleet == "auto" and jax.default_backend() != "cpu")
    destinations = [run.destination.curve.resolve() for run in runs]
    groups: dict[Hashable, list[int]] = {}
    results: dict[int, TrainingResult] = {}
    for index, run in enumerate(runs):
        if destinations[index] in destinations[:index]:
            raise ProxyError(
                f"two runs would write {destinations[index]}; give them different names",
                path=destinations[index],
            )
        groups.setdefault(fleet_key(run) if side_by_side else index, []).append(index)
        if not is_finished(run):
            check_destination(run.destination, run.config)
        elif all(has_checkpoint(run, step) for step in run.keep):
            results[index] = _skipped(run)
    # finished runs train again beside the others, whose last bits depend on them
    pending = [
        indices for indices in groups.values() if any(index not in results for index in indices)
    ]
    to_train = [runs[index] for indices in pending for index in indices]
    parents = {run.checkpoint_path(step).resolve(): run for run in to_train for step in run.keep}
    for run in to_train:
        if run.parent is not None and run.parent.path.resolve() not in parents:
            _check_parent(run, run.parent)
    # a branch starts later than its parent, so parents go first
    for indices in sorted(pending, key=lambda indices: runs[indices[0]].start):
        orphans = {i: result for i in indices if (result := _orphaned(runs[i], parents))}
        remaining = [index for index in indices if index not in orphans]
        group = [runs[index] for index in remaining]
        trained = _train(group, work, checkpoint_every, progress, len(group) > 1) if group else []
        results = orphans | dict(zip(remaining, trained, strict=True)) | results
    return [results[index] for index in range(len(runs))]


def _train(
    group: list[TrainingRun],
    work: Path,
    checkpoint_every: float,
    progress: StepCallback | None,
    fleet: bool,
) -> list[TrainingResult]:
    """Train runs that share a key, starting from their last checkpoint."""
    configs = [run.config for run in group]
    settings = [settings_of(config) for config in configs]
    crash_file = work / f"{_label(group, settings)}.npz"
    position, faults = _resume(crash_file, group, configs, fleet)
    held_out = jnp.asarray(configs[0].validation_windows)
    saved = time.monotonic()
    for interval in configs[0].log_intervals(position.step):
        position, losses = training_loop.advance(configs, position, interval, held_out, fleet)
        for index, run in enumerate(group):
            _check_and_report(index, run, position, interval, losses[index], faults, progress)
        if len(faults) == len(group):
            break
        for index, run in enumerate(group):
            if interval.end in run.keep and index not in faults:
                save_position(
                    run.checkpoint_path(interval.end),
                    _position_of_run(position, index, fleet),
                    [settings_of(run.config, interval.end)],
                )
        due = time.monotonic() - saved >= checkpoint_every
        if due and interval.end < configs[0].schedule.steps:
            headers = [{**entry, "fault": faults.get(i)} for i, entry in enumerate(settings)]
            save_position(crash_file, position, headers)
            saved = time.monotonic()
    results = [
        _finish(run, position.rows[index], position.seconds / len(group), faults.get(index))
        for index, run in enumerate(group)
    ]
    for file in (crash_file, *work.glob(f".{crash_file.stem}.*")):  # and interrupted writes of it
        file.unlink(missing_ok=True)
    return results


def _check_and_report(
    index: int,
    run: TrainingRun,
    position: training_loop.Position,
    interval: LogInterval,
    losses: NDArray[np.float32],
    faults: dict[int, str],
    progress: StepCallback | None,
) -> None:
    """Record divergence at the end of an interval in `faults`; report the progress otherwise."""
    row = dict(zip(training_loop.COLUMNS, position.rows[index, -1], strict=False))
    if index not in faults:
        fault = training_loop.divergence(run.config, interval, losses, row["loss"])
        if fault is not None:
            faults[index] = fault
    if progress is not None and index not in faults:
        progress(
            LoggedStep(
                run.destination.name,
                run.destination.folder,
                interval.end,
                run.config.schedule.steps,
                row["loss"],
                row["tokens_per_second"],
            )
        )


def _resume(
    crash_file: Path, group: list[TrainingRun], configs: list[ProxyConfig], fleet: bool
) -> tuple[training_loop.Position, dict[int, str]]:
    """Where to start, and the runs that have failed already.

    That is the last checkpoint; else the checkpoints of the parents; else the first update.
    """
    if crash_file.exists():
        position, headers = load_position(crash_file, configs, fleet)
        faults = {i: str(entry["fault"]) for i, entry in enumerate(headers) if entry.get("fault")}
        if all(  # otherwise a checkpoint was requested after training had passed its step
            has_checkpoint(run, step)
            for i, run in enumerate(group)
            for step in run.keep
            if i not in faults and step <= position.step
        ):
            return position, faults
    if group[0].parent is None:
        return training_loop.begin(configs, fleet), {}
    starts = [_position_of_parent(run, run.parent) for run in group if run.parent is not None]
    if not fleet:
        return starts[0], {}
    state, snapshots = jax.tree.map(
        lambda *leaves: jnp.stack(leaves), *((start.state, start.snapshots) for start in starts)
    )
    rows = np.concatenate([start.rows for start in starts])
    return training_loop.Position(starts[0].step, state, snapshots, rows, 0.0), {}


def _orphaned(run: TrainingRun, parents: Mapping[Path, TrainingRun]) -> TrainingResult | None:
    """The result of a branch whose parent failed in the same call; None for any other run."""
    destination, parent = run.destination, run.parent
    origin = None if parent is None else parents.get(parent.path.resolve())
    if parent is None or origin is None or has_checkpoint(origin, parent.step):
        return None
    error = f"{destination.name}: {parent.run} failed before step {parent.step}"
    return TrainingResult(destination.name, destination.folder, "failed", float("nan"), error=error)


def _position_of_parent(run: TrainingRun, parent: BranchPoint) -> training_loop.Position:
    """The position at which a run departs from its parent."""
    _check_parent(run, parent)
    return load_position(parent.path, [run.config])[0]._replace(seconds=0.0)


def _check_parent(run: TrainingRun, parent: BranchPoint) -> None:
    """Raise unless the checkpoint of the parent results from the first updates of the run."""
    settings = settings_of(run.config, parent.step)
    check_origin(parent.path, settings, run.destination.name, parent.run, parent.step)


def _position_of_run(
    position: training_loop.Position, index: int, fleet: bool
) -> training_loop.Position:
    """The part of a fleet's position that belongs to one run."""
    if not fleet:
        return position
    state, snapshots = jax.tree.map(lambda leaf: leaf[index], (position.state, position.snapshots))
    return position._replace(
        state=state, snapshots=snapshots, rows=position.rows[index : index + 1]
    )


def _finish(run: TrainingRun, rows: Any, seconds: float, fault: str | None) -> TrainingResult:
    name, folder = run.destination.name, run.destination.folder
    if fault is not None:
        return TrainingResult(name, folder, "failed", float("nan"), seconds, error=fault)
    if is_finished(run):  # trained again only for another run of its fleet, or for a checkpoint
        return _skipped(run)
    curve = training_loop.curve_of(run.config, rows, seconds)
    extra = {"settings": fingerprint(settings_of(run.config))}
    if run.parent is not None:
        extra["from"] = f"{run.parent.run}@{run.parent.step}"
    files = write_run(
        run.destination,
        run.config,
        curve,
        command=run.command,
        license_text=run.license_text,
        extra=extra,
    )
    return TrainingResult(name, folder, "finished", float(curve.loss[-1]), seconds, tuple(files))


def _skipped(run: TrainingRun) -> TrainingResult:
    destination = run.destination
    loss = read_curve(destination.curve)["loss"]
    return TrainingResult(destination.name, destination.folder, "skipped", float(loss[-1]))


def _label(group: list[TrainingRun], settings: list[dict[str, Any]]) -> str:
    """A file name that no other group has."""
    paths = [str(run.destination.curve.resolve()) for run in group]
    digest = hashlib.sha256("\n".join([fingerprint(*settings), *paths]).encode()).hexdigest()
    return f"{group[0].destination.name[:100]}-{digest[:16]}"
