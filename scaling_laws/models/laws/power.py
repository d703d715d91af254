"""One power law in summed learning rate, blind to how the rate got there.

The baseline of every schedule-aware law: their limit on a constant schedule. Known limit:
it gives two schedules of equal summed LR the same loss, so a cooldown gains nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scaling_laws.models.laws.common import (
    ALPHA,
    FLOOR_LOSS,
    POWER_AMPLITUDE,
    power_terms,
    rescale_power,
)
from scaling_laws.models.laws.law import Law
from scaling_laws.models.numerics.history import History

__all__ = ["POWER"]


def design_matrix(values: Mapping[str, Any], history: History) -> Any:
    """Columns 1, S^-alpha: (points, 2)."""
    return power_terms(values, history)


POWER = Law(
    name="power",
    formula="L = L0 + A·S^-alpha, S = Σ lr",
    citation="the schedule-blind limit of Luo et al. 2025, arXiv 2503.12811",
    linear_parameters=(FLOOR_LOSS, POWER_AMPLITUDE),
    nonlinear_parameters=(ALPHA,),
    design_matrix=design_matrix,
    rescale=rescale_power,
    conventions="S sums the LR of steps 0..t inclusive, warm-up included",
)
