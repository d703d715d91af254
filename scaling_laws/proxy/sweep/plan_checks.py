"""Checks of a plan before anything starts: parents, shared prefixes, destinations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from scaling_laws.common import ProxyError, unknown_name
from scaling_laws.proxy.sweep.sweep_plan import Parent, PlannedRun, naming_run
from scaling_laws.proxy.training.checkpoints import settings_of
from scaling_laws.proxy.training.proxy_config import ProxyConfig
from scaling_laws.proxy.training.run_files import check_destination
from scaling_laws.proxy.training.training_run import TrainingRun, is_finished

__all__ = ["check_branches", "check_parents", "finished_runs"]


def check_parents(runs: Sequence[PlannedRun]) -> None:
    """Raise unless every parent is a run of the same set and no run descends from itself.

    Raises:
        ProxyError: naming the run and its `from`.
    """
    by_name = {run.name: run for run in runs}
    for run in runs:
        if run.parent is None:
            continue
        where = _where(run, run.parent)
        parent = by_name.get(run.parent.run)
        if parent is None:
            unknown = unknown_name("run", run.parent.run, by_name)
            raise ProxyError(f"{where}: {unknown}", value=run.parent.run)
        if parent.folder != run.folder:
            raise ProxyError(
                f"{where}: that run is written to {parent.folder} and this one to {run.folder}; a "
                "branch and its parent share a set, so give both the same out",
                value=run.parent.run,
            )
        _check_acyclic(where, run, by_name)


def _check_acyclic(where: str, run: PlannedRun, by_name: Mapping[str, PlannedRun]) -> None:
    ancestry = [run.name]
    while run.parent is not None and run.parent.run in by_name:
        if run.parent.run in ancestry:
            cycle = " -> ".join([*ancestry, run.parent.run])
            raise ProxyError(f"{where}: a run cannot descend from itself: {cycle}", value=cycle)
        ancestry.append(run.parent.run)
        run = by_name[run.parent.run]


def _where(run: PlannedRun, parent: Parent) -> str:
    return f"{run.where}, from: {parent.run}@{parent.step}"


def check_branches(runs: Sequence[PlannedRun], configs: Mapping[str, ProxyConfig]) -> None:
    """Raise unless every branch equals its parent up to its step, and has updates after it.

    Args:
        runs: with parents that `check_parents` has accepted.
        configs: run name -> configuration.

    Raises:
        ProxyError: naming the run, and the first step or the setting in which the two differ.
    """
    by_name = {run.name: run for run in runs}
    for run in runs:
        if run.parent is not None:
            parent = by_name[run.parent.run]
            _check_step(run, run.parent, parent, configs)
            _check_shared_prefix(run, run.parent, configs)


def _check_step(
    run: PlannedRun, branch: Parent, parent: PlannedRun, configs: Mapping[str, ProxyConfig]
) -> None:
    where, step = _where(run, branch), branch.step
    parent_steps = configs[parent.name].schedule.steps
    run_steps = configs[run.name].schedule.steps
    if step > parent_steps:
        raise ProxyError(
            f"{where}: {parent.name} ends after {parent_steps} updates; branch earlier", value=step
        )
    if step >= run_steps:
        raise ProxyError(
            f"{where}: the schedule of {run.name} has {run_steps} steps, so nothing is left to "
            "train; branch earlier or give it more steps",
            value=step,
        )
    if parent.parent is not None and step <= parent.parent.step:
        raise ProxyError(
            f"{where}: {parent.name} is itself a branch and begins at update {parent.parent.step}; "
            f"branch from {parent.parent.run}@{step}",
            value=step,
        )


def _check_shared_prefix(
    run: PlannedRun, branch: Parent, configs: Mapping[str, ProxyConfig]
) -> None:
    where, step = _where(run, branch), branch.step
    config, parent_config = configs[run.name], configs[branch.run]
    lr, parent_lr = config.schedule.lr[:step], parent_config.schedule.lr[:step]
    differ = lr != parent_lr
    if differ.any():
        first = int(np.argmax(differ))
        raise ProxyError(
            f"{where}: the schedules differ before update {step}, first at step {first}: "
            f"{branch.run} has lr {float(parent_lr[first])!r} and {run.name} "
            f"{float(lr[first])!r}; make them equal up to there, or branch at that step or earlier",
            value=float(lr[first]),
        )
    parent_settings = settings_of(parent_config, step)
    for key, value in settings_of(config, step).items():
        if parent_settings[key] != value:
            raise ProxyError(
                f"{where}: {branch.run} has {key} = {parent_settings[key]!r} and {run.name} "
                f"{value!r}; a branch may differ from its parent only in the schedule",
                value=value,
            )


def finished_runs(
    runs: Sequence[PlannedRun], training_runs: Sequence[TrainingRun]
) -> frozenset[str]:
    """Names of the runs that exist with the same settings; other destinations must be free.

    Raises:
        ScalingLawsError: naming the run, if it could not be written to its destination.
    """
    done = set()
    for planned, run in zip(runs, training_runs, strict=True):
        with naming_run(planned):
            if is_finished(run):
                done.add(planned.name)
            else:
                check_destination(run.destination, run.config)
    return frozenset(done)
