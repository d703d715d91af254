"""Every exception of the package.

All derive from `ScalingLawsError`, which the command line turns into one message and exit code 2.
A message states what is wrong, where (file, row, column) and with which value, and how to correct
it. The same facts are attributes of the exception.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from scaling_laws.common.text import message_text

__all__ = [
    "DataError",
    "FitError",
    "LawError",
    "LawFileError",
    "MissingLibraryError",
    "OutputError",
    "ProxyError",
    "ScalingLawsError",
    "ScheduleError",
    "UnreadableFileError",
    "UsageError",
    "find_by_name",
    "unknown_name",
]


class ScalingLawsError(Exception):
    """Base of every error that a user can correct.

    Every subclass also derives from the built-in exception that fits, so that ``except ValueError``
    and ``except OSError`` work as expected.

    Args:
        message: what is wrong, where, and how to correct it; kept as one printable line.
        path: the file concerned, if any.
        row: row, line or record of that file, counted from 1; a header row counts.
        column: name of the column or key.
        value: the offending value.
    """

    def __init__(
        self,
        message: str = "",
        *,
        path: Path | str | None = None,
        row: int | None = None,
        column: str | None = None,
        value: Any = None,
    ) -> None:
        super().__init__(message_text(str(message)))
        self.path = None if path is None else str(path)
        self.row, self.column, self.value = row, column, value

    def __reduce__(self) -> tuple[Any, ...]:
        """Rebuild by a call of the class, for libraries that replace how exceptions are pickled."""
        # `ImportError` keeps its own ``path`` outside the dictionary.
        return type(self), self.args, {**self.__dict__, "path": self.path}


class UsageError(ScalingLawsError, ValueError):
    """The arguments of a call or of a command contradict each other or are out of range."""


class ScheduleError(ScalingLawsError, ValueError):
    """A schedule spec is malformed or does not describe a valid schedule."""


class DataError(ScalingLawsError, ValueError):
    """A loss curve, a log or a `dataset.toml` cannot be used as it is."""


class UnreadableFileError(DataError, OSError):
    """A file does not exist, or cannot be opened or read."""


class MissingLibraryError(DataError, ImportError):
    """An optional library that a file format needs is not installed."""


class LawError(ScalingLawsError, ValueError):
    """A law is unknown, lacks a required fact, or was given parameters outside their support."""


class LawFileError(ScalingLawsError, OSError, ValueError):
    """A law file cannot be read or is not valid."""


class FitError(ScalingLawsError, RuntimeError):
    """No start of a fit succeeded, or there are too few points."""


class OutputError(ScalingLawsError, OSError):
    """A result cannot be written to the given path."""


class ProxyError(ScalingLawsError, ValueError):
    """A proxy training run cannot be set up."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """The message for an unknown name: near matches first, then all known names.

    >>> print(unknown_name("schedule family", "cosin", ["linear", "cosine"]))
    unknown schedule family 'cosin'; did you mean 'cosine'? Known: cosine, linear
    """
    options = sorted(known)
    near = difflib.get_close_matches(name, options, n=2, cutoff=0.6)
    hint = f"; did you mean {' or '.join(repr(option) for option in near)}?" if near else "."
    return f"unknown {kind} {name!r}{hint} Known: {', '.join(options)}"


class Named(Protocol):
    """An entry of a registry: anything with a name."""

    @property
    def name(self) -> str:
        """The name by which it is looked up."""


Item = TypeVar("Item", bound=Named)


def find_by_name(
    kind: str, name: str, items: Iterable[Item], error: type[ScalingLawsError]
) -> Item:
    """Find an item by name.

    Raises:
        ScalingLawsError: of the type `error`, with the near matches, if there is no such item.
    """
    known = {item.name: item for item in items}
    if name not in known:
        raise error(unknown_name(kind, name, known), value=name)
    return known[name]
