"""Laplace approximation of the posterior of a law's parameters, given the run so far.

The log loss is nearly linear in the unconstrained parameters over the width of a prior, so a few
Gauss-Newton steps reach the posterior mode, and the Jacobian there gives the covariance.
Priors are compared by their Laplace-approximated marginal likelihood.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import FitError
from scaling_laws.decisions.replanning.batched_losses import in_unit, log_losses
from scaling_laws.decisions.replanning.binned_log import BinnedLog
from scaling_laws.decisions.replanning.parameter_prior import GaussianPrior, params_of
from scaling_laws.inference import BLOCKS, MISFIT

__all__ = ["LaplacePosterior", "laplace_posterior"]

Array = NDArray[np.float64]
ITERATIONS = 8
STEP_TRIALS = 6
STEP_FACTOR = 0.4  # ratio of successive step lengths in the line search
TOLERANCE = 1e-4  # largest change of an unconstrained parameter at convergence
DIFFERENCE_STEP = 0.02  # of the finite differences, in prior standard deviations
DIFFERENCE_STEP_RANGE = (1e-4, 1e-2)
JITTER = 1e-12  # added to variances, so that few draws do not give a singular covariance


@dataclass(frozen=True, eq=False)
class LaplacePosterior:
    """A normal approximation of the posterior after the run so far.

    Attributes:
        prior: the prior.
        mode: most probable unconstrained parameters: (parameters,).
        covariance: (parameters, parameters).
        evidence: log marginal likelihood, up to a constant of the run.
        misfit: rms of the log residuals.
        prior_offset: mean of log(logged / predicted) over the last fifth at the prior mean.
    """

    prior: GaussianPrior
    mode: Array = field(repr=False)
    covariance: Array = field(repr=False)
    evidence: float
    misfit: float
    prior_offset: float

    def draws(self, count: int, seed: int) -> dict[str, Array]:
        """Parameters for LRs as logged: the mode, then draws; (1 + count,) per parameter."""
        law, unit = self.prior.law, self.prior.unit
        generator = np.random.default_rng(seed)
        eigenvalues, vectors = np.linalg.eigh(self.covariance)
        root = vectors * np.sqrt(np.maximum(eigenvalues, 0.0))
        shifts = generator.standard_normal((count, len(self.mode))) @ root.T
        rows = np.concatenate([self.mode[None], self.mode + shifts])
        return in_unit(law, params_of(law, rows), 1.0 / unit)


def laplace_posterior(
    prior: GaussianPrior, points: BinnedLog, lr: Array, facts: Mapping[str, float]
) -> LaplacePosterior:
    """Condition a prior on the log of a run.

    Derivatives are central differences rather than automatic derivatives: all parameter rows then
    share the few compiled programs of `log_losses`, and a replan compiles nothing else.

    Args:
        prior: of the unconstrained parameters.
        points: the binned log of the run so far.
        lr: its learning rates, as logged: (steps,).
        facts: known facts of the run.

    Raises:
        FitError: if the law's losses are not finite.
    """
    law = prior.law
    rates = lr[: int(points.steps[-1]) + 1] / prior.unit
    prior_sd = np.sqrt(np.diag(prior.covariance))
    free_mask = prior_sd > 0
    prior_cov = prior.covariance + JITTER * np.diag(free_mask.astype(float))
    precision = np.linalg.pinv(prior_cov, rcond=1e-13, hermitian=True)
    width = np.clip(DIFFERENCE_STEP * prior_sd, *DIFFERENCE_STEP_RANGE) * free_mask
    logged, count = points.log_loss, len(points.steps)
    share = max(count / BLOCKS, 1.0) / points.weight * np.mean(points.weight)

    def predicted(rows: Array) -> Array:
        return log_losses(law, params_of(law, rows), rates, points.steps, facts)

    def linearised(x: Array) -> tuple[Array, Array]:
        """Log losses, (points,), and their Jacobian, (points, parameters)."""
        rows = predicted(np.concatenate([[x], x + np.diag(width), x - np.diag(width)]))
        differences = rows[1 : len(x) + 1] - rows[len(x) + 1 :]
        return rows[0], (differences / np.where(free_mask, 2.0 * width, 1.0)[:, None]).T

    def objective(rows: Array, noise: Array) -> tuple[Array, Array]:
        """Twice the negative log posterior, (rows,), and the log residuals, (rows, points)."""
        residuals, shifts = logged - predicted(rows), rows - prior.mean
        penalty = np.einsum("ri,ij,rj->r", shifts, precision, shifts)
        return np.sum(residuals**2 / noise, axis=1) + penalty, residuals

    def rms_of(residual: Array) -> float:
        return float(np.sqrt(np.average(residual**2, weights=points.weight)))

    mode = prior.mean.copy()
    at_prior_mean = predicted(mode[None])[0]
    if not np.isfinite(at_prior_mean).all():
        raise FitError(f"{law.name}: its losses on this run are not finite; use another law")
    noise = MISFIT**2 * share
    for iteration in range(ITERATIONS):
        fitted, jacobian = linearised(mode)
        residual = logged - fitted + jacobian @ (mode - prior.mean)
        marginal_cov = jacobian @ prior_cov @ jacobian.T + np.diag(noise)
        target = prior.mean + prior_cov @ jacobian.T @ np.linalg.solve(marginal_cov, residual)
        step_sizes = np.append(0.0, STEP_FACTOR ** np.arange(STEP_TRIALS))
        trials = mode + step_sizes[:, None] * (target - mode)
        values, residuals = objective(trials, noise)
        better = np.flatnonzero(values[1:] <= values[0] + 1e-9)
        chosen = 1 + int(better[0]) if better.size else 0
        change = float(np.max(np.abs(trials[chosen] - mode)))
        mode = trials[chosen]
        if iteration:  # after the first step the residuals are still large
            noise = max(MISFIT, rms_of(residuals[chosen])) ** 2 * share
        if change < TOLERANCE and iteration > 1:
            break
    fitted, jacobian = linearised(mode)
    marginal_cov = jacobian @ prior_cov @ jacobian.T + np.diag(noise)
    gain = np.linalg.solve(marginal_cov, jacobian @ prior_cov)
    posterior_cov = prior_cov - prior_cov @ jacobian.T @ gain
    rms = rms_of(logged - fitted)
    # determinants of the marginal over the noise covariance, and of the noise over its floor; the
    # latter for independent blocks, not for points
    scaled = marginal_cov / np.sqrt(noise[:, None] * noise[None, :])
    log_det = float(np.linalg.slogdet(scaled)[1])
    log_noise = min(count, BLOCKS) * float(np.log(max(rms / MISFIT, 1.0) ** 2))
    last = slice(-max(1, count // 5), None)
    return LaplacePosterior(
        prior,
        mode,
        0.5 * (posterior_cov + posterior_cov.T),
        -0.5 * (float(objective(mode[None], noise)[0][0]) + log_det + log_noise),
        rms,
        float(np.mean(logged[last] - at_prior_mean[last])),
    )
