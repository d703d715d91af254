"""Every exception of the package.

All derive from `ScalingLawsError`, which the command line turns into one message and exit code 2.
A message says what is wrong, where (file, row, column), echoes the value, and names the mend.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Protocol, TypeVar

__all__ = [
    "DataError",
    "FitError",
    "LawError",
    "LawFileError",
    "OutputError",
    "ProxyError",
    "ScalingLawsError",
    "ScheduleError",
    "UsageError",
    "find_by_name",
    "unknown_name",
]


class ScalingLawsError(Exception):
    """Base of every error that a user can mend."""


class UsageError(ScalingLawsError):
    """The words of a command or the arguments of a call do not fit together."""


class ScheduleError(ScalingLawsError):
    """A schedule spec is malformed or describes no valid schedule."""


class DataError(ScalingLawsError):
    """A loss curve or a `dataset.toml` cannot be used as it is."""


class LawError(ScalingLawsError):
    """A law is unknown, lacks a fact it needs, or got parameters outside their support."""


class LawFileError(ScalingLawsError):
    """A law file cannot be read."""


class FitError(ScalingLawsError):
    """No start of a fit succeeded."""


class OutputError(ScalingLawsError):
    """A result cannot be written where it was asked for."""


class ProxyError(ScalingLawsError):
    """A proxy training run cannot be set up."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """The message for a name that is in no list: near matches first, then the whole list.

    >>> print(unknown_name("schedule family", "cosin", ["linear", "cosine"]))
    unknown schedule family 'cosin'; did you mean 'cosine'? Known: cosine, linear
    """
    options = sorted(known)
    near = difflib.get_close_matches(name, options, n=2, cutoff=0.6)
    hint = f"; did you mean {' or '.join(repr(option) for option in near)}?" if near else "."
    return f"unknown {kind} {name!r}{hint} Known: {', '.join(options)}"


class Named(Protocol):
    """What a registry lists: anything with a name."""

    @property
    def name(self) -> str:
        """The name it is asked for by."""


Item = TypeVar("Item", bound=Named)


def find_by_name(
    kind: str, name: str, items: Iterable[Item], error: type[ScalingLawsError]
) -> Item:
    """The item of that name.

    Raises:
        ScalingLawsError: of the type `error`, with the near matches, if there is none.
    """
    known = {item.name: item for item in items}
    if name not in known:
        raise error(unknown_name(kind, name, known))
    return known[name]
