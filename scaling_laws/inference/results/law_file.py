"""Law files: versioned JSON with numbers only, never code."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scaling_laws.common import (
    LawError,
    LawFileError,
    open_error,
    parse_json,
    read_text,
    write_text,
)
from scaling_laws.inference.results.law_schema import check_document
from scaling_laws.inference.results.ranges import InputRange, Range
from scaling_laws.inference.results.record import FitRecord
from scaling_laws.inference.results.state import AnyState, FitState
from scaling_laws.inference.results.uncertainty import Uncertainty
from scaling_laws.models import LAWS, AnyLaw, PointLaw, get_law

__all__ = ["FORMAT", "VERSION", "from_document", "read_state", "to_document", "write_state"]

FORMAT = "scaling-laws law"
# 1: no draws, one width of intervals everywhere; 2: other names of the error model, no log error
VERSION = 3
MAX_FILE_BYTES = 2**28  # 256 MiB: far more than the largest number of draws needs
DIGITS = 9  # significant digits of a draw, so that a file with hundreds of draws stays small
RENAMED = {"steady": "sigma_constant", "decayed": "sigma_decay", "freedom": "dof"}  # since 2


def to_document(fitted: AnyState) -> dict[str, Any]:
    """A fit as a mapping that JSON can represent; `points` is not part of it."""
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


def from_document(
    document: Mapping[str, Any], where: str = "law", law: AnyLaw | None = None
) -> AnyState:
    """The fit of a mapping made by `to_document`, of this version or an earlier one.

    Args:
        document: the mapping.
        where: where it comes from, for messages.
        law: the law, where it is not registered.

    Raises:
        LawFileError: if it is not such a mapping, of a later version, or of an unknown law.
    """
    if not isinstance(document, Mapping) or document.get("format") != FORMAT:
        raise LawFileError(f'{where}: not a law file (no "format": "{FORMAT}")', path=where)
    version = document.get("version")
    if not isinstance(version, int) or not 1 <= version <= VERSION:
        raise LawFileError(
            f"{where}: version {version!r}; this program reads up to {VERSION}: "
            "update scaling-laws",
            path=where,
            value=version,
        )
    try:
        check_document(document)
    except ValueError as error:
        raise LawFileError(f"{where}: a damaged law file: {error}", path=where) from error
    try:
        law = _law(document["law"], law, where)
        if isinstance(law, PointLaw):
            law = law.expand_for_parameters(list(document["params"]))
        uncertainty, covered, record = (
            document.get(key) for key in ("uncertainty", "range", "fit")
        )
        return FitState(
            law,
            document["params"],
            _uncertainty(uncertainty) if uncertainty else None,
            _range(law, covered) if covered else None,
            _record(record) if record else None,
            {name: float(value) for name, value in document.get("facts", {}).items()},
            {
                name: np.array(row, dtype=np.float64)
                for name, row in document.get("draws", {}).items()
            },
        )
    except LawFileError:
        raise
    except LawError as error:
        raise LawFileError(f"{where}: {error}", path=where) from error
    except (KeyError, TypeError, ValueError) as error:
        raise LawFileError(f"{where}: a damaged law file: {error}", path=where) from error


def _law(name: str, law: AnyLaw | None, where: str) -> AnyLaw:
    """The law of that name: the one given, or else the registered one."""
    if law is None:
        try:
            return get_law(name)
        except LawError as error:
            raise LawFileError(
                f"{where}: {error}. If {name!r} is a law of your own, register it "
                "(scaling_laws.register_law), install the plug-in that provides it, or pass it: "
                "load_law(path, law=...)",
                path=where,
                value=name,
            ) from error
    if law.name != name:
        raise LawFileError(f"{where}: a fit of {name}, not of {law.name}", path=where, value=name)
    return law


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
    values = {RENAMED.get(name, name): value for name, value in values.items()}
    method, error, folds = values["method"], float(values["log_error"]), int(values["folds"])
    if "sigma_constant" not in values:  # version 1
        return Uncertainty.plain(method, error, folds)
    names = ("sigma_constant", "sigma_decay", "curve_90", "final_90", "dof")
    missing = [name for name in names if name not in values]
    if missing:
        raise ValueError(f"uncertainty has no {', '.join(missing)}")
    return Uncertainty(method, error, folds, **{name: float(values[name]) for name in names})


def _range(law: AnyLaw, values: Mapping[str, Any]) -> Range | InputRange:
    if isinstance(law, PointLaw):
        inputs = _ends("inputs", values.get("inputs", {}))
        if set(inputs) != set(law.input_names):
            raise ValueError(f"the range is of {sorted(inputs)}, not of {law.input_names}")
        return InputRange(inputs, _ends("totals", values.get("totals", {})))
    if "peak_lr" not in values:
        raise ValueError(f"range is of a table, but {law.name} is a law of schedules")
    fall = values.get("fastest_fall")
    return Range(
        _ends("range", {"peak_lr": values["peak_lr"]})["peak_lr"],
        int(values["steps"]),
        float(values["lowest_lr"]),
        _ends("range.facts", values.get("facts", {})),
        None if fall is None else int(fall),
    )


def _ends(place: str, pairs: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Lowest and highest values by name."""
    for name, (low, high) in pairs.items():
        if low > high:
            raise ValueError(f"{place}.{name} is {[low, high]}: the lowest value comes first")
    return {name: (float(low), float(high)) for name, (low, high) in pairs.items()}


def write_state(fitted: AnyState, path: Path | str) -> Path:
    """Write a law file, whole or not at all.

    Raises:
        OutputError: if it cannot be written.
    """
    text = json.dumps(to_document(fitted), indent=1, ensure_ascii=False, allow_nan=False)
    return write_text(path, text + "\n")


def _hint(path: Path | str) -> str:
    """What to pass instead of a law file that does not exist."""
    name = str(path).partition(":")[0]
    law = LAWS.get(name)
    if law is None:
        return "make one with scaling-laws fit"
    labels = ", ".join(f"{name}:{label}" for label in law.published)
    return f"{name} is a law: fit it to runs (scaling-laws fit --law {name} --out LAW.json)" + (
        f", or use its published parameters: {labels} on the command line, "
        f"scaling_laws.published({name!r}, LABEL) in Python"
        if labels
        else ""
    )


def read_state(path: Path | str, law: AnyLaw | None = None) -> AnyState:
    """Read a law file.

    Args:
        path: of the file.
        law: the law, where it is not registered.

    Raises:
        LawFileError: if it is missing, not JSON, or not a law file.
    """
    file = Path(path)
    try:
        document = parse_json(read_text(file, max_bytes=MAX_FILE_BYTES))
    except FileNotFoundError:
        raise LawFileError(f"{file}: no such file; {_hint(path)}", path=file) from None
    except json.JSONDecodeError as error:
        raise LawFileError(
            f"{file} line {error.lineno}: not JSON ({error.msg}); make it with scaling-laws fit",
            path=file,
            row=error.lineno,
        ) from error
    except OSError as error:
        raise LawFileError(str(open_error(file, error)), path=file) from error
    except ValueError as error:
        raise LawFileError(f"{file}: not a law file: {error}", path=file) from error
    return from_document(document, str(file), law)
