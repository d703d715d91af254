"""A belief about a law's parameters, conditioned on the run so far.

The log loss is nearly linear in the free numbers over what a belief leaves open, so a few
Gauss-Newton steps find the most probable parameters, and the slopes there their covariance. How
well a belief explains the run is its evidence, by Laplace's approximation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import FitError
from scaling_laws.decisions.replanning.batched_losses import in_unit, log_losses
from scaling_laws.decisions.replanning.binned_log import Points
from scaling_laws.decisions.replanning.parameter_prior import Belief, params_of
from scaling_laws.inference import BLOCKS, MISFIT

__all__ = ["Conditioned", "condition"]

Array = NDArray[np.float64]
ITERATIONS = 8
HALVINGS = 6
SHORTER = 0.4  # a step that does not help, and the next one tried
SETTLED = 1e-4
STEP = 0.02  # of a slope's difference, as a share of a free number's spread
STEPS = (1e-4, 1e-2)
JITTER = 1e-12  # added to variances, so that few draws leave no direction without any


@dataclass(frozen=True, eq=False)
class Conditioned:
    """A belief after the run so far.

    Attributes:
        belief: what was held before.
        centre: most probable free numbers: (parameters,).
        covariance: (parameters, parameters).
        evidence: logarithm, up to a constant of the run, of how well the belief explains it.
        misfit: root mean square of the log residuals that are left.
        before: mean of log(logged / predicted) over the last fifth under the belief's centre.
    """

    belief: Belief
    centre: Array = field(repr=False)
    covariance: Array = field(repr=False)
    evidence: float
    misfit: float
    before: float

    def draws(self, count: int, seed: int) -> dict[str, Array]:
        """Parameters for LRs as logged: the most probable, then draws; (1 + count,) each."""
        law, unit = self.belief.law, self.belief.unit
        generator = np.random.default_rng(seed)
        roots, vectors = np.linalg.eigh(self.covariance)
        spread = vectors * np.sqrt(np.maximum(roots, 0.0))
        shifts = generator.standard_normal((count, len(self.centre))) @ spread.T
        rows = np.concatenate([self.centre[None], self.centre + shifts])
        return in_unit(law, params_of(law, rows), 1.0 / unit)


def condition(belief: Belief, points: Points, lr: Array, facts: Mapping[str, float]) -> Conditioned:
    """Condition a belief on the points of a run.

    Args:
        belief: what is held before.
        points: the run so far.
        lr: its learning rates, as logged: (steps,).
        facts: numbers known of the run.

    Raises:
        FitError: if the law's losses are not finite.
    """
    law = belief.law
    rates = lr[: int(points.steps[-1]) + 1] / belief.unit
    spread = np.sqrt(np.diag(belief.covariance))
    moves = spread > 0
    prior = belief.covariance + JITTER * np.diag(moves.astype(float))
    width = np.clip(STEP * spread, *STEPS) * moves
    logged, count = points.log_loss, len(points.steps)
    share = max(count / BLOCKS, 1.0) / points.weight * np.mean(points.weight)

    def predicted(rows: Array) -> Array:
        return log_losses(law, params_of(law, rows), rates, points.steps, facts)

    def slopes(free: Array) -> tuple[Array, Array]:
        """Log losses, (points,), and their slopes, (points, parameters)."""
        rows = predicted(np.concatenate([[free], free + np.diag(width), free - np.diag(width)]))
        size = len(free)
        rise = (rows[1 : size + 1] - rows[size + 1 :]) / np.where(moves, 2.0 * width, 1.0)[:, None]
        return rows[0], rise.T

    inverse = np.linalg.pinv(prior, rcond=1e-13, hermitian=True)

    def costs(rows: Array, noise: Array) -> tuple[Array, Array]:
        """What is minimised, (rows,), and the log residuals, (rows, points)."""
        rests, shifts = logged - predicted(rows), rows - belief.centre
        held = np.einsum("ri,ij,rj->r", shifts, inverse, shifts)
        return np.sum(rests**2 / noise, axis=1) + held, rests

    centre, size = belief.centre.copy(), MISFIT
    start = predicted(centre[None])[0]
    if not np.isfinite(start).all():
        raise FitError(f"{law.name}: its losses on this run are not finite; take another law")
    noise = size**2 * share
    for number in range(ITERATIONS):
        at, slope = slopes(centre)
        rest = logged - at + slope @ (centre - belief.centre)
        seen = slope @ prior @ slope.T + np.diag(noise)
        aim = belief.centre + prior @ slope.T @ np.linalg.solve(seen, rest)
        shares = np.append(0.0, SHORTER ** np.arange(HALVINGS))
        trials = centre + shares[:, None] * (aim - centre)
        reached, rests = costs(trials, noise)
        better = np.flatnonzero(reached[1:] <= reached[0] + 1e-9)
        place = 1 + int(better[0]) if better.size else 0
        moved = float(np.max(np.abs(trials[place] - centre)))
        centre, rest = trials[place], rests[place]
        left = float(np.sqrt(np.average(rest**2, weights=points.weight)))
        if number:  # the first step is still on its way
            noise = max(MISFIT, left) ** 2 * share
        if moved < SETTLED and number > 1:
            break
    at, slope = slopes(centre)
    seen = slope @ prior @ slope.T + np.diag(noise)
    after = prior - prior @ slope.T @ np.linalg.solve(seen, slope @ prior)
    rest = logged - at
    left = float(np.sqrt(np.average(rest**2, weights=points.weight)))
    # the determinant of what is seen over that of the noise, and the noise over its floor: of the
    # blocks that count, not of the points
    volume = float(np.linalg.slogdet(seen / np.sqrt(noise[:, None] * noise[None, :]))[1])
    widened = min(count, BLOCKS) * float(np.log(max(left / MISFIT, 1.0) ** 2))
    last = slice(-max(1, count // 5), None)
    return Conditioned(
        belief,
        centre,
        0.5 * (after + after.T),
        -0.5 * (float(costs(centre[None], noise)[0][0]) + volume + widened),
        left,
        float(np.mean(logged[last] - start[last])),
    )
