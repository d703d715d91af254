"""Gu et al. 2024: beta0 + beta1 T^s, T in billions of tokens."""

import numpy as np


def value(values, inputs):
    return np.array(
        [
            values["beta0"] + values["beta1"] * (each / 1e9) ** values["s"]
            for each in inputs["tokens"]
        ]
    )
