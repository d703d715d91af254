"""Parameters of a law: names, supports, units, start ranges; solvers see free numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from numbers import Real
from types import MappingProxyType
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import LawError, UsageError, unknown_name

__all__ = [
    "FACTS",
    "TRACES",
    "Parameter",
    "Support",
    "check_facts",
    "check_parameters",
    "in_trace",
    "is_fact",
]

# numbers a set or run may state, with their smallest allowed value; laws may need them
FACTS: Mapping[str, float] = MappingProxyType(
    {"model_params": 1.0, "weight_decay": 0.0, "tokens_per_step": 1.0, "transfer_step": 1.0}
)
# quantities that a log may hold beside the loss and that laws may use at every step, with what they
# must be; a trace named like a fact stands for it, step by step
TRACES: Mapping[str, str] = MappingProxyType({"param_norm": "> 0", "weight_decay": ">= 0"})

Array = Any


class Support(Enum):
    """Where a parameter may lie."""

    POSITIVE = "> 0"
    UNIT = "in (0, 1)"
    REAL = "a real number"

    def constrain(self, free: Array) -> Array:
        """Unconstrained real number -> parameter.

        A number in (0, 1) is a forgetting factor here: ``1 - exp(-free)`` keeps digits near 1,
        where ``exp(free)`` is the number of steps remembered.
        """
        if self is Support.REAL:
            return free
        return jnp.exp(free) if self is Support.POSITIVE else -jnp.expm1(-free)

    def free(self, value: float) -> float:
        """Parameter -> unconstrained real number; inverse of `constrain`."""
        if self is Support.REAL:
            return value
        return math.log(value) if self is Support.POSITIVE else -math.log1p(-value)

    def holds(self, value: float) -> bool:
        """Whether a number lies in the support."""
        if self is Support.REAL:
            return math.isfinite(value)
        return 0.0 < value < (math.inf if self is Support.POSITIVE else 1.0)


@dataclass(frozen=True)
class Parameter:
    """One parameter of a law.

    Attributes:
        name: its name in the API and in law files.
        support: where it may lie.
        meaning: what it does, in words.
        unit: of the value in law files, with learning rates as they are logged.
        start: range that starts of a fit are drawn from, evenly in the unconstrained number (for
            positive ones, in the logarithm). For parameters whose unit holds a learning rate it is
            for schedules scaled to a peak of 1.
        bounds: range a fit may reach; ending on a bound is reported.
    """

    name: str
    support: Support
    meaning: str
    unit: str
    start: tuple[float, float] = (1.0, 1.0)
    bounds: tuple[float, float] = (1e-12, 1e12)


def is_fact(name: str, value: Any) -> bool:
    """Whether a value can be that fact: a finite number, not too small."""
    number = isinstance(value, Real) and not isinstance(value, bool)
    return number and FACTS[name] <= value < math.inf


def check_facts(facts: Mapping[str, float]) -> None:
    """Raise a UsageError for an unknown fact or a value that cannot be one."""
    for name, value in facts.items():
        if name not in FACTS:
            raise UsageError(unknown_name("fact", name, FACTS))
        if not is_fact(name, value):
            raise UsageError(f"{name}={value!r} must be a number >= {FACTS[name]:g}")


def in_trace(name: str, row: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which numbers that trace can hold: finite, and not too small."""
    return np.isfinite(row) & (row > 0 if TRACES[name] == "> 0" else row >= 0)


def check_parameters(
    law: str, parameters: tuple[Parameter, ...], values: Mapping[str, float]
) -> dict[str, float]:
    """The values in the order of the parameters.

    Raises:
        LawError: for missing, unknown or out-of-support values.
    """
    names = [parameter.name for parameter in parameters]
    for name in values:
        if name not in names:
            raise LawError(f"{law}: {unknown_name('parameter', name, names)}")
    checked = {}
    for parameter in parameters:
        if parameter.name not in values:
            raise LawError(f"{law}: parameter {parameter.name!r} is missing; it needs {names}")
        value = values[parameter.name]
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise LawError(f"{law}: parameter {parameter.name} is {value!r}, not a number")
        amplitude_zero = value == 0 and parameter.support is Support.POSITIVE
        if not (parameter.support.holds(value) or amplitude_zero) or not math.isfinite(value):
            raise LawError(
                f"{law}: parameter {parameter.name}={value!r} must be {parameter.support.value}"
            )
        checked[parameter.name] = float(value)
    return checked
