"""What runs tell about a target, in the space of a fit's draws.

Linear-Gaussian expected information. The draws say how losses move together: under one refit the
target ends higher and an abrupt drop is felt later, under another both are the other way round. To
observe a run is to weigh the draws anew (an ensemble Kalman update), and how far the target's final
loss still spreads over them is known before the run is trained: it does not depend on what the run
will show. With the log losses of a run under the draws as columns Y, centred and over the root of
the draws, z those of the target's end, and P the covariance of the weights, at first the identity,

    P_after = P - P·Y·(Yᵀ·P·Y + R)^-1·Yᵀ·P,   variance of the target's log final loss = zᵀ·P_after·z

R is the covariance of what a run shows and the law does not follow: the law's own error as held-out
runs showed it, with a correlation of exp(-distance / `REACH` of the run), so that a run counts as
about ten independent points. What is inverted is never larger than the points of one run.

Draws are few and some are wild. So deviations are from the median, cut at `CUT` robust standard
deviations and scaled to the robust one; and each point of a run has a further independent error of
1/draws of its own variance, the square of the correlation that unrelated columns show by chance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaling_laws.inference import (
    CurveFit,
    Uncertainty,
    VarianceInputs,
    check_needs,
    drawn_log_losses,
    facts_for,
    robust_sd,
)
from scaling_laws.models import Schedule

__all__ = [
    "CandidateRun",
    "candidate_run",
    "deviations",
    "gain_per_step",
    "greedy",
    "log_losses",
    "own_error",
    "posterior_sd",
    "reduction",
]

Array = NDArray[np.float64]
REACH = 0.1  # share of a run over which errors of the law move together
CUT = 3.0  # robust standard deviations: no draw counts as further off
LEAST = 0.01  # share of today's standard deviation that a run must lower it by to be worth training


@dataclass(frozen=True, eq=False)
class CandidateRun:
    """A candidate as the draws see it.

    Attributes:
        schedule: its schedule.
        curve: deviations of its log losses, scaled so that sums of squares over the draws are
            variances: (draws, points).
        noise: covariance of what the law does not follow: (points, points).
    """

    schedule: Schedule
    curve: Array
    noise: Array


def log_losses(
    fitted: CurveFit,
    plan: Schedule,
    steps: NDArray[np.int64],
    facts: Mapping[str, float] | None,
) -> Array:
    """Log losses at some steps under the fit (first row) and its draws: (1 + draws, points).

    Raises:
        UsageError: if a fact is unknown or too small.
        LawError: if the law needs a fact or a trace that nothing gives.
    """
    law = fitted.law
    known = facts_for(fitted, facts, plan)
    check_needs(law, known, {}, "the law file")
    params = {name: np.append(fitted.params[name], row) for name, row in fitted.draws.items()}
    return drawn_log_losses(law, params, plan.lr, steps, known)


def deviations(rows: Array) -> Array:
    """What draws deviate by, wild ones cut, robust variances as sums of squares: same shape."""
    spread = robust_sd(rows)
    row = np.clip(rows - np.median(rows, axis=0), -CUT * spread, CUT * spread)
    row = row - row.mean(axis=0)
    size = np.linalg.norm(row, axis=0)
    scale = np.where(size > 0, spread / np.where(size > 0, size, 1.0), 0.0)
    return np.asarray(row * scale)


def own_error(plan: Schedule, steps: NDArray[np.int64], uncertainty: Uncertainty) -> Array:
    """Standard deviation of the law's own error in log loss: (points,)."""
    return uncertainty.scale(VarianceInputs.of(plan.lr, steps))


def candidate_run(
    plan: Schedule, steps: NDArray[np.int64], curve: Array, uncertainty: Uncertainty
) -> CandidateRun:
    """A schedule's run that is logged at some steps, with deviations of shape (draws, points)."""
    error = own_error(plan, steps, uncertainty)
    apart = np.abs(steps[:, None] - steps) / (REACH * plan.steps)
    chance = np.sum(curve**2, axis=0) / len(curve)
    return CandidateRun(plan, curve, error[:, None] * error * np.exp(-apart) + np.diag(chance))


def _update(state: Array, run: CandidateRun) -> tuple[Array, Array]:
    """P·Y and (Yᵀ·P·Y + R)^-1 of a run under a covariance P of the weights on the draws."""
    seen = state @ run.curve
    return seen, np.asarray(np.linalg.pinv(run.curve.T @ seen + run.noise, hermitian=True))


def posterior_sd(state: Array, wanted: Array, run: CandidateRun) -> float:
    """Standard deviation of the target's log final loss once a run is known too."""
    seen, inverse = _update(state, run)
    before, told = float(wanted @ state @ wanted), wanted @ seen
    after = before - float(told @ inverse @ told)
    # a loss that is measured outright leaves the rounding of a difference, not more
    return float(np.sqrt(after)) if after > 1e-9 * float(wanted @ wanted) else 0.0


def reduction(variance: float, steps: int) -> float:
    """Score of a run by how much variance it takes away."""
    return variance


def gain_per_step(variance: float, steps: int) -> float:
    """Score of a run by how much variance it takes away for each of its steps."""
    return variance / steps


def greedy(
    known: Sequence[CandidateRun],
    first: Sequence[CandidateRun],
    wanted: Array,
    runs: int,
    budget: int | None,
    score: Callable[[float, int], float],
) -> list[tuple[CandidateRun, float]]:
    """Choose runs one after another.

    Args:
        known: the candidates.
        first: those of them that the first run must be one of; empty if any will do.
        wanted: deviations of the target's log final loss: (draws,).
        runs: how many to choose at most.
        budget: steps that they may take together, or None.
        score: (variance taken away, steps of the run) -> the higher the better; of equals, the
            shortest run is taken.

    Returns:
        The runs in order, each with the standard deviation that is left after it. A run that takes
        less than `LEAST` away is not chosen, unless `first` holds it.
    """
    state = np.eye(len(wanted))
    now = before = float(np.linalg.norm(wanted))
    path: list[tuple[CandidateRun, float]] = []
    rest, spare = budget, list(known)
    while len(path) < runs:
        forced = bool(first) and not path
        found = []
        for run in first if forced else spare:
            steps = run.schedule.steps
            if rest is not None and steps > rest:
                continue
            after = min(before, posterior_sd(state, wanted, run))
            if forced or before - after > LEAST * now:
                found.append((score(before**2 - after**2, steps), -steps, run, after))
        if not found:
            break
        _, _, run, before = max(found, key=lambda each: each[:2])
        path.append((run, before))
        spare.remove(run)
        rest = None if rest is None else rest - run.schedule.steps
        seen, inverse = _update(state, run)
        state = state - seen @ inverse @ seen.T
    return path
