"""The schema of law files (JSON Schema, draft 7), and the check of a document against it.

It describes versions 1 to 3. What depends on the law, such as the names of its parameters, is
checked by `FitState`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from scaling_laws.common import MAX_STEPS, shown

__all__ = ["SCHEMA", "check_document"]

NOUNS = {
    "number": "a number",
    "integer": "a whole number",
    "string": "text",
    "object": "an object",
    "array": "a list",
}
MAX_DRAWS = 10_000
MAX_WARNINGS = 10_000

# integers of JSON have any length
FINITE = {"type": "number", "minimum": -1.7976931348623157e308, "maximum": 1.7976931348623157e308}
FREEDOM = {"type": "number", "minimum": 1, "maximum": 1e9}
# of what is not a parameter: far beyond any measurement, and sums of squares of it are finite
MEASURE = {"type": "number", "minimum": -1e100, "maximum": 1e100}
# errors of log losses: a factor of exp(10) at most, so that every interval is finite
LOG_ERROR = {"type": "number", "minimum": 0, "maximum": 10}
WIDTH = {"type": "number", "minimum": 0, "maximum": 1000}
COUNT = {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}
STEPS = {"type": "integer", "minimum": 0, "maximum": MAX_STEPS}
TEXT = {"type": "string"}


def _mapping(values: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": values}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "type": [schema["type"], "null"]}  # other rules apply to that type only


def _row(*items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": list(items), "minItems": len(items), "maxItems": len(items)}


PAIR = _row(MEASURE, MEASURE)
NUMBERS = _mapping(MEASURE)
UNCERTAINTY = {
    "type": "object",
    "required": ["method", "log_error", "folds"],
    "properties": {
        "method": TEXT,
        "log_error": LOG_ERROR,
        "folds": {**COUNT, "minimum": 1},
        **{name: LOG_ERROR for name in ("sigma_constant", "sigma_decay")},
        **{name: LOG_ERROR for name in ("steady", "decayed")},  # version 2
        **{name: WIDTH for name in ("curve_90", "final_90")},
        **{name: FREEDOM for name in ("dof", "freedom")},  # the latter in version 2
    },
}
CURVE_RANGE = {
    "type": "object",
    "required": ["peak_lr", "steps", "lowest_lr"],
    "properties": {
        "peak_lr": _row({**MEASURE, "minimum": 0}, {**MEASURE, "minimum": 0}),
        "steps": STEPS,
        "lowest_lr": {**MEASURE, "minimum": 0},
        "fastest_fall": _or_null(STEPS),
        "facts": _mapping(PAIR),
    },
}
POINT_RANGE = {
    "type": "object",
    "required": ["inputs"],
    "properties": {"inputs": _mapping(PAIR), "totals": _mapping(PAIR)},
}
RECORD = {
    "type": "object",
    "required": [
        *("objective", "huber_delta", "n_points", "starts", "starts_at_best", "seconds", "seed"),
        *("from_step", "runs", "sources", "warnings"),
    ],
    "properties": {
        **{name: MEASURE for name in ("objective", "huber_delta", "seconds")},
        **{name: COUNT for name in ("n_points", "starts", "starts_at_best", "seed")},
        **{
            name: _or_null(MEASURE)
            for name in ("lowest", "condition", "log_error", "effective_points")
        },
        **{name: TEXT for name in ("minimised", "prior_source", "solver")},
        "from_step": {**COUNT, "type": ["integer", "string"], "pattern": "^warmup$"},
        "runs": _mapping(
            {
                **_mapping(_or_null(MEASURE)),
                "required": ["n"],
                "properties": {"n": {**MEASURE, "minimum": 0}},
            }
        ),
        "sources": _mapping(TEXT),
        "warnings": {"type": "array", "items": TEXT, "maxItems": MAX_WARNINGS},
        "statuses": _mapping(COUNT),
        "prior": _mapping(_row(MEASURE, MEASURE, MEASURE)),
        "fixed": NUMBERS,
        "ties": _mapping(TEXT),
    },
    "additionalProperties": False,
}
SCHEMA: dict[str, Any] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "title": "law file of scaling-laws",
    "type": "object",
    "required": ["format", "version", "law", "params"],
    "properties": {
        "law": TEXT,
        "params": _mapping(FINITE),
        "formula": TEXT,
        "citation": TEXT,
        "units": _mapping(TEXT),
        "conventions": TEXT,
        "facts": NUMBERS,
        "uncertainty": _or_null(UNCERTAINTY),
        "range": {
            "if": {"required": ["inputs"], "type": "object"},
            "then": POINT_RANGE,
            "else": _or_null(CURVE_RANGE),
        },
        "fit": _or_null(RECORD),
        "draws": _mapping({"type": "array", "items": MEASURE, "maxItems": MAX_DRAWS}),
    },
}


@cache
def _validator() -> Any:
    import fastjsonschema  # here: it compiles the schema, which commands without a law need not

    return fastjsonschema.compile(SCHEMA, use_default=False)


def _check_finite(value: Any, place: str) -> None:
    """Raise for a number that JSON does not have, but Python reads."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{place} is {value}, not a finite number")
    if isinstance(value, Mapping):
        for name, item in value.items():
            _check_finite(item, f"{place}.{name}" if place else str(name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_finite(item, f"{place}.{index}")


def check_document(document: Any) -> None:
    """Check a law file's content against `SCHEMA`.

    Raises:
        ValueError: naming the place, the value and the rule.
    """
    from fastjsonschema import JsonSchemaValueException

    _check_finite(document, "")
    try:
        _validator()(document)
    except JsonSchemaValueException as error:
        place = ".".join(str(part) for part in error.path[1:]) or "the document"
        rule = error.message.removeprefix(error.name or "").strip()
        for word, noun in NOUNS.items():
            rule = re.sub(rf"\bbe {word}\b", f"be {noun}", rule)
        raise ValueError(f"{place} is {shown(error.value)}: it {rule}") from None
