"""Objectives: the cost of a residual in log loss.

An objective is the sum over points of weight · cost(log(observed / predicted)). All costs are ½r²
near zero, so that their values are comparable and a prior has the same relative strength.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import UsageError, unknown_name
from scaling_laws.inference.metrics import log_errors

__all__ = [
    "HUBER_DELTA",
    "OBJECTIVES",
    "Huber",
    "LeastSquares",
    "Objective",
    "StudentT",
    "curvature",
    "huber_objective",
    "read_objective",
    "root",
]

Array = NDArray[np.float64]
HUBER_DELTA = 1e-3  # in log loss; Hoffmann et al. 2022, Tissue et al. 2024, Luo et al. 2025


class Objective(Hashable, Protocol):
    """A cost of residuals; frozen and hashable."""

    @property
    def spec(self) -> str:
        """Text from which `read_objective` recreates it."""

    def cost(self, residual: Array) -> Array:
        """Cost per residual, ½r² near zero."""

    def weight(self, residual: Array) -> Array:
        """Derivative of the cost over the residual: 1 near zero, less for outliers if robust."""


def curvature(objective: Objective, residual: Array) -> Array:
    """Weight of a residual in a Gauss-Newton step: (d/dr √(2·cost))²."""
    small = np.abs(residual) < 1e-12
    safe = np.where(small, 1e-12, residual)
    return (objective.weight(safe) * safe) ** 2 / (2.0 * objective.cost(safe))


def root(objective: Objective, residual: Array) -> Array:
    """The signed root f with f²/2 = cost: makes an objective a least-squares problem."""
    small = np.abs(residual) < 1e-12
    safe = np.where(small, 1e-12, residual)
    return np.where(small, residual, np.sign(safe) * np.sqrt(2.0 * objective.cost(safe)))


@dataclass(frozen=True)
class Huber:
    """½r² up to δ, linear beyond; δ = 1e-3 is what the papers use."""

    delta: float = HUBER_DELTA

    @property
    def spec(self) -> str:
        """Such as ``huber:0.001``."""
        return f"huber:{self.delta:g}"

    def cost(self, residual: Array) -> Array:
        """½r² or δ(|r| - ½δ)."""
        size = np.abs(residual)
        inside = np.minimum(size, self.delta)
        return inside * (size - 0.5 * inside)

    def weight(self, residual: Array) -> Array:
        """1 or δ/|r|."""
        return self.delta / np.maximum(np.abs(residual), self.delta)


@dataclass(frozen=True)
class LeastSquares:
    """½r²."""

    @property
    def spec(self) -> str:
        """``least-squares``."""
        return "least-squares"

    def cost(self, residual: Array) -> Array:
        """½r²."""
        return 0.5 * residual**2

    def weight(self, residual: Array) -> Array:
        """1."""
        return np.ones_like(residual)


@dataclass(frozen=True)
class StudentT:
    """½νs²·log(1 + r²/νs²): a Student t likelihood of scale s and ν degrees of freedom."""

    scale: float = 1e-3
    freedom: float = 4.0

    @property
    def spec(self) -> str:
        """Such as ``student-t:0.001,4``."""
        return f"student-t:{self.scale:g},{self.freedom:g}"

    def cost(self, residual: Array) -> Array:
        """½νs²·log(1 + r²/νs²)."""
        size = self.freedom * self.scale**2
        return 0.5 * size * np.log1p(residual**2 / size)

    def weight(self, residual: Array) -> Array:
        """1 / (1 + r²/νs²)."""
        return 1.0 / (1.0 + residual**2 / (self.freedom * self.scale**2))


OBJECTIVES = {"huber": Huber, "least-squares": LeastSquares, "student-t": StudentT}


def read_objective(text: str) -> Objective:
    """An objective from its text: a name and, after a colon, numbers in order.

    Raises:
        UsageError: for an unknown name, or numbers that are not > 0 or too many.

    >>> read_objective("huber:0.002")
    Huber(delta=0.002)
    >>> read_objective("student-t").spec
    'student-t:0.001,4'
    """
    name, _, numbers_text = text.partition(":")
    if name not in OBJECTIVES:
        raise UsageError(unknown_name("objective", name, OBJECTIVES), value=name)
    try:
        numbers = [float(part) for part in numbers_text.split(",") if part.strip()]
        if not all(0.0 < number < math.inf for number in numbers):
            raise ValueError
        objective: Objective = OBJECTIVES[name](*numbers)
    except (ValueError, TypeError):
        forms = ", ".join(objective_type().spec for objective_type in OBJECTIVES.values())
        raise UsageError(
            f"objective {text!r}: numbers > 0 are expected after the colon, as in {forms}"
        ) from None
    return objective


def huber_objective(
    observed: NDArray[np.float64], predicted: NDArray[np.float64], delta: float = HUBER_DELTA
) -> float:
    """Sum over points of Huber(δ) of log(observed / predicted).

    Sum, not mean: with a mean, the tolerances of common solvers stop a fit early.
    """
    residual = np.abs(log_errors(observed, predicted))
    return float(
        np.sum(np.where(residual <= delta, 0.5 * residual**2, delta * (residual - 0.5 * delta)))
    )
