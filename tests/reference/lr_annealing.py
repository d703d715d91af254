"""Tissue, Wang and Wang 2024: momentum and area, one step after the other."""

from tests.reference import power


def area(lr, decay, first, last):
    """S2 over steps first..last, from a momentum of zero before."""
    momentum = area = 0.0
    for i in range(first, last + 1):
        momentum = decay * momentum + ((lr[i - 1] - lr[i]) if i > 0 else 0.0)
        area += momentum
    return area


def loss(values, lr, step, facts, traces):
    gained = area(lr, values["decay"], 0, step)
    return power.loss(values, lr, step, facts, traces) - values["C"] * gained
