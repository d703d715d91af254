"""Qiu et al. 2025, predictor form, against the constant run at the peak."""

import numpy as np

from tests.reference import power


def loss(values, lr, step, facts, traces):
    above = power.loss(values, lr, step, facts, traces) - values["L0"]
    return values["L0"] + above / (1.0 - values["kappa"] * (lr[step] - np.max(lr)))
