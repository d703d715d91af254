"""The drop ansatz: falls of the LR only, each felt from the step after it."""

import numpy as np

from tests.reference import power


def loss(values, lr, step, facts, traces):
    result = power.loss(values, lr, step, facts, traces)
    clock = np.cumsum(lr)
    for k in range(1, step + 1):
        fall = lr[k - 1] - lr[k]
        if fall > 0:
            size = values["D"] + values["B"] * clock[k] ** -values["alpha"]
            reach = values["C"] * np.sum(lr[k + 1 : step + 1])
            result -= fall * size * (1.0 - (1.0 + reach) ** -values["beta"])
    return result
