"""Schaipp et al. 2025: the bound as printed, with its sums inside sums; zero LRs are dropped."""

import numpy as np


def loss(values, lr, step, facts, traces):
    eta = [rate for rate in lr[: step + 1] if rate > 0]
    if not eta:  # nothing has moved: 1/S at the floor of the clock
        return values["L0"] + values["A"] / (1e-9 * np.max(lr))
    last = len(eta) - 1
    noise = sum(rate**2 for rate in eta) / sum(eta)
    for k in range(last):
        ahead = sum(eta[k + 1 :])
        noise += eta[k] / ahead * sum(rate**2 for rate in eta[k:]) / sum(eta[k:])
    return values["L0"] + values["A"] / sum(eta) + values["B"] * noise
