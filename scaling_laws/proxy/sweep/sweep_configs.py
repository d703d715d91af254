"""From the rows of a plan to members of fleets: the one place that knows the trainer's settings."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from scaling_laws.common import ScalingLawsError
from scaling_laws.models import schedule
from scaling_laws.proxy.sweep.plan_templates import Scalar
from scaling_laws.proxy.sweep.sweep_plan import PlannedRun
from scaling_laws.proxy.training.proxy_config import ProxyConfig
from scaling_laws.proxy.training.run_files import Destination
from scaling_laws.proxy.training.settings import (
    SETTINGS,
    config_of,
    normalized_settings,
    settings_as_text,
)
from scaling_laws.proxy.training.training_run import BranchPoint, TrainingRun

__all__ = ["command_of", "configs_of", "known_settings", "members_of"]

ANY_SCHEDULE = "constant:peak=1e-3,steps=1"
MADE = ("stdlib", "synthetic", "stream")  # corpora that are no paths


def known_settings() -> tuple[str, ...]:
    """Names of the settings that a plan may have."""
    return tuple(setting.name for setting in SETTINGS)


def configs_of(rows: Sequence[PlannedRun], base: Path, cache: Path) -> dict[str, ProxyConfig]:
    """The configuration of every row; rows that differ in schedule and seed alone share a corpus.

    Args:
        rows: of a plan.
        base: folder that relative paths of texts and schedules start from.
        cache: folder for the tokens of texts, read once and shared by all processes.

    Returns:
        Run name -> configuration.

    Raises:
        ScalingLawsError: naming the row, if one describes no run.
    """
    shared: dict[str, ProxyConfig] = {}
    found: dict[str, ProxyConfig] = {}
    for row in rows:
        settings = {key: value for key, value in row.settings.items() if key != "schedule"}
        try:
            values = normalized_settings(settings)
            seed = values.pop("seed")
            settings |= _placed(settings, base)
            if repr(values) not in shared:
                shared[repr(values)] = config_of(settings | {"schedule": ANY_SCHEDULE}, cache=cache)
            rates = schedule(str(row.settings["schedule"]), base=base)
            found[row.name] = replace(shared[repr(values)], schedule=rates, seed=seed)
        except ScalingLawsError as error:
            raise type(error)(f"{row.where}: {error}") from error
    return found


def _placed(settings: Mapping[str, Scalar], base: Path) -> dict[str, Scalar]:
    """The corpus, where it is a path: it starts from `base`."""
    corpus = settings.get("corpus")
    if not isinstance(corpus, str) or corpus.partition(":")[0] in MADE:
        return {}
    return {"corpus": str(base / corpus)}


def members_of(
    rows: Sequence[PlannedRun],
    configs: Mapping[str, ProxyConfig],
    keep: Mapping[str, tuple[int, ...]],
    base: Path,
) -> list[TrainingRun]:
    """The members that train rows.

    Raises:
        ProxyError: naming the row, if it or a branch of it leaves the other's path at a step that
            is no end of a window.
    """
    members = []
    for row in rows:
        parent = None
        if row.parent is not None:
            parent = BranchPoint(row.folder, row.parent.run, row.parent.step)
        try:
            members.append(
                TrainingRun(
                    configs[row.name],
                    Destination(row.folder, row.name),
                    command=command_of(row, configs[row.name].precision, keep[row.name], base),
                    license_text=row.license,
                    parent=parent,
                    keep=keep[row.name],
                )
            )
        except ScalingLawsError as error:
            raise type(error)(f"{row.where}: {error}") from error
    return members


def command_of(row: PlannedRun, precision: str, keep: Sequence[int], base: Path) -> str:
    """The command line that trains a row alone, from the plan's folder, every default spelt out."""
    words = ["scaling-laws", "proxy", "train", "--schedule", str(row.settings["schedule"])]
    settings = {key: value for key, value in row.settings.items() if key != "schedule"}
    for key, value in settings_as_text(settings | {"precision": precision}).items():
        words += ["--" + key.replace("_", "-"), value]
    if row.parent is not None:
        words += ["--from", f"{row.parent.run}@{row.parent.step}"]
    if keep:
        words += ["--keep", ",".join(map(str, keep))]
    return shlex.join([*words, "--out", os.path.relpath(row.folder, base), "--name", row.name])
