"""Wang et al. 2025, continual pre-training: two areas and a shift."""

import numpy as np

from tests.reference import power
from tests.reference.lr_annealing import area


def loss(values, lr, step, facts, traces):
    start = int(facts["transfer_step"])
    result = power.loss(values, lr, step, facts, traces)
    result -= values["C1"] * area(lr, values["decay"], 0, min(step, start - 1))
    if step >= start:
        result -= values["C2"] * area(lr, values["decay"], start, step)
        reach = values["E"] * np.sum(lr[start : step + 1])
        result += values["B"] * (1.0 - (1.0 + reach) ** -values["beta"])
    return result
