"""Directions of an update for one matrix or gain, from the papers, in float64."""

import numpy as np

BETA1, BETA2, MOMENTUM = 0.95, 0.99, 0.95


def adam(gradients):
    """Kingma & Ba 2015, algorithm 1: the directions that follow one gradient after the other."""
    first = second = 0.0
    found = []
    for count, g in enumerate(gradients, start=1):
        first = BETA1 * first + (1 - BETA1) * g
        second = BETA2 * second + (1 - BETA2) * g**2
        mean, square = first / (1 - BETA1**count), second / (1 - BETA2**count)
        found.append(mean / (np.sqrt(square) + 1e-8))
    return found


def orthogonalized(x):
    """Five quintic Newton-Schulz steps of Jordan 2024, from a Frobenius norm of one."""
    x = x / np.linalg.norm(x)
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x - 4.7750 * square @ x + 2.0315 * square @ square @ x
    return x


def muon(gradients):
    """Jordan 2024 with the scale of Liu et al. 2025 (arXiv 2502.16982), section 2.2.

    Nesterov's momentum is corrected for its start as in Dozat 2016 (NAdam).
    """
    momentum = 0.0
    found = []
    for count, g in enumerate(gradients, start=1):
        momentum = MOMENTUM * momentum + (1 - MOMENTUM) * g
        ahead = MOMENTUM * momentum / (1 - MOMENTUM ** (count + 1))
        ahead = ahead + (1 - MOMENTUM) * g / (1 - MOMENTUM**count)
        found.append(orthogonalized(ahead) * 0.2 * np.sqrt(max(g.shape)))
    return found
