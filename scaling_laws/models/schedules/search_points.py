"""A point of a shape's box as the spec of a schedule that anybody can build again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from scaling_laws.models.schedules.family import Family, SearchBox, SearchFrame, count

__all__ = ["all_values", "member_values", "with_defaults"]

RATES = frozenset({"end", "to"})  # keys of specs that are learning rates


def member_values(
    family: Family, shape: SearchBox, frame: SearchFrame, free: Iterable[float]
) -> dict[str, Any]:
    """The values of a spec: those of the frame and those that a point of the box decodes to.

    Numbers are rounded to four digits, steps to integers: the spec is exactly what is evaluated.
    """
    whole = {key.name for key in family.keys if key.convert is count} | {"at"}
    decoded = {}
    for name, value in shape.values([float(number) for number in free], frame, np).items():
        convert = _whole if name in whole else _short
        decoded[name] = _each(convert, value)
        if name in RATES:  # rounding must not leave the frame
            decoded[name] = _each(
                lambda rate: min(max(rate, frame.end_min), frame.peak), decoded[name]
            )
    return {"peak": frame.peak, "steps": frame.steps, "warmup": frame.warmup, **decoded}


def all_values(
    family: Family, shape: SearchBox, frame: SearchFrame, free: Sequence[Any], xp: Any
) -> dict[str, Any]:
    """All values of a family at a point of a shape's box, unrounded; traceable with jax.numpy."""
    given = {"peak": frame.peak, "steps": frame.steps, "warmup": frame.warmup}
    return with_defaults(family, {**given, **shape.values(free, frame, xp)})


def with_defaults(family: Family, values: dict[str, Any]) -> dict[str, Any]:
    """All values of a family: those given, and the defaults of its other keys."""
    return {**{key.name: key.default for key in family.keys}, **values}


def _each(convert: Any, value: Any) -> Any:
    """A value converted, or each of a row of them."""
    return tuple(convert(item) for item in value) if isinstance(value, tuple) else convert(value)


def _whole(value: Any) -> int:
    return round(float(value))


def _short(value: Any) -> Any:
    return value if isinstance(value, str) else float(f"{float(value):.4g}")
