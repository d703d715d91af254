"""Tissue et al. 2024, equation 1: the annealing area by its recurrence."""

from tests.reference import power


def loss(values, lr, step):
    momentum, area = 0.0, 0.0
    for i in range(1, step + 1):
        momentum = values["decay"] * momentum + (lr[i - 1] - lr[i])
        area += momentum
    return power.loss(values, lr, step) - values["C"] * area
