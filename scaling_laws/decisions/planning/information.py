"""Expected information of runs about a target, in the space of a fit's draws.

Linear-Gaussian (Bayesian c-optimal) experimental design. The draws give the joint covariance of
losses: in some replicates the target ends higher and the loss responds to an abrupt drop later, in
others the reverse. Observing a run reweights the draws (an ensemble Kalman update), and the
resulting variance of the target's final loss is known before the run is trained, because it does
not depend on the observed values. Let Y have as columns the centred log losses of a run under the
draws, divided by the square root of their number, z those of the target's final loss, and P the
covariance of the weights, initially the identity:

    P_after = P - P·Y·(Yᵀ·P·Y + R)^-1·Yᵀ·P,   variance of the target's log final loss = zᵀ·P_after·z

R is the error covariance of a run: the law's error, measured on held-out runs, with a correlation
of exp(-distance / (`CORRELATION_LENGTH`·steps)), so that a run counts as about ten independent
points. The inverted matrix is never larger than the number of points of one run.

The draws are few and contain outliers. So deviations are from the median, clipped at `CLIP` robust
standard deviations and scaled to the robust one; and each point of a run has an additional
independent error of 1/draws of its variance, the expected squared sample correlation of unrelated
columns.
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
    "law_error",
    "log_losses",
    "posterior_sd",
    "reduction",
]

Array = NDArray[np.float64]
CORRELATION_LENGTH = 0.1  # of the law's error, as a share of a run's steps
CLIP = 3.0  # largest deviation of a draw, in robust standard deviations
MIN_REDUCTION = 0.01  # of the current standard deviation, for a run to be worth training


@dataclass(frozen=True, eq=False)
class CandidateRun:
    """A candidate and the joint distribution of its losses.

    Attributes:
        schedule: its schedule.
        curve: deviations of its log losses under the draws, scaled so that sums of squares over
            the draws are variances: (draws, points).
        noise: covariance of the law's error: (points, points).
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
        LawError: if the law needs a fact or a trace that is missing.
    """
    law = fitted.law
    known = facts_for(fitted, facts, plan)
    check_needs(law, known, {}, "the law file")
    params = {name: np.append(fitted.params[name], row) for name, row in fitted.draws.items()}
    return drawn_log_losses(law, params, plan.lr, steps, known)


def deviations(rows: Array) -> Array:
    """Clipped deviations of the draws whose sums of squares are robust variances: same shape."""
    sd = robust_sd(rows)
    clipped = np.clip(rows - np.median(rows, axis=0), -CLIP * sd, CLIP * sd)
    centred = clipped - clipped.mean(axis=0)
    norm = np.linalg.norm(centred, axis=0)
    scale = np.where(norm > 0, sd / np.where(norm > 0, norm, 1.0), 0.0)
    return np.asarray(centred * scale)


def law_error(plan: Schedule, steps: NDArray[np.int64], uncertainty: Uncertainty) -> Array:
    """Standard deviation of the law's error in log loss: (points,)."""
    return uncertainty.scale(VarianceInputs.of(plan.lr, steps))


def candidate_run(
    plan: Schedule, steps: NDArray[np.int64], curve: Array, uncertainty: Uncertainty
) -> CandidateRun:
    """The run of a schedule, logged at some steps, with deviations of shape (draws, points)."""
    error = law_error(plan, steps, uncertainty)
    distance = np.abs(steps[:, None] - steps) / (CORRELATION_LENGTH * plan.steps)
    chance = np.sum(curve**2, axis=0) / len(curve)
    return CandidateRun(plan, curve, error[:, None] * error * np.exp(-distance) + np.diag(chance))


def _update(state: Array, run: CandidateRun) -> tuple[Array, Array]:
    """P·Y and (Yᵀ·P·Y + R)^-1 of a run, for a covariance P of the weights of the draws."""
    cross_cov = state @ run.curve
    marginal_cov = run.curve.T @ cross_cov + run.noise
    return cross_cov, np.asarray(np.linalg.pinv(marginal_cov, hermitian=True))


def posterior_sd(state: Array, target: Array, run: CandidateRun) -> float:
    """Standard deviation of the target's log final loss after observing a run."""
    cross_cov, inverse = _update(state, run)
    before, covariance = float(target @ state @ target), target @ cross_cov
    after = before - float(covariance @ inverse @ covariance)
    # if the run measures the target's loss itself, only the rounding of a difference remains
    return float(np.sqrt(after)) if after > 1e-9 * float(target @ target) else 0.0


def reduction(variance: float, steps: int) -> float:
    """Score of a run: the reduction of the variance."""
    return variance


def gain_per_step(variance: float, steps: int) -> float:
    """Score of a run: the reduction of the variance per training step."""
    return variance / steps


def greedy(
    candidates: Sequence[CandidateRun],
    first: Sequence[CandidateRun],
    target: Array,
    runs: int,
    budget: int | None,
    score: Callable[[float, int], float],
) -> list[tuple[CandidateRun, float]]:
    """Choose runs one at a time, each the best given those before it.

    Args:
        candidates: the candidate runs.
        first: the subset that the first run is chosen from; empty for all candidates.
        target: deviations of the target's log final loss: (draws,).
        runs: how many to choose at most.
        budget: total steps that the chosen runs may take, or None.
        score: (reduction of the variance, steps of the run) -> the higher the better; ties are
            resolved in favour of the shorter run.

    Returns:
        The runs in order, with the standard deviation after each. A run that reduces it by less
        than `MIN_REDUCTION` is not chosen, unless it is in `first`.
    """
    state = np.eye(len(target))
    now = before = float(np.linalg.norm(target))
    path: list[tuple[CandidateRun, float]] = []
    steps_left, remaining = budget, list(candidates)
    while len(path) < runs:
        forced = bool(first) and not path
        options = []
        for run in first if forced else remaining:
            steps = run.schedule.steps
            if steps_left is not None and steps > steps_left:
                continue
            after = min(before, posterior_sd(state, target, run))
            if forced or before - after > MIN_REDUCTION * now:
                options.append((score(before**2 - after**2, steps), -steps, run, after))
        if not options:
            break
        _, _, run, before = max(options, key=lambda option: option[:2])
        path.append((run, before))
        remaining.remove(run)
        steps_left = None if steps_left is None else steps_left - run.schedule.steps
        cross_cov, inverse = _update(state, run)
        state = state - cross_cov @ inverse @ cross_cov.T
    return path
