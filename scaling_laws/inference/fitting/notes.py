"""Doubts about a fit: plain text in its record, and Python warnings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scaling_laws.common import ScalingLawsWarning, warn

__all__ = ["Note", "issue_warnings"]


@dataclass(frozen=True)
class Note:
    """One doubt about a fit.

    Attributes:
        message: the text, as stored in the record of the fit.
        category: class of the Python warning.
    """

    message: str
    category: type[ScalingLawsWarning]


def issue_warnings(notes: Sequence[Note]) -> tuple[str, ...]:
    """Issue the notes as warnings that point at the caller of the package.

    Returns:
        The messages, for the record of the fit.
    """
    for note in notes:
        warn(note.message, note.category)
    return tuple(note.message for note in notes)
