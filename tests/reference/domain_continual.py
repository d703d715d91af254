"""Que et al. 2024: E + A/N^alpha + B r^eta/D^beta + C/(r + epsilon)^gamma."""

import numpy as np


def value(values, inputs):
    losses = []
    for size, tokens, share in zip(
        inputs["model_params"], inputs["tokens"], inputs["domain_share"], strict=True
    ):
        losses.append(
            values["E"]
            + values["A"] / size ** values["alpha"]
            + values["B"] * share ** values["eta"] / tokens ** values["beta"]
            + values["C"] / (share + values["epsilon"]) ** values["gamma"]
        )
    return np.array(losses)
