"""Where a fit begins, and how far its parameters may go."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from scaling_laws.models import Parameter, Support

__all__ = ["box", "draw_starts"]

Array = NDArray[np.float64]


def box(parameters: Sequence[Parameter]) -> tuple[Array, Array]:
    """Lowest and highest free value of each parameter."""
    low = [parameter.transform.inverse(parameter.bounds[0]) for parameter in parameters]
    high = [parameter.transform.inverse(parameter.bounds[1]) for parameter in parameters]
    return np.array(low), np.array(high)


def draw_starts(parameters: Sequence[Parameter], count: int, seed: int) -> Array:
    """Start points in free parameters: the middle of the start ranges, then a Sobol sequence.

    Returns:
        Array of shape (count, parameters); one start where there is none.
    """
    if not parameters:
        return np.zeros((1, 0))  # linear in all its parameters: one start is as good as many
    low = np.array([parameter.transform.inverse(parameter.start[0]) for parameter in parameters])
    high = np.array([parameter.transform.inverse(parameter.start[1]) for parameter in parameters])
    # what a forgetting factor remembers spans decades: draw its logarithm evenly
    memory = np.array([parameter.support is Support.UNIT for parameter in parameters])
    low[memory], high[memory] = np.log(low[memory]), np.log(high[memory])
    sobol = qmc.Sobol(len(parameters), seed=np.random.default_rng(seed))
    share: Array = sobol.random_base2(max(1, math.ceil(math.log2(max(count, 2)))))
    share[0] = 0.5
    points: Array = low + share[:count] * (high - low)
    points[:, memory] = np.exp(points[:, memory])
    return points
