"""What a fitted law of single numbers gives: a loss for a model size and tokens, and the like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling_laws.common import LawError, unknown_name
from scaling_laws.inference.results.fitted_law import FittedLaw, InputRange
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


@dataclass(frozen=True, eq=False)
class PointPrediction:
    """Predictions of a point law; behaves as the array of values.

    Attributes:
        law: the law.
        inputs: what it was evaluated at, by name, of one shape.
        value: its output, in the law's unit, of that shape.
        uncertainty: from the fit, if it was measured.
        notes: where the inputs leave the range of the fit.
    """

    law: PointLaw
    inputs: Mapping[str, Array]
    value: Array = field(repr=False)
    uncertainty: Uncertainty | None = None
    notes: tuple[str, ...] = ()

    def interval(self, level: float = 0.9) -> tuple[Array, Array]:
        """Lower and upper ends of intervals for unseen measurements.

        Raises:
            LawError: if the law has no uncertainty, or `level` is not between 0 and 1.
        """
        return interval_around(self.value, self.uncertainty, level)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self.value, dtype=dtype, copy=copy)


def check_inputs(law: PointLaw, inputs: Mapping[str, ArrayLike]) -> dict[str, Array]:
    """The inputs as arrays of one shape.

    Raises:
        LawError: for missing, unknown or out-of-range inputs.
    """
    for name in inputs:
        if name not in law.input_names:
            raise LawError(f"{law.name}: {unknown_name('input', name, law.input_names)}")
    arrays = {}
    for each in law.inputs:
        if each.name not in inputs:
            raise LawError(f"{law.name} needs {each.name} ({each.meaning})")
        try:
            values = np.asarray(inputs[each.name], dtype=float)
        except (TypeError, ValueError):
            raise LawError(f"{law.name}: {each.name}={inputs[each.name]!r} is no number") from None
        wrong = ~(np.isfinite(values) & (values >= each.low) & (values <= each.high))
        if wrong.any():
            value = values[wrong].flat[0] if values.ndim else float(values)
            raise LawError(
                f"{law.name}: {each.name}={value:g} must be finite and lie in "
                f"[{each.low:g}, {each.high:g}]"
            )
        arrays[each.name] = values
    try:
        together = np.broadcast_arrays(*arrays.values())
    except ValueError:
        shapes = {name: values.shape for name, values in arrays.items()}
        raise LawError(f"{law.name}: inputs do not fit together: {shapes}") from None
    return {name: np.array(values) for name, values in zip(arrays, together, strict=True)}


def check_output(law: PointLaw, inputs: Mapping[str, Array], output: ArrayLike) -> Array:
    """Measured outputs as an array of the shape of checked inputs, a row.

    Raises:
        LawError: if they are no such row of finite numbers > 0.
    """
    try:
        observed = np.asarray(output, dtype=float)
    except (TypeError, ValueError):
        raise LawError(f"{law.name}: {law.output} holds what is no number") from None
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


def at(fitted: FittedLaw, inputs: Mapping[str, ArrayLike]) -> PointPrediction:
    """What a law of single numbers gives.

    Args:
        fitted: the law.
        inputs: numbers or arrays that broadcast together, by name.

    Returns:
        The law's output at the inputs, of their common shape.

    Raises:
        LawError: if the law needs a schedule, or for missing, unknown or out-of-range inputs.
    """
    law = fitted.point_law
    arrays = check_inputs(law, inputs)
    flat = {name: values.reshape(-1) for name, values in arrays.items()}
    shape = next(iter(arrays.values())).shape
    value = predict_points(law, fitted.params, flat).reshape(shape)
    covered = fitted.range
    notes = tuple(covered.leaves(arrays)) if isinstance(covered, InputRange) else ()
    return PointPrediction(law, arrays, value, fitted.uncertainty, notes)
