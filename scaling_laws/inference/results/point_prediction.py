"""Predictions of tabular laws: the loss at a model size and a number of tokens, and the like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling_laws.common import LawError, unknown_name
from scaling_laws.inference.results.html import html_page, html_table
from scaling_laws.inference.results.state import PointState
from scaling_laws.inference.results.uncertainty import Uncertainty, interval_around
from scaling_laws.models import PointLaw, in_float64

__all__ = [
    "PointPrediction",
    "at",
    "check_inputs",
    "check_output",
    "compiled_value",
    "predict_points",
]

Array = NDArray[np.float64]
MAX_ROWS = 20  # in a notebook


@dataclass(frozen=True, eq=False, repr=False)
class PointPrediction:
    """Predictions of a tabular law; behaves like the array of values.

    Attributes:
        law: the law.
        inputs: by name, all of one shape.
        value: its output, in the law's unit, of that shape.
        uncertainty: from the fit, if it was measured.
        notes: where the inputs lie outside the range of the fit.
    """

    law: PointLaw
    inputs: Mapping[str, Array]
    value: Array
    uncertainty: Uncertainty | None = None
    notes: tuple[str, ...] = ()

    def interval(self, level: float = 0.9) -> tuple[Array, Array]:
        """Lower and upper ends of intervals for unseen measurements.

        Raises:
            LawError: if the law has no uncertainty, or `level` is not between 0 and 1.
        """
        return interval_around(self.value, self.uncertainty, level)

    def to_frame(self, level: float = 0.9) -> Any:
        """A pandas DataFrame with one row per point: inputs, value and, if known, lower and upper.

        Raises:
            LawError: if `level` is not between 0 and 1.
        """
        import pandas as pd

        columns = {**self.inputs, self.law.output: self.value}
        if self.uncertainty is not None:
            columns["lower"], columns["upper"] = self.interval(level)
        return pd.DataFrame({name: np.reshape(row, -1) for name, row in columns.items()})

    def __repr__(self) -> str:
        if self.value.size != 1:
            return (
                f"PointPrediction({self.law.name}: {self.value.size} values of {self.law.output})"
            )
        inputs = ", ".join(f"{name}={row.item():g}" for name, row in self.inputs.items())
        text = f"{self.law.output} {self.value.item():.6g} {self.law.unit}"
        if self.uncertainty is not None:
            low, high = self.interval(0.9)
            text += f", 90 % interval {low.item():.6g} to {high.item():.6g}"
        return f"PointPrediction({self.law.name} at {inputs}: {text})"

    def _repr_html_(self) -> str:
        frame = self.to_frame()
        rows = [[f"{value:.6g}" for value in row] for row in frame.head(MAX_ROWS).to_numpy()]
        table = html_table(tuple(frame.columns), rows)
        omitted = self.value.size - len(rows)
        notes = (f"{omitted} more rows",) if omitted else ()
        return html_page(f"{self.law.name}: {self.law.output}", [table], (*self.notes, *notes))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self.value, dtype=dtype, copy=copy)


def check_inputs(law: PointLaw, inputs: Mapping[str, ArrayLike]) -> dict[str, Array]:
    """The inputs as arrays of one shape.

    Raises:
        LawError: for missing, unknown or out-of-range inputs.
    """
    for name in inputs:
        if name not in law.input_names:
            raise LawError(
                f"{law.name}: {unknown_name('input', name, law.input_names)}", value=name
            )
    arrays = {}
    for item in law.inputs:
        if item.name not in inputs:
            raise LawError(f"{law.name} needs {item.name} ({item.meaning})")
        try:
            values = np.asarray(inputs[item.name], dtype=float)
        except (TypeError, ValueError):
            raise LawError(
                f"{law.name}: {item.name}={inputs[item.name]!r} is not a number"
            ) from None
        wrong = ~(np.isfinite(values) & (values >= item.low) & (values <= item.high))
        if wrong.any():
            value = values[wrong].flat[0] if values.ndim else float(values)
            raise LawError(
                f"{law.name}: {item.name}={value:g} must be finite and lie in "
                f"[{item.low:g}, {item.high:g}]"
            )
        arrays[item.name] = values
    try:
        together = np.broadcast_arrays(*arrays.values())
    except ValueError:
        shapes = {name: values.shape for name, values in arrays.items()}
        raise LawError(f"{law.name}: inputs do not fit together: {shapes}") from None
    return {name: np.array(values) for name, values in zip(arrays, together, strict=True)}


def check_output(law: PointLaw, inputs: Mapping[str, Array], output: ArrayLike) -> Array:
    """Measured outputs as an array of the shape of checked inputs, a row.

    Raises:
        LawError: if they are not finite numbers > 0 in that shape.
    """
    try:
        observed = np.asarray(output, dtype=float)
    except (TypeError, ValueError):
        raise LawError(f"{law.name}: column {law.output!r} contains non-numeric values") from None
    shapes = {row.shape for row in (*inputs.values(), observed)}
    if len(shapes) != 1 or observed.ndim != 1:
        raise LawError(f"{law.name}: columns must be rows of one length, not {shapes}")
    if not (np.isfinite(observed) & (observed > 0)).all():
        raise LawError(f"{law.name}: {law.output} must be finite and > 0 in every row")
    return observed


@cache
def compiled_value(law: PointLaw) -> Any:
    """(params, inputs) -> output, compiled once for each number of points."""
    return jax.jit(law.value)


@in_float64
def predict_points(
    law: PointLaw, params: Mapping[str, float], inputs: Mapping[str, Array]
) -> Array:
    """The law's output at inputs of shape (points,)."""
    return np.asarray(compiled_value(law)(dict(params), dict(inputs)))


def at(fitted: PointState, inputs: Mapping[str, ArrayLike]) -> PointPrediction:
    """The value of a tabular law at some inputs.

    Args:
        fitted: the law.
        inputs: numbers or arrays that broadcast together, by name.

    Returns:
        The law's output at the inputs, of their common shape.

    Raises:
        LawError: for missing, unknown or out-of-range inputs, or a value that is not finite.
    """
    law = fitted.law
    arrays = check_inputs(law, inputs)
    flat = {name: values.reshape(-1) for name, values in arrays.items()}
    shape = next(iter(arrays.values())).shape
    value = predict_points(law, fitted.params, flat).reshape(shape)
    if not np.isfinite(value).all():
        first = int(np.argmin(np.isfinite(value.reshape(-1))))
        where = ", ".join(f"{name}={row[first]:g}" for name, row in flat.items())
        raise LawError(
            f"{law.name} predicts {value.flat[first]} at {where}: these inputs are outside the "
            "domain of the law; use inputs like those of the fitted table"
        )
    notes = () if fitted.range is None else tuple(fitted.range.departures(arrays))
    return PointPrediction(law, arrays, value, fitted.uncertainty, notes)
