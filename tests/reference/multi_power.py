"""Luo et al. 2025, with the discretisation of the authors' code: the dense sum over changes."""

import numpy as np

from tests.reference import power


def loss(values, lr, step, facts, traces):
    floor = 1e-6 * np.max(lr)
    drop = 0.0
    for k in range(1, step + 1):
        if lr[k] == lr[k - 1]:
            continue
        summed = np.sum(lr[k : step + 1])
        speed = values["C"] * max(lr[k], floor) ** -values["gamma"]
        drop += (lr[k - 1] - lr[k]) * (1.0 - (1.0 + speed * summed) ** -values["beta"])
    return power.loss(values, lr, step, facts, traces) - values["B"] * drop
