"""Tables the contract tests run on: every registered law, and schedules with awkward corners."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scaling_laws.models.laws import Law
from scaling_laws.models.schedules import schedule

# all of one length, which is not a multiple of a block: one compiled program serves them all
SCHEDULES: dict[str, NDArray[np.float64]] = {
    name: schedule(spec).lr
    for name, spec in {
        "constant": "constant:peak=3e-4,steps=300,warmup=20",
        "constant, no warm-up": "constant:peak=1e-3,steps=300",
        "cosine": "cosine:peak=3e-4,end=3e-5,steps=300,warmup=20",
        "linear to zero": "linear:peak=1e-3,steps=300,warmup=10",
        "wsd": "wsd:peak=3e-4,steps=300,warmup=20,decay=1-sqrt,decay_fraction=0.3",
        "two drops": "multistage:peak=1e-3,at=100/200,to=1e-4/1e-5,steps=300",
        "drop to zero": "multistage:peak=1e-3,at=100,to=0,steps=300",
        "re-warm-up from zero": "multistage:peak=1e-3,at=90/150,to=0/5e-4,steps=300,warmup=5",
    }.items()
}


def draw_values(law: Law, seed: int, peak_lr: float) -> dict[str, float]:
    """Parameters inside a law's start ranges, for learning rates with that peak."""
    generator = np.random.default_rng(seed)
    scaled = {
        parameter.name: float(generator.uniform(0.5, 2.0)) for parameter in law.linear_parameters
    }
    scaled["L0"] += 2.0  # no drop makes a loss negative
    for parameter in law.nonlinear_parameters:
        low, high = (parameter.transform.inverse(end) for end in parameter.start)
        unconstrained = generator.uniform(low, high)
        scaled[parameter.name] = float(parameter.transform.forward(unconstrained))
    if law.rescale is None:
        return scaled
    return {name: float(value) for name, value in law.rescale(scaled, peak_lr).items()}


FACTS = {"model_params": 2.5e7, "transfer_step": 95.0, "weight_decay": 0.1}


def traces_for(lr: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Quantities that a run of that schedule might have logged at every step."""
    return {"param_norm": 3.0 + np.sin(np.arange(len(lr)) / 40.0)}
