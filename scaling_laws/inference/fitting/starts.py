"""Start points of a fit, and bounds of its parameters."""

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
    """Lowest and highest unconstrained value per parameter."""
    low = [parameter.transform.inverse(parameter.bounds[0]) for parameter in parameters]
    high = [parameter.transform.inverse(parameter.bounds[1]) for parameter in parameters]
    return np.array(low), np.array(high)


def draw_starts(parameters: Sequence[Parameter], count: int, seed: int) -> Array:
    """Unconstrained start points: the middle of the start ranges, then a Sobol sequence.

    Returns:
        Array of shape (count, parameters); one start if there are no parameters.
    """
    if not parameters:
        return np.zeros((1, 0))  # a linear law needs one start
    low = np.array([parameter.transform.inverse(parameter.start[0]) for parameter in parameters])
    high = np.array([parameter.transform.inverse(parameter.start[1]) for parameter in parameters])
    # the memory of a forgetting factor spans decades: sample its logarithm uniformly
    memory = np.array([parameter.support is Support.UNIT for parameter in parameters])
    low[memory], high[memory] = np.log(low[memory]), np.log(high[memory])
    sobol = qmc.Sobol(len(parameters), seed=np.random.default_rng(seed))
    share: Array = sobol.random_base2(max(1, math.ceil(math.log2(max(count, 2)))))
    share[0] = 0.5
    points: Array = low + share[:count] * (high - low)
    points[:, memory] = np.exp(points[:, memory])
    return points
