"""Equation E.1 of Liu et al. 2026 with r = LR: the sum over all updates."""

import numpy as np


def loss(values, lr, step, facts, traces):
    result = (
        values["L0"] + values["A"] * (values["B1"] + np.sum(lr[: step + 1])) ** -values["alpha"]
    )
    for j in range(step + 1):
        distance = np.sum(lr[j + 1 : step + 1])
        result += values["C"] * (values["B2"] + distance) ** -values["beta"] * lr[j] ** 2
    return result
