"""Templates in a plan: ``{key}`` stands for the value that the same row has under `key`."""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import TypeAlias

from scaling_laws.common import ProxyError, unknown_name
from scaling_laws.models import format_number

__all__ = ["Scalar", "fill", "format_value"]

Scalar: TypeAlias = str | int | float | bool


def format_value(value: Scalar) -> str:
    """The text of a value in a name: the shortest that reads back as the same number.

    >>> [format_value(value) for value in (2e-3, 1e-5, 4e3, 7, True, "adamw")]
    ['0.002', '1e-05', '4000', '7', 'true', 'adamw']
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value
    return format_number(value)


def fill(row: Mapping[str, Scalar], where: str) -> tuple[dict[str, Scalar], frozenset[str]]:
    """Replace every ``{key}`` in the strings of a row; a value may itself hold templates.

    Args:
        row: one value a key.
        where: the row's place in its file, for messages.

    Returns:
        The row without templates, and the keys that some template asked for.

    Raises:
        ProxyError: if a template names no key of the row, is malformed, or asks for itself.

    >>> fill({"name": "{size}_{peak}", "size": "nano", "peak": 2e-3}, "[[run]] 1")[0]["name"]
    'nano_0.002'
    """
    filled: dict[str, Scalar] = {}
    used: set[str] = set()

    def value_of(key: str, asking: tuple[str, ...]) -> Scalar:
        if key in asking:
            circle = " -> ".join([*asking[asking.index(key) :], key])
            raise ProxyError(f"{where}, {key}: its template asks for itself ({circle}); break it")
        if key not in filled:
            value = row[key]
            filled[key] = _text(key, value, asking) if isinstance(value, str) else value
        return filled[key]

    def _text(key: str, text: str, asking: tuple[str, ...]) -> str:
        try:
            pieces = list(string.Formatter().parse(text))
        except ValueError as error:
            raise ProxyError(
                f"{where}, {key}: {text!r} is no template ({error}); write {{key}}, or {{{{ for a "
                "brace"
            ) from None
        parts = []
        for literal, field, form, conversion in pieces:
            parts.append(literal)
            if field is None:
                continue
            if form or conversion or not field:
                raise ProxyError(
                    f"{where}, {key}: {text!r}: a template is a key in braces and nothing else, "
                    "e.g. {peak}"
                )
            if field not in row:
                raise ProxyError(f"{where}, {key}: {text!r}: {unknown_name('key', field, row)}")
            used.add(field)
            parts.append(format_value(value_of(field, (*asking, key))))
        return "".join(parts)

    for key in row:
        value_of(key, ())
    return filled, frozenset(used)
