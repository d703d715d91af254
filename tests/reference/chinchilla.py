"""Hoffmann et al. 2022: E + A/N^alpha + B/D^beta."""

import numpy as np


def value(values, inputs):
    losses = []
    for size, tokens in zip(inputs["model_params"], inputs["tokens"], strict=True):
        by_size = values["A"] / size ** values["alpha"]
        losses.append(values["E"] + by_size + values["B"] / tokens ** values["beta"])
    return np.array(losses)
