"""Schedule families and their specs: ``family:key=value,...`` -> the LR of every step.

Parts joined by ``+`` run one after another.

One file per family; see README.md in this folder for how to add one. `FAMILIES` contains the
families shipped here, those of plug-ins (entry-point group ``scaling_laws.schedules``) and
those added by `register_family`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scaling_laws.common import (
    MAX_STEPS,
    Registry,
    ScalingLawsError,
    ScheduleError,
    unknown_name,
)
from scaling_laws.models.schedules.constant import CONSTANT
from scaling_laws.models.schedules.cosine import COSINE
from scaling_laws.models.schedules.cosine_restarts import COSINE_RESTARTS
from scaling_laws.models.schedules.cyclic import CYCLIC
from scaling_laws.models.schedules.eight_one_one import EIGHT_ONE_ONE
from scaling_laws.models.schedules.exponential import EXPONENTIAL
from scaling_laws.models.schedules.family import (
    Family,
    Key,
    Schedule,
    SearchBox,
    SearchFrame,
    file_path,
    format_number,
)
from scaling_laws.models.schedules.from_csv import CSV, densify, write_schedule
from scaling_laws.models.schedules.infinite import INFINITE
from scaling_laws.models.schedules.inverse_linear import INVERSE_LINEAR
from scaling_laws.models.schedules.inverse_sqrt import INVERSE_SQRT
from scaling_laws.models.schedules.linear import LINEAR
from scaling_laws.models.schedules.lowered_linear import LOWERED_LINEAR
from scaling_laws.models.schedules.merging import (
    WSM,
    checkpoint_weights,
    decay_from_merge_weights,
    merge_weights_from_decay,
)
from scaling_laws.models.schedules.multistage import MULTISTAGE
from scaling_laws.models.schedules.one_cycle import ONE_CYCLE
from scaling_laws.models.schedules.power import POWER_DECAY
from scaling_laws.models.schedules.power_cool import POWER_COOL
from scaling_laws.models.schedules.power_scheduler import POWER_SCHEDULER
from scaling_laws.models.schedules.refined import REFINED, refine
from scaling_laws.models.schedules.rex import REX
from scaling_laws.models.schedules.uba import UBA
from scaling_laws.models.schedules.wsd import WSD
from scaling_laws.models.schedules.wsd_s import WSD_S

__all__ = [
    "FAMILIES",
    "Family",
    "Key",
    "Schedule",
    "SearchBox",
    "SearchFrame",
    "checkpoint_weights",
    "decay_from_merge_weights",
    "densify",
    "format_spec",
    "get_family",
    "merge_weights_from_decay",
    "reads_files",
    "refine",
    "register_family",
    "schedule",
    "write_schedule",
]

SHIPPED: tuple[Family, ...] = (
    CONSTANT,
    COSINE,
    LINEAR,
    WSD,
    MULTISTAGE,
    CSV,
    COSINE_RESTARTS,
    CYCLIC,
    EIGHT_ONE_ONE,
    EXPONENTIAL,
    INFINITE,
    INVERSE_LINEAR,
    INVERSE_SQRT,
    LOWERED_LINEAR,
    ONE_CYCLE,
    POWER_COOL,
    POWER_DECAY,
    POWER_SCHEDULER,
    REFINED,
    REX,
    UBA,
    WSD_S,
    WSM,
)
FAMILIES: Registry[Family] = Registry(
    "schedule family",
    SHIPPED,
    group="scaling_laws.schedules",
    record_type=Family,
    error=ScheduleError,
)
# a plus sign joins two parts only before `word:`, so that 1e+3 and most paths are not split
JOIN = re.compile(r"\s*\+\s*(?=\w*[A-Za-z_]\w*\s*:)")


def register_family(family: Family, *, replace: bool = False) -> Family:
    """Register a schedule family, so that specs and searches accept its name.

    Args:
        family: the family.
        replace: whether it may replace a family of the same name.

    Returns:
        The family.

    Raises:
        ScheduleError: if it is not a family, or its name is taken.
    """
    return FAMILIES.register(family, replace=replace)


def get_family(name: str) -> Family:
    """The registered family of that name.

    Raises:
        ScheduleError: listing the near matches if there is none.
    """
    return FAMILIES.find(name)


def schedule(spec: str, *, base: Path | str | None = None) -> Schedule:
    """The schedule of a spec.

    Args:
        spec: ``family:key=value,...``, e.g. ``wsd:peak=3e-4,steps=24000,decay_fraction=0.2``, or
            ``csv:PATH``, followed by ``,between=hold|linear`` if not every step has a row; the
            path of a file, or one that ends in ``.csv``, means the same.
            ``SPEC + SPEC`` runs one schedule after another, each with its own steps and warm-up:
            ``cosine:peak=3e-4,end=3e-5,steps=10000 +
            cosine:peak=1.5e-4,steps=5000,warmup=200,warmup_from=3e-5`` is a re-warm-up. A plus sign
            joins only in front of a word with a colon after it.
        base: folder that the relative path of a ``csv:`` or ``refined:`` spec starts from; default
            the current one.

    Returns:
        The learning rate of every step; `joins` contains the step at which each later part begins.

    Raises:
        ScheduleError: if the spec is malformed, with near matches for unknown words; of a joined
            spec, the message names the part.
        DataError: if a file that the spec names cannot be used.

    >>> schedule("linear:peak=1.0,steps=4").lr.tolist()
    [1.0, 0.75, 0.5, 0.25]
    >>> schedule("linear:peak=1.0,steps=2 + constant:peak=0.5,steps=1").lr.tolist()
    [1.0, 0.5, 0.5]
    """
    text = _with_csv(spec.strip(), base)
    parts = JOIN.split(text)
    if len(parts) == 1:
        return _single_schedule(text, base)
    plans: list[Schedule] = []
    joins: list[int] = []
    for number, part in enumerate(parts, start=1):
        try:
            plans.append(_single_schedule(part, base))
        except ScalingLawsError as error:
            message = str(error).removeprefix(f"{part}: ")
            raise type(error)(f"part {number} of {len(parts)} ({part}): {message}") from error
        joins.append((joins[-1] if joins else 0) + plans[-1].steps)
    if joins[-1] > MAX_STEPS:
        raise ScheduleError(f"{text}: {joins[-1]:,} is more than {MAX_STEPS:,} steps")
    return Schedule(text, np.concatenate([plan.lr for plan in plans]), tuple(joins[:-1]))


def _with_csv(text: str, base: Path | str | None) -> str:
    """A spec: the path of a CSV, with or without options, becomes ``csv:PATH``."""
    name, colon, _ = text.partition(":")
    if colon and name.strip() in FAMILIES:
        return text
    path, _ = _split_csv(text)
    is_path = path.lower().endswith(".csv") or os.path.isfile(Path(base or "") / path)
    return f"csv:{text}" if is_path and not JOIN.search(text) else text


def _single_schedule(text: str, base: Path | str | None) -> Schedule:
    """The schedule of a spec without joins."""
    name, colon, values_text = text.partition(":")
    family = get_family(name.strip())
    if not colon:
        raise ScheduleError(f"{text}: a spec is family:key=value,...; {_usage(family)}")
    values = {key.name: key.default for key in family.keys}
    values.update(
        _parse_csv(text, values_text) if family is CSV else _parse(text, family, values_text)
    )
    missing = [key.name for key in family.keys if key.required and values[key.name] is None]
    if missing:
        raise ScheduleError(f"{text}: {' and '.join(missing)} missing; {_usage(family)}")
    for key in family.keys:
        if key.convert is file_path and base is not None:
            values[key.name] = str(Path(base) / values[key.name])
    try:
        return Schedule(text, family.build(values))
    except ScheduleError as error:
        message = str(error)
        raise ScheduleError(message if text in message else f"{text}: {message}") from error
    except MemoryError as error:
        raise ScheduleError(f"{text}: too many steps for this machine's memory") from error


def reads_files(spec: str) -> bool:
    """Whether a spec names a file, so that its text alone does not give the rates."""
    names = (part.partition(":")[0].strip() for part in JOIN.split(spec))
    return any(
        key.convert is file_path
        for name in names
        if name in FAMILIES
        for key in FAMILIES[name].keys
    )


def format_spec(family: Family, values: Mapping[str, Any]) -> str:
    """The spec that parses to these values; keys with default values are omitted."""
    parts = []
    for key in family.keys:
        value = values.get(key.name, key.default)
        if value is None or (not key.required and value == key.default):
            continue
        if isinstance(value, tuple):
            text = "/".join(format_number(item) for item in value)
        else:
            text = value if isinstance(value, str) else format_number(value)
        parts.append(f"{key.name}={text}")
    return f"{family.name}:{','.join(parts)}"


def _parse(spec: str, family: Family, values_text: str) -> dict[str, Any]:
    keys = {key.name: key for key in family.keys}
    values: dict[str, Any] = {}
    for part in filter(None, (piece.strip() for piece in values_text.split(","))):
        name, equals, text = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise ScheduleError(f"{spec}: {part!r} is not key=value; {_usage(family)}")
        if name not in keys:
            raise ScheduleError(
                f"{spec}: {unknown_name(f'key of {family.name}', name, keys)}", value=name
            )
        if name in values:
            raise ScheduleError(f"{spec}: {name} is given twice; delete one", column=name)
        try:
            values[name] = keys[name].convert(text)
        except ValueError as error:
            raise ScheduleError(
                f"{spec}: {name}={text}: {error}", column=name, value=text
            ) from None
    return values


def _parse_csv(spec: str, values_text: str) -> dict[str, Any]:
    """`PATH[,between=...][,steps=...]`: the path may itself contain commas and equals signs."""
    path, options = _split_csv(values_text)
    if not path:
        raise ScheduleError(f"{spec}: the path is missing; {_usage(CSV)}")
    values = _parse(spec, CSV, ",".join(options))
    values["path"] = path
    return values


def _split_csv(text: str) -> tuple[str, list[str]]:
    """The path and the options of what follows ``csv:``."""
    options = []
    names = {key.name for key in CSV.keys} - {"path"}
    path = text.strip()
    while "," in path and path.rpartition(",")[2].partition("=")[0].strip() in names:
        path, _, option = path.rpartition(",")
        options.append(option)
    return path, options


def _usage(family: Family) -> str:
    if family is CSV:
        return "csv:PATH[,between=hold|linear][,steps=N]"
    keys = (f"{key.name}=" if key.required else f"[{key.name}=]" for key in family.keys)
    return f"{family.name}:{','.join(keys)}"
