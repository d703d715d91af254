"""A point of a search box as the values of a reproducible spec."""

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
    """The values of a spec: those of the frame and those decoded from a point of the box.

    Numbers are rounded to four digits, steps to integers: the evaluated schedule is exactly that of
    the spec.
    """
    integer_keys = {key.name for key in family.keys if key.convert is count} | {"at"}
    decoded = {}
    for name, value in shape.values([float(number) for number in free], frame, np).items():
        convert = _to_int if name in integer_keys else _to_four_digits
        decoded[name] = _convert_items(convert, value)
        if name in RATES:  # rounding must not leave the frame
            decoded[name] = _convert_items(
                lambda rate: min(max(rate, frame.end_min), frame.peak), decoded[name]
            )
    return {"peak": frame.peak, "steps": frame.steps, "warmup": frame.warmup, **decoded}


def all_values(
    family: Family, shape: SearchBox, frame: SearchFrame, free: Sequence[Any], xp: Any
) -> dict[str, Any]:
    """All values of a family at a point of a shape's box, unrounded; traceable with jax.numpy."""
    frame_values = {"peak": frame.peak, "steps": frame.steps, "warmup": frame.warmup}
    return with_defaults(family, {**frame_values, **shape.values(free, frame, xp)})


def with_defaults(family: Family, values: dict[str, Any]) -> dict[str, Any]:
    """Values completed by the defaults of the other keys of a family."""
    return {**{key.name: key.default for key in family.keys}, **values}


def _convert_items(convert: Any, value: Any) -> Any:
    """Convert a value, or the items of a tuple."""
    return tuple(convert(item) for item in value) if isinstance(value, tuple) else convert(value)


def _to_int(value: Any) -> int:
    return round(float(value))


def _to_four_digits(value: Any) -> Any:
    return value if isinstance(value, str) else float(f"{float(value):.4g}")
