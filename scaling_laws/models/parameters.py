"""Parameters of a law: names, supports, units, start ranges; solvers use unconstrained values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from numbers import Real
from types import MappingProxyType, ModuleType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import LawError, UsageError, unknown_name

__all__ = [
    "FACTS",
    "TRACES",
    "Parameter",
    "Support",
    "Transform",
    "check_facts",
    "check_parameters",
    "in_trace",
    "is_fact",
]

# numbers a set or run may state, with their smallest allowed value; laws may need them
FACTS: Mapping[str, float] = MappingProxyType(
    {"model_params": 1.0, "weight_decay": 0.0, "tokens_per_step": 1.0, "transfer_step": 1.0}
)
# quantities besides the loss that a log may contain and that laws may use at every step, with their
# constraints; a trace with the name of a fact replaces it, step by step
TRACES: Mapping[str, str] = MappingProxyType({"param_norm": "> 0", "weight_decay": ">= 0"})

Array = Any


class Transform(Protocol):
    """A bijection between the real numbers and the support of a parameter.

    `xp` is the array module: numpy, or jax.numpy for numbers that are traced.
    """

    def forward(self, unconstrained: Array, xp: ModuleType = np) -> Array:
        """Unconstrained real numbers -> values in the support, elementwise."""

    def inverse(self, value: Array, xp: ModuleType = np) -> Array:
        """Values in the support -> unconstrained real numbers, elementwise."""


@dataclass(frozen=True)
class Identity:
    """Every real number is its own unconstrained number."""

    def forward(self, unconstrained: Array, xp: ModuleType = np) -> Array:
        """The number itself."""
        return unconstrained

    def inverse(self, value: Array, xp: ModuleType = np) -> Array:
        """The number itself."""
        return value


@dataclass(frozen=True)
class Exp:
    """Positive numbers as exponentials."""

    def forward(self, unconstrained: Array, xp: ModuleType = np) -> Array:
        """exp(x)."""
        return xp.exp(unconstrained)

    def inverse(self, value: Array, xp: ModuleType = np) -> Array:
        """log(y)."""
        return xp.log(value)


@dataclass(frozen=True)
class Forgetting:
    """Forgetting factors in (0, 1) as 1 - exp(-x), where exp(x) is the number of steps remembered.

    A logistic function would lose the digits of factors near 1.
    """

    def forward(self, unconstrained: Array, xp: ModuleType = np) -> Array:
        """1 - exp(-x)."""
        return -xp.expm1(-unconstrained)

    def inverse(self, value: Array, xp: ModuleType = np) -> Array:
        """-log(1 - y)."""
        return -xp.log1p(-value)


class Support(Enum):
    """Where a parameter may lie; the value is how messages put it."""

    POSITIVE = "> 0"
    UNIT = "in (0, 1)"
    REAL = "a real number"

    @property
    def transform(self) -> Transform:
        """The bijection from the real numbers, in which solvers work."""
        return TRANSFORMS[self]

    def contains(self, value: float) -> bool:
        """Whether a number lies in the support."""
        if self is Support.REAL:
            return math.isfinite(value)
        return 0.0 < value < (math.inf if self is Support.POSITIVE else 1.0)


TRANSFORMS: Mapping[Support, Transform] = MappingProxyType(
    {Support.POSITIVE: Exp(), Support.UNIT: Forgetting(), Support.REAL: Identity()}
)


@dataclass(frozen=True)
class Parameter:
    """One parameter of a law.

    Attributes:
        name: its name in the API and in law files.
        support: where it may lie.
        meaning: what it does, in words.
        unit: of the value in law files, with learning rates as they are logged.
        start: range that starts of a fit are drawn from, evenly in the unconstrained number (for
            positive ones, in the logarithm). For parameters whose unit contains a learning rate it
            is for schedules scaled to a peak of 1.
        bounds: range a fit may reach; ending on a bound is reported.
    """

    name: str
    support: Support
    meaning: str
    unit: str
    start: tuple[float, float] = (1.0, 1.0)
    bounds: tuple[float, float] = (1e-12, 1e12)

    @property
    def transform(self) -> Transform:
        """The bijection from the real numbers to its support."""
        return self.support.transform


def is_fact(name: str, value: Any) -> bool:
    """Whether a value can be that fact: a finite number, not too small."""
    number = isinstance(value, Real) and not isinstance(value, bool)
    return number and FACTS[name] <= value < math.inf


def check_facts(facts: Mapping[str, float]) -> None:
    """Raise a UsageError for an unknown fact or a value that cannot be one."""
    for name, value in facts.items():
        if name not in FACTS:
            raise UsageError(unknown_name("fact", name, FACTS), value=name)
        if not is_fact(name, value):
            raise UsageError(f"{name}={value!r} must be a number >= {FACTS[name]:g}")


def in_trace(name: str, row: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which values of that trace are valid: finite, and not too small."""
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
            raise LawError(f"{law}: {unknown_name('parameter', name, names)}", value=name)
    checked = {}
    for parameter in parameters:
        if parameter.name not in values:
            raise LawError(f"{law}: parameter {parameter.name!r} is missing; it needs {names}")
        value = values[parameter.name]
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise LawError(f"{law}: parameter {parameter.name} is {value!r}, not a number")
        amplitude_zero = value == 0 and parameter.support is Support.POSITIVE
        if not (parameter.support.contains(value) or amplitude_zero) or not math.isfinite(value):
            raise LawError(
                f"{law}: parameter {parameter.name}={value!r} must be {parameter.support.value}"
            )
        checked[parameter.name] = float(value)
    return checked
