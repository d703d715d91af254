"""What must hold of a plan before anything starts: parents, shared histories, free places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from scaling_laws.common import ProxyError, ScalingLawsError, unknown_name
from scaling_laws.proxy.sweep.sweep_plan import Parent, PlannedRun
from scaling_laws.proxy.training.checkpoints import settings_of
from scaling_laws.proxy.training.proxy_config import ProxyConfig
from scaling_laws.proxy.training.run_files import check_destination
from scaling_laws.proxy.training.training_run import TrainingRun, is_finished

__all__ = ["check_branches", "check_parents", "finished_runs"]


def check_parents(rows: Sequence[PlannedRun]) -> None:
    """Raise unless every parent is a run of the same set and no run descends from itself.

    Raises:
        ProxyError: naming the row and its `from`.
    """
    by_name = {row.name: row for row in rows}
    for row in rows:
        if row.parent is None:
            continue
        place = f"{row.where}, from: {row.parent.run}@{row.parent.step}"
        parent = by_name.get(row.parent.run)
        if parent is None:
            raise ProxyError(f"{place}: {unknown_name('run', row.parent.run, by_name)}")
        if parent.folder != row.folder:
            raise ProxyError(
                f"{place}: that run goes to {parent.folder} and this one to {row.folder}; a branch "
                "and its parent share a set, so give both the same out"
            )
        line = [row.name]
        above: PlannedRun | None = parent
        while above is not None:
            if above.name in line:
                circle = " -> ".join([*line, above.name])
                raise ProxyError(f"{place}: a run cannot descend from itself: {circle}")
            line.append(above.name)
            above = by_name.get(above.parent.run) if above.parent else None


def check_branches(rows: Sequence[PlannedRun], configs: Mapping[str, ProxyConfig]) -> None:
    """Raise unless every branch repeats its parent exactly up to its step, and goes on from there.

    Args:
        rows: with parents that `check_parents` has passed.
        configs: run name -> configuration.

    Raises:
        ProxyError: naming the row, and the first step or the setting in which the two differ.
    """
    by_name = {row.name: row for row in rows}
    for row in rows:
        if row.parent is not None:
            _check_branch(row, row.parent, by_name[row.parent.run], configs)


def _check_branch(
    row: PlannedRun, branch: Parent, parent: PlannedRun, configs: Mapping[str, ProxyConfig]
) -> None:
    ours, theirs = configs[row.name], configs[parent.name]
    place, step = f"{row.where}, from: {parent.name}@{branch.step}", branch.step
    if step > theirs.schedule.steps:
        raise ProxyError(
            f"{place}: {parent.name} ends after {theirs.schedule.steps} updates; branch earlier"
        )
    if step >= ours.schedule.steps:
        raise ProxyError(
            f"{place}: the schedule of {row.name} has {ours.schedule.steps} steps, so nothing is "
            "left to train; branch earlier or give it more steps"
        )
    if parent.parent is not None and step <= parent.parent.step:
        raise ProxyError(
            f"{place}: {parent.name} is itself a branch and begins at update {parent.parent.step}; "
            f"branch from {parent.parent.run}@{step}"
        )
    ours_lr, theirs_lr = ours.schedule.lr[:step], theirs.schedule.lr[:step]
    differ = ours_lr != theirs_lr
    if differ.any():
        first = int(np.argmax(differ))
        rates = float(theirs_lr[first]), float(ours_lr[first])
        raise ProxyError(
            f"{place}: the schedules differ before update {step}, first at step {first}: "
            f"{parent.name} has lr {rates[0]!r} and {row.name} {rates[1]!r}; make them equal up "
            "to there, or branch at that step or before"
        )
    mine, others = settings_of(ours, step), settings_of(theirs, step)
    for key, value in mine.items():
        if others[key] != value:
            raise ProxyError(
                f"{place}: {parent.name} has {key} = {others[key]!r} and {row.name} {value!r}; a "
                "branch differs from its parent in the schedule alone"
            )


def finished_runs(rows: Sequence[PlannedRun], members: Sequence[TrainingRun]) -> frozenset[str]:
    """The runs that are there already with the same settings; the others' places must be free.

    Raises:
        ScalingLawsError: naming the row, if a run could not be written where it belongs.
    """
    done = set()
    for row, member in zip(rows, members, strict=True):
        try:
            if is_finished(member):
                done.add(row.name)
            else:
                check_destination(member.destination, member.config)
        except ScalingLawsError as error:
            raise type(error)(f"{row.where}: {error}") from error
    return frozenset(done)
