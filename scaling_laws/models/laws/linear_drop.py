"""A power law in summed learning rate minus a drop in proportion to the decay so far.

The memory-free limit of the schedule-aware laws. Known limit: an abrupt drop of the LR takes effect
at once, where real runs take hundreds of steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from scaling_laws.models.laws.common import (
    ALPHA,
    DROP_AMPLITUDE,
    FLOOR_LOSS,
    POWER_AMPLITUDE,
    power_terms,
    rescale_drop,
)
from scaling_laws.models.laws.law import Law
from scaling_laws.models.numerics.history import History

__all__ = ["LINEAR_DROP"]


def design_matrix(values: Mapping[str, Any], history: History) -> Any:
    """Columns 1, S^-alpha, -(peak - lr): (points, 3)."""
    drop = history.peak_lr - history.lr.reshape(-1)
    return jnp.concatenate([power_terms(values, history), -drop[:, None]], axis=1)


LINEAR_DROP = Law(
    name="linear_drop",
    formula="L = L0 + A·S^-alpha - B·(peak_lr - lr[t])",
    citation="Luo et al. 2025, arXiv 2503.12811 (first stage of the public fit)",
    linear_parameters=(FLOOR_LOSS, POWER_AMPLITUDE, DROP_AMPLITUDE),
    nonlinear_parameters=(ALPHA,),
    design_matrix=design_matrix,
    rescale=rescale_drop,
    conventions="S sums the LR of steps 0..t inclusive, warm-up included; "
    "peak_lr is the largest LR of the schedule",
)
