"""Ye et al. 2024: c + k exp(sum of t_j r_j), row by row."""

import numpy as np


def value(values, inputs):
    domains = [name[len("share_") :] for name in inputs]
    losses = []
    for row in range(len(inputs["share_" + domains[0]])):
        exponent = sum(values["t_" + each] * inputs["share_" + each][row] for each in domains)
        losses.append(values["c"] + values["k"] * np.exp(exponent))
    return np.array(losses)
