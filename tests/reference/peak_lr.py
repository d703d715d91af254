"""Bjorck et al. 2024: C N^-alpha D^-beta."""

import numpy as np


def value(values, inputs):
    rates = []
    for size, tokens in zip(inputs["model_params"], inputs["tokens"], strict=True):
        rates.append(values["C"] * size ** -values["alpha"] * tokens ** -values["beta"])
    return np.array(rates)
