"""How many cells a candidate needs: a sample of every shape at full length against the screen."""

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
SAMPLE = 12  # candidates of each shape
AT_ONCE = 2**22  # rates that are held at a time


def exact_losses(fitted: CurveFit, rows: list[Array], facts: Mapping[str, float]) -> Array:
    """Final losses at full length in float64: rows of (steps,) -> (rows,)."""
    if not rows:
        return np.zeros(0)
    several = max(1, AT_ONCE // len(rows[0]))
    parts = [rows[first : first + several] for first in range(0, len(rows), several)]
    return np.concatenate([final_losses(fitted, np.stack(each), facts=facts) for each in parts])


def choose_cells(
    fitted: CurveFit, space: Space, facts: Mapping[str, float], tolerance: float
) -> tuple[int, float, Array]:
    """The fewest cells that agree with the full length to a tolerance.

    Returns:
        Cells, their largest disagreement over the sample, and the sample's final losses.

    Raises:
        LawError: if none does.
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
    worst = np.inf
    for cells in CELLS:
        found = losses_at(law, space, candidate_ids, as_arrays(fitted, 0), facts, cells)
        seen = found[0].astype(np.float64)
        both = np.isfinite(seen) & np.isfinite(exact)
        worst = float(np.abs(seen - exact)[both].max()) if both.any() else np.inf
        if worst <= tolerance:
            return cells, worst, exact
    raise LawError(
        f"{law.name}: {CELLS[-1]} cells miss the final loss at full length by {worst:.1e} nats, "
        f"more than tolerance={tolerance:g}; allow more, or take scaling-laws optimize"
    )


def as_arrays(fitted: CurveFit, draws: int) -> dict[str, Any]:
    """Parameters as rows, in float32: of the fit alone, or of its first draws."""
    if not draws:
        return {name: np.array([value], np.float32) for name, value in fitted.params.items()}
    return {name: np.asarray(fitted.draws[name][:draws], np.float32) for name in fitted.params}
