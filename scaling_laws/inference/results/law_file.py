"""Law files: versioned JSON with numbers only, never code."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scaling_laws.common import LawError, LawFileError, write_text
from scaling_laws.inference.results.fitted_law import FitRecord, FittedLaw, InputRange, Range
from scaling_laws.inference.results.uncertainty import Uncertainty
from scaling_laws.models import AnyLaw, PointLaw, get_law

__all__ = ["FORMAT", "VERSION", "from_document", "load_law", "save_law", "to_document"]

FORMAT = "scaling-laws law"
VERSION = 2  # 1: no draws, one width of intervals everywhere
DIGITS = 9  # significant ones of a draw; a file of hundreds of draws stays small


def to_document(fitted: FittedLaw) -> dict[str, Any]:
    """The law as a JSON-able mapping."""
    law = fitted.law
    document: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "law": law.name,
        "params": dict(fitted.params),
        "formula": law.formula,
        "citation": law.citation,
        "units": {parameter.name: parameter.unit for parameter in law.parameters},
        "conventions": law.conventions,
        "facts": dict(fitted.facts),
        "uncertainty": None,
        "range": None,
        "fit": None,
    }
    if fitted.uncertainty is not None:
        document["uncertainty"] = vars(fitted.uncertainty).copy()
    if isinstance(fitted.range, InputRange):
        document["range"] = {
            "inputs": {name: list(ends) for name, ends in fitted.range.inputs.items()},
            "totals": {name: list(ends) for name, ends in fitted.range.totals.items()},
        }
    elif fitted.range is not None:
        document["range"] = {
            **vars(fitted.range),
            "peak_lr": list(fitted.range.peak_lr),
            "facts": {name: list(ends) for name, ends in fitted.range.facts.items()},
        }
    if fitted.record is not None:
        record = fitted.record
        document["fit"] = {
            **vars(record),
            # a measure that is not defined (R2 of a constant loss) is null: JSON has no NaN
            "runs": {
                name: {key: value if math.isfinite(value) else None for key, value in run.items()}
                for name, run in record.runs.items()
            },
            "sources": dict(record.sources),
            "warnings": list(record.warnings),
            "statuses": dict(record.statuses),
            "prior": {name: list(numbers) for name, numbers in record.prior.items()},
            "fixed": dict(record.fixed),
            "ties": dict(record.ties),
        }
    document["draws"] = {
        name: [float(f"{value:.{DIGITS}g}") for value in row] for name, row in fitted.draws.items()
    }
    return document


def from_document(document: Mapping[str, Any], where: str = "law") -> FittedLaw:
    """The law of a mapping made by `to_document`.

    Raises:
        LawFileError: if it is not one, or of a later version.
    """
    if not isinstance(document, Mapping) or document.get("format") != FORMAT:
        raise LawFileError(f'{where}: not a law file (no "format": "{FORMAT}")')
    version = document.get("version")
    if not isinstance(version, int) or not 1 <= version <= VERSION:
        raise LawFileError(
            f"{where}: version {version!r}; this program reads up to {VERSION}: update scaling-laws"
        )
    try:
        law = get_law(document["law"])
        if isinstance(law, PointLaw):
            law = law.expand_for_parameters(list(document["params"]))
        uncertainty, covered, record = (
            document.get(key) for key in ("uncertainty", "range", "fit")
        )
        return FittedLaw(
            law,
            document["params"],
            _uncertainty(uncertainty) if uncertainty else None,
            _range(law, covered) if covered else None,
            _record(record) if record else None,
            {name: _number(name, value) for name, value in document.get("facts", {}).items()},
            {
                name: np.array([_number(name, value) for value in row])
                for name, row in document.get("draws", {}).items()
            },
        )
    except LawError as error:
        raise LawFileError(f"{where}: {error}") from error
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise LawFileError(f"{where}: a damaged law file ({error!r})") from error


def _record(values: Mapping[str, Any]) -> FitRecord:
    runs = {
        name: {key: math.nan if value is None else value for key, value in run.items()}
        for name, run in values["runs"].items()
    }
    prior = {name: tuple(numbers) for name, numbers in values.get("prior", {}).items()}
    return FitRecord(
        **{**values, "runs": runs, "warnings": tuple(values["warnings"]), "prior": prior}
    )


def _uncertainty(values: Mapping[str, Any]) -> Uncertainty:
    error, folds = _number("log_error", values["log_error"]), _number("folds", values["folds"])
    if error < 0 or folds < 1:
        raise ValueError(f"log_error={error} must be >= 0 and folds={folds} >= 1")
    if "steady" not in values:  # version 1
        return Uncertainty.plain(str(values["method"]), error, int(folds))
    rest = {
        name: _number(name, values[name])
        for name in ("steady", "decayed", "curve_90", "final_90", "freedom")
    }
    if min(rest.values()) < 0 or rest["freedom"] <= 0:
        raise ValueError(f"the widths of intervals must be >= 0: {rest}")
    return Uncertainty(str(values["method"]), error, int(folds), **rest)


def _range(law: AnyLaw, values: Mapping[str, Any]) -> Range | InputRange:
    if isinstance(law, PointLaw):
        inputs = _ends(values["inputs"])
        if set(inputs) != set(law.input_names):
            raise ValueError(f"the range is of {sorted(inputs)}, not of {law.input_names}")
        return InputRange(inputs, _ends(values.get("totals", {})))
    low, high = (_number("peak_lr", value) for value in values["peak_lr"])
    steps, lowest = _number("steps", values["steps"]), _number("lowest_lr", values["lowest_lr"])
    fall = values.get("fastest_fall")
    return Range(
        (low, high),
        int(steps),
        lowest,
        _ends(values.get("facts", {})),
        None if fall is None else int(_number("fastest_fall", fall)),
    )


def _ends(pairs: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Lowest and highest values by name."""
    return {name: (_number(name, low), _number(name, high)) for name, (low, high) in pairs.items()}


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} is {value!r}, not a finite number")
    return float(value)


def save_law(fitted: FittedLaw, path: Path | str) -> Path:
    """Write a law file, whole or not at all.

    Raises:
        OutputError: if it cannot be written.
    """
    text = json.dumps(to_document(fitted), indent=1, ensure_ascii=False, allow_nan=False)
    return write_text(path, text + "\n")


def load_law(path: Path | str) -> FittedLaw:
    """Read a law file.

    Raises:
        LawFileError: if it is missing, not JSON, or not a law file.
    """
    file = Path(path)
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LawFileError(f"{file}: no such file") from None
    except json.JSONDecodeError as error:
        raise LawFileError(
            f"{file} line {error.lineno}: not JSON ({error.msg}); make it with scaling-laws fit"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise LawFileError(f"{file}: cannot be read: {error}") from error
    return from_document(document, str(file))
