"""How many cells a screen needs: compared with the full length on a sample of every shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import LawError
from scaling_laws.decisions.screening.candidate_space import TILE, Space
from scaling_laws.decisions.screening.device_screen import losses_at
from scaling_laws.inference import CurveFit, final_losses

__all__ = ["CELLS", "choose_cells", "exact_losses"]

Array = NDArray[np.float64]
CELLS = (64, 128, 256, 512)
SAMPLE = 12  # candidates per shape
BATCH_RATES = 2**22  # learning rates in memory at a time


def exact_losses(fitted: CurveFit, rows: list[Array], facts: Mapping[str, float]) -> Array:
    """Final losses at full length in float64: rows of (steps,) -> (rows,)."""
    if not rows:
        return np.zeros(0)
    size = max(1, BATCH_RATES // len(rows[0]))
    batches = [np.stack(rows[first : first + size]) for first in range(0, len(rows), size)]
    return np.concatenate([final_losses(fitted, batch, facts=facts) for batch in batches])


def choose_cells(
    fitted: CurveFit, space: Space, facts: Mapping[str, float], tolerance: float
) -> tuple[int, float, Array]:
    """The smallest number of cells that agrees with the full length to a tolerance, in nats.

    Returns:
        The number of cells, their largest error over the sample, and the sample's final losses.

    Raises:
        LawError: if even the largest number does not.
    """
    law = fitted.law
    candidate_ids = [
        stratum.first_tile * TILE + index
        for stratum in space.strata
        for index in range(min(SAMPLE, stratum.count))
    ]
    exact = exact_losses(
        fitted, [space.rates(candidate_id) for candidate_id in candidate_ids], facts
    )
    worst, tried = np.inf, 0
    for cells in CELLS:
        # numbers that would miss the tolerance even with an error of fourth order are not compiled
        if tried and cells < CELLS[-1] and worst * (tried / cells) ** 4 > tolerance:
            continue
        tried = cells
        losses = losses_at(law, space, candidate_ids, as_arrays(fitted, 0), facts, cells)
        screened = losses[0].astype(np.float64)
        both = np.isfinite(screened) & np.isfinite(exact)
        worst = float(np.abs(screened - exact)[both].max()) if both.any() else np.inf
        if worst <= tolerance:
            return cells, worst, exact
    raise LawError(
        f"{law.name}: with {CELLS[-1]} cells the final loss differs from the full length by "
        f"{worst:.1e} nats, more than tolerance={tolerance:g}; allow more, or use scaling-laws "
        "optimize"
    )


def as_arrays(fitted: CurveFit, draws: int) -> dict[str, Any]:
    """Parameters of the fit, or of its first draws, in float32: (draws or 1,) per parameter."""
    if not draws:
        return {name: np.array([value], np.float32) for name, value in fitted.params.items()}
    return {name: np.asarray(fitted.draws[name][:draws], np.float32) for name in fitted.params}
