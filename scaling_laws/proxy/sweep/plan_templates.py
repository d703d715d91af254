"""Templates in a plan: ``{key}`` is replaced by the value of `key` of the same run."""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import TypeAlias

from scaling_laws.common import ProxyError, unknown_name
from scaling_laws.models import format_number

__all__ = ["Scalar", "fill", "format_value"]

Scalar: TypeAlias = str | int | float | bool


def format_value(value: Scalar) -> str:
    """A value as text: the shortest that reads back as the same number.

    >>> [format_value(value) for value in (2e-3, 1e-5, 4e3, 7, True, "adamw")]
    ['0.002', '1e-05', '4000', '7', 'true', 'adamw']
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value
    return format_number(value)


def fill(values: Mapping[str, Scalar], where: str) -> tuple[dict[str, Scalar], frozenset[str]]:
    """Replace every ``{key}`` in strings; the values inserted may contain templates themselves.

    Args:
        values: one value per key.
        where: location in the plan's file, for messages.

    Returns:
        The values without templates, and the keys that templates refer to.

    Raises:
        ProxyError: if a template refers to an unknown key or to itself, or is malformed.

    >>> fill({"name": "{size}_{peak}", "size": "nano", "peak": 2e-3}, "[[run]] 1")[0]["name"]
    'nano_0.002'
    """
    filled: dict[str, Scalar] = {}
    used: set[str] = set()

    def value_of(key: str, stack: tuple[str, ...]) -> Scalar:
        if key in stack:
            cycle = " -> ".join([*stack[stack.index(key) :], key])
            raise ProxyError(
                f"{where}, {key}: its template refers to itself ({cycle}); break the cycle",
                value=cycle,
            )
        if key not in filled:
            value = values[key]
            filled[key] = substituted(key, value, stack) if isinstance(value, str) else value
        return filled[key]

    def substituted(key: str, text: str, stack: tuple[str, ...]) -> str:
        try:
            pieces = list(string.Formatter().parse(text))
        except ValueError as error:
            raise ProxyError(
                f"{where}, {key}: {text!r} is not a valid template ({error}); write {{key}}, or "
                "{{ for a brace",
                value=text,
            ) from None
        parts = []
        for literal, field, form, conversion in pieces:
            parts.append(literal)
            if field is None:
                continue
            if form or conversion or not field:
                raise ProxyError(
                    f"{where}, {key}: {text!r}: a template is a key in braces and nothing else, "
                    "e.g. {peak}",
                    value=text,
                )
            if field not in values:
                unknown = unknown_name("key", field, values)
                raise ProxyError(f"{where}, {key}: {text!r}: {unknown}", value=field)
            used.add(field)
            parts.append(format_value(value_of(field, (*stack, key))))
        return "".join(parts)

    for key in values:
        value_of(key, ())
    return filled, frozenset(used)
