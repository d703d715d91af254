"""Wang et al. 2025 (AAAI 2026), with every step a logged point."""

import math

from tests.reference import power


def loss(values, lr, step, facts, traces):
    first = second = gained = 0.0
    for i in range(1, step + 1):
        change = lr[i - 1] - lr[i]
        first = 0.9 * first + 0.1 * change
        second = 0.999 * second + 0.001 * change**2
        mean = first / (1.0 - 0.9 ** (i + 1))
        square = 1e5 * second / (1.0 - 0.999 ** (i + 1))
        gained += mean / (math.sqrt(square + 1e-8) + 1e-8)
    floor = values["B"] * facts["model_params"] ** -values["alpha_N"]
    return power.loss(values, lr, step, facts, traces) + floor - values["C"] * gained
