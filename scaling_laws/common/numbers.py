"""Numbers as text: `float` and `int` also read ``1_000``, and digits of any script."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["are_plain", "to_float", "to_int"]


def are_plain(texts: Iterable[str]) -> bool:
    """Whether texts consist of ASCII characters other than ``_``."""
    joined = "".join(texts)
    return joined.isascii() and "_" not in joined


def to_float(text: str) -> float:
    """The number that a text states.

    Raises:
        ValueError: if it is not a number in ASCII digits, without ``_``.

    >>> to_float("1e-3")
    0.001
    """
    if not are_plain((text,)):
        raise ValueError(f"not a number: {text!r}")
    return float(text)


def to_int(text: str) -> int:
    """The whole number that a text states, in at most 18 digits.

    Raises:
        ValueError: if it is not one in ASCII digits, without ``_``.
    """
    if not are_plain((text,)) or len(text) > 30:
        raise ValueError(f"not a whole number: {text[:30]!r}")
    value = int(text)
    if abs(value) >= 10**18:
        raise ValueError(f"more than 18 digits: {text!r}")
    return value
