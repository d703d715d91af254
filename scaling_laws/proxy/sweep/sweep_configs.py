"""From the runs of a plan to runs to train: the one place that knows the trainer's settings."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from scaling_laws.models import schedule
from scaling_laws.proxy.sweep.plan_templates import Scalar
from scaling_laws.proxy.sweep.sweep_plan import PlannedRun, naming_run
from scaling_laws.proxy.training.proxy_config import ProxyConfig
from scaling_laws.proxy.training.run_files import Destination
from scaling_laws.proxy.training.settings import (
    SETTINGS,
    config_of,
    normalized_settings,
    settings_as_text,
)
from scaling_laws.proxy.training.training_run import BranchPoint, TrainingRun

__all__ = ["command_of", "configs_of", "known_settings", "training_runs_of"]

PLACEHOLDER_SCHEDULE = "constant:peak=1e-3,steps=1"
GENERATED = ("stdlib", "synthetic", "stream")  # corpora that are not paths


def known_settings() -> tuple[str, ...]:
    """Names of the settings that a plan may have."""
    return tuple(setting.name for setting in SETTINGS)


def configs_of(runs: Sequence[PlannedRun], base: Path, cache: Path) -> dict[str, ProxyConfig]:
    """The configuration of every run; runs that differ only in schedule and seed share a corpus.

    Args:
        runs: of a plan.
        base: folder to which relative paths of texts and schedules refer.
        cache: folder for the tokens of texts, read once and shared by all processes.

    Returns:
        Run name -> configuration.

    Raises:
        ScalingLawsError: naming the run whose settings are not valid.
    """
    shared: dict[str, ProxyConfig] = {}
    configs: dict[str, ProxyConfig] = {}
    for run in runs:
        settings = {key: value for key, value in run.settings.items() if key != "schedule"}
        with naming_run(run):
            values = normalized_settings(settings)
            seed = values.pop("seed")
            settings |= _corpus_path(settings, base)
            key = repr(values)
            if key not in shared:
                placeholder = {"schedule": PLACEHOLDER_SCHEDULE}
                shared[key] = config_of(settings | placeholder, cache=cache)
            run_schedule = schedule(str(run.settings["schedule"]), base=base)
            configs[run.name] = replace(shared[key], schedule=run_schedule, seed=seed)
    return configs


def _corpus_path(settings: Mapping[str, Scalar], base: Path) -> dict[str, Scalar]:
    """The corpus relative to `base`, if it is a path."""
    corpus = settings.get("corpus")
    if not isinstance(corpus, str) or corpus.partition(":")[0] in GENERATED:
        return {}
    return {"corpus": str(base / corpus)}


def training_runs_of(
    runs: Sequence[PlannedRun],
    configs: Mapping[str, ProxyConfig],
    keep: Mapping[str, tuple[int, ...]],
    base: Path,
) -> list[TrainingRun]:
    """The runs to train, in the order of `runs`.

    Raises:
        ProxyError: naming the run, if it or one of its branches departs at a step without a logged
            loss.
    """
    training_runs = []
    for run in runs:
        parent = None
        if run.parent is not None:
            parent = BranchPoint(run.folder, run.parent.run, run.parent.step)
        with naming_run(run):
            training_run = TrainingRun(
                configs[run.name],
                Destination(run.folder, run.name),
                command=command_of(run, configs[run.name].precision, keep[run.name], base),
                license_text=run.license,
                parent=parent,
                keep=keep[run.name],
            )
        training_runs.append(training_run)
    return training_runs


def command_of(run: PlannedRun, precision: str, keep: Sequence[int], base: Path) -> str:
    """The command line that trains one run from the plan's folder, with every default explicit."""
    words = ["scaling-laws", "proxy", "train", "--schedule", str(run.settings["schedule"])]
    settings = {key: value for key, value in run.settings.items() if key != "schedule"}
    for key, value in settings_as_text(settings | {"precision": precision}).items():
        words += ["--" + key.replace("_", "-"), value]
    if run.parent is not None:
        words += ["--from", f"{run.parent.run}@{run.parent.step}"]
    if keep:
        words += ["--keep", ",".join(map(str, keep))]
    return shlex.join([*words, "--out", os.path.relpath(run.folder, base), "--name", run.name])
