"""Runs made ready for a fit, on their way to another process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scaling_laws.common import LawError, Pool, UsageError
from scaling_laws.inference.fitting.fit_data import Data
from scaling_laws.models import Law, get_schedule_law

__all__ = ["Sent", "name_of", "received", "sent"]


@dataclass(frozen=True, eq=False)
class Sent:
    """`Data` with the name of its law in place of the law.

    A process compiles a law once and knows it again by identity; a copy would be another law.
    """

    law: str
    rest: Mapping[str, Any]


def name_of(law: Law) -> str:
    """The name by which other processes find a law.

    Raises:
        UsageError: if it is not one of the registered ones.
    """
    try:
        registered = get_schedule_law(law.name)
    except LawError:
        registered = None
    if registered is not law:
        raise UsageError(
            f"{law!r} is not in the list of laws, where other processes look it up; add it to LAWS "
            "(CONTRIBUTING.md), or take the local backend"
        )
    return law.name


def sent(data: Data, pool: Pool) -> Data | Sent:
    """The runs as calls of a pool are given them.

    Raises:
        UsageError: if they must travel, and the law is not one of the registered ones.
    """
    if pool.here:
        return data
    rest = {name: value for name, value in vars(data).items() if name != "law"}
    return Sent(name_of(data.law), rest)


def received(given: Data | Sent) -> Data:
    """The runs again, with this process's law."""
    if isinstance(given, Data):
        return given
    return Data(law=get_schedule_law(given.law), **given.rest)
