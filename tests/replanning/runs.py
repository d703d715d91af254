"""An exactly known law, and runs of it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

import scaling_laws as sl
from scaling_laws.data.runs import Run
from scaling_laws.inference.results import CurveFit
from scaling_laws.models.laws import get_schedule_law

TRUTH = {"L0": 2.5, "A": 0.25, "alpha": 0.5, "B": 150.0}
PLAN = "wsd:peak=1e-3,steps=400,warmup=20,decay_fraction=0.25"
NOW = 200


def law_of(params: Mapping[str, float], law: str = "linear_drop") -> CurveFit:
    """A law with draws whose sd is two percent."""
    generator = np.random.default_rng(1)
    draws = {name: value * np.exp(generator.normal(0, 0.02, 40)) for name, value in params.items()}
    return CurveFit(get_schedule_law(law), params, draws=draws)


def run_of(
    params: Mapping[str, float], spec: str = PLAN, law: str = "linear_drop", noise: float = 3e-4
) -> Run:
    """A finished run of a law."""
    plan = sl.schedule(spec)
    steps = np.arange(4, plan.steps, 5)
    facts = {"weight_decay": 0.1}
    loss = CurveFit.of(law, dict(params)).predict(plan, steps.tolist(), facts=facts).loss
    error = np.random.default_rng(0).normal(0.0, noise, len(steps))
    return Run("a run", plan, steps, loss * np.exp(error), facts)


def final_of(
    params: Mapping[str, float], lr: NDArray[np.float64], law: str = "linear_drop"
) -> float:
    plan = sl.Schedule("given", lr)
    facts = {"weight_decay": 0.1}
    return CurveFit.of(law, dict(params)).predict(plan, facts=facts).final_loss
