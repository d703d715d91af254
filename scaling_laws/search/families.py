"""Tune the shape parameters of every schedule family."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import qmc

from scaling_laws.schedules import FAMILIES, Family, Frame, Schedule, Shape, format_spec, schedule

__all__ = ["Tuned", "tune_families"]

FinalLoss = Callable[[NDArray[np.float64]], float]
RATES = frozenset({"end", "to"})  # keys of specs that hold learning rates
SAMPLES = 5  # as a power of two: points of a shape's box tried before the local search


@dataclass(frozen=True)
class Tuned:
    """A family's best member: its schedule, read back from its spec, and its final loss."""

    schedule: Schedule
    final_loss: float


def tune_families(frame: Frame, final_loss: FinalLoss, seed: int) -> list[Tuned]:
    """The best member of each searchable shape of each registered family, best first.

    Args:
        frame: what is fixed.
        final_loss: learning rates of shape (steps,) -> predicted final loss.
        seed: of the points tried first.
    """
    tuned = [
        _tune(family, shape, frame, final_loss, seed)
        for family in FAMILIES
        for shape in family.shapes
    ]
    return sorted(tuned, key=lambda each: each.final_loss)


def _values(shape: Shape, frame: Frame, free: NDArray[np.float64]) -> dict[str, Any]:
    found = {key: _short(value) for key, value in shape.values(free.tolist(), frame).items()}
    for key in RATES & set(found):  # rounding must not leave the frame
        found[key] = _within(found[key], frame)
    return {"peak": frame.peak, "steps": frame.steps, "warmup": frame.warmup, **found}


def _short(value: Any) -> Any:
    """Four digits: what the spec says is what is evaluated."""
    if isinstance(value, tuple):
        return tuple(_short(item) for item in value)
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _within(rate: Any, frame: Frame) -> Any:
    if isinstance(rate, tuple):
        return tuple(_within(item, frame) for item in rate)
    return min(max(rate, frame.end_min), frame.peak)


def _tune(family: Family, shape: Shape, frame: Frame, final_loss: FinalLoss, seed: int) -> Tuned:
    low, high = np.array(shape.low), np.array(shape.high)

    def build(free: NDArray[np.float64]) -> Schedule:
        return schedule(format_spec(family, _values(shape, frame, np.clip(free, low, high))))

    best: Tuned | None = None

    def objective(free: NDArray[np.float64]) -> float:
        nonlocal best
        plan = build(free)
        loss = final_loss(plan.lr)
        if best is None or loss < best.final_loss:
            best = Tuned(plan, loss)
        return loss

    if low.size == 0:
        objective(low)
    else:
        sobol = qmc.Sobol(low.size, seed=np.random.default_rng(seed))
        starts = low + sobol.random_base2(SAMPLES) * (high - low)
        losses = [objective(start) for start in starts]
        order = np.argsort(losses)[:2]
        for place in order:
            minimize(
                objective,
                starts[place],
                method="Nelder-Mead",
                bounds=list(zip(low, high, strict=True)),
                options={"maxfev": 60 * low.size, "xatol": 1e-4, "fatol": 1e-8},
            )
    assert best is not None  # objective ran at least once
    return best
