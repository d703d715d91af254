"""Muennighoff et al. 2023: the effective amounts, then the plain law of them."""

import numpy as np


def useful_size(values, tokens):
    """Largest N at which one more parameter gains as much as one more token costs, at 6ND."""
    factor = values["alpha"] * values["A"] / (values["beta"] * values["B"])
    with np.errstate(over="ignore"):
        return (factor * np.float64(tokens) ** values["beta"]) ** (1.0 / values["alpha"])


def effective(total, unique, limit):
    return unique + unique * limit * (1.0 - np.exp(-(total / unique - 1.0) / limit))


def value(values, inputs):
    losses = []
    for size, tokens, unique in zip(
        inputs["model_params"], inputs["tokens"], inputs["unique_tokens"], strict=True
    ):
        new = min(tokens, unique)
        useful = min(size, useful_size(values, new))
        by_size = values["A"] / effective(size, useful, values["R_N_star"]) ** values["alpha"]
        by_data = values["B"] / effective(tokens, new, values["R_D_star"]) ** values["beta"]
        losses.append(values["E"] + by_size + by_data)
    return np.array(losses)
