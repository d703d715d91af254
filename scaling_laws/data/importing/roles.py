"""Which keys of a log are step, learning rate, loss, tokens and samples; ambiguity is an error."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from scaling_laws.common import DataError, UsageError, unknown_name
from scaling_laws.data.importing.options import Options
from scaling_laws.data.logs import LogTable
from scaling_laws.data.logs.keys import known_keys, loss_like, rate_like

__all__ = ["candidates", "find_roles", "useful_keys"]

SHOWN = 12  # keys in a message


def useful_keys(tables: Sequence[LogTable]) -> list[str]:
    """Keys under which numbers were logged, in the order of the files."""
    matches = dict.fromkeys(
        key
        for table in tables
        for key, column in table.columns.items()
        if column.rows.size and column.parse_error is None
    )
    return list(matches)


def candidates(role: str, tables: Sequence[LogTable], options: Options) -> list[str]:
    """Keys that may have a role, the preferred one first; one of several with the same values."""
    requested = getattr(options, f"{role}_key")
    all_keys = list(dict.fromkeys(key for table in tables for key in table.columns))
    if requested is not None:
        if requested not in all_keys:
            raise UsageError(
                f"{tables[0].source}: --{role}-key: {unknown_name('key', requested, all_keys)}",
                path=tables[0].source,
            )
        return [requested]
    if role == "step" and tables[0].step is not None:
        return [tables[0].step]
    matching_keys = known_keys(role, useful_keys(tables))
    if role == "lr" and options.lr_group is not None and matching_keys:
        in_group = [key for key in matching_keys if _group(key) == options.lr_group]
        if not in_group:
            raise UsageError(
                f"{tables[0].source}: --lr-group {options.lr_group}: no such group among "
                f"{', '.join(matching_keys)}",
                path=tables[0].source,
            )
        matching_keys = in_group
    if role == "loss":  # two losses with equal values are still two losses
        return matching_keys
    distinct: list[str] = []
    for key in matching_keys:
        if not any(_same(tables, key, other_key) for other_key in distinct):
            distinct.append(key)
    return distinct


def _group(key: str) -> int:
    """The number of a parameter group that a key names; the first one if it names none."""
    number = re.search(r"(\d+)\)?$", key)
    return int(number[1]) if number else 0


def _same(tables: Sequence[LogTable], key: str, other_key: str) -> bool:
    return all(
        key in table.columns
        and other_key in table.columns
        and np.array_equal(table.dense(key), table.dense(other_key), equal_nan=True)
        for table in tables
    )


def find_roles(tables: Sequence[LogTable], options: Options) -> Mapping[str, str]:
    """The key of each role that is present.

    Raises:
        UsageError: if a requested key does not exist, or several keys may have a role.
        DataError: if no key is recognised as the loss, or none as step, tokens or samples.
    """
    source = tables[0].source
    keys: dict[str, str] = {}
    for role in ("step", "loss", "lr"):
        matches = candidates(role, tables, options)
        if len(matches) > 1:
            group = " (or --lr-group N)" if role == "lr" else ""
            raise UsageError(
                f"{source}: several keys may be the {_word(role)}: {', '.join(matches)}; choose "
                f"one with --{role}-key{group}",
                path=source,
            )
        keys.update({role: matches[0]} if matches else {})
    for role in ("tokens", "samples"):
        matches = candidates(role, tables, options)
        keys.update({role: matches[0]} if matches else {})
    useful = useful_keys(tables)
    likely = list(dict.fromkeys([*loss_like(useful), *rate_like(useful), *useful]))
    shown = ", ".join(likely[:SHOWN]) + (", ..." if len(likely) > SHOWN else "")
    for role in ("loss", "step", *(["lr"] if options.schedule is None else [])):
        error = _parse_error(role, tables) if role not in keys else None
        if error is not None:
            raise error
    if "loss" not in keys:
        raise DataError(
            f"{source}: no key is recognised as a loss; choose one with --loss-key. The keys with "
            f"numbers are {shown}",
            path=source,
        )
    counted = ("samples" in keys and options.samples_per_step) or (
        "tokens" in keys and _tokens_per_step(options)
    )
    if "step" not in keys and not counted:
        raise DataError(
            f"{source}: no key is recognised as the step; choose one with --step-key, or give "
            "--samples-per-step or --tokens-per-step where samples or tokens are logged. The keys "
            f"with numbers are {shown}",
            path=source,
        )
    return keys


def _parse_error(role: str, tables: Sequence[LogTable]) -> DataError | None:
    """The error for the first key with the name of a role that contains a cell without a number."""
    for table in tables:
        for key in known_keys(role, table.columns):
            parse_error = table.columns[key].parse_error
            if parse_error is not None:
                return parse_error.as_error(table.source)
    return None


def _tokens_per_step(options: Options) -> int | None:
    if options.tokens_per_step is not None:
        return options.tokens_per_step
    if options.samples_per_step is not None and options.sequence_length is not None:
        return options.samples_per_step * options.sequence_length
    return None


def _word(role: str) -> str:
    return {"lr": "learning rate"}.get(role, role)
