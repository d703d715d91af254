"""Kaplan et al. 2020, equation 1.5, term by term."""

import numpy as np


def value(values, inputs):
    losses = []
    for size, tokens in zip(inputs["model_params"], inputs["tokens"], strict=True):
        by_size = (values["N_c"] / size) ** (values["alpha_N"] / values["alpha_D"])
        losses.append((by_size + values["D_c"] / tokens) ** values["alpha_D"])
    return np.array(losses)
