"""What the runs leave open about the parameters: refits to reweighted runs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scaling_laws.fitting.data import Data
from scaling_laws.fitting.lanes import Outcome, solve_jobs
from scaling_laws.fitting.stages import BLOCKS, Settings

__all__ = ["block_weights", "resample"]

Array = NDArray[np.float64]


def block_weights(data: Data, base: Array, generator: np.random.Generator, count: int) -> Array:
    """Random weights of mean one: of each run, and of each block of its points.

    The Bayesian bootstrap (Rubin 1981) of blocks within runs: like drawing blocks and runs with
    replacement, but no refit ever lacks a run altogether, which three runs could not bear.

    Returns:
        (count, losses).
    """
    weight = np.empty((count, len(data.observed)))
    for place in range(len(data.runs)):
        mine = np.flatnonzero(data.run == place)
        block = np.arange(len(mine)) * min(BLOCKS, len(mine)) // len(mine)
        of_block = generator.exponential(size=(count, min(BLOCKS, len(mine))))
        of_run = generator.exponential(size=(count, 1))
        weight[:, mine] = of_run * of_block[:, block]
    weight *= base
    return np.asarray(weight * (np.sum(base) / np.sum(weight, axis=1, keepdims=True)))


def resample(
    data: Data,
    centre: Outcome,
    settings: Settings,
    count: int,
    stream: int = 0,
    base: Array | None = None,
) -> list[Outcome]:
    """Refits to reweighted runs, with the prior's centre drawn from the prior.

    Where the runs say nothing, refits then spread as the prior does (randomise, then optimise;
    Bardsley et al. 2014).

    Args:
        data: the runs.
        centre: the fit to start from.
        settings: of that fit.
        count: refits.
        stream: of random numbers; another one gives other weights and centres.
        base: weights of the losses before they are drawn; default those of the fit.
    """
    if count == 0:
        return []
    generator = np.random.default_rng((settings.seed, stream))
    weight = block_weights(data, data.weight if base is None else base, generator, count)
    shift = generator.standard_normal((count, len(data.law.shape)))
    jobs = data.jobs(
        centre.free,
        weight=weight,
        prior=settings.prior,
        strength=settings.strength,
        shift=shift,
    )
    outcomes = solve_jobs(
        data.law, data.problem, jobs, settings.objective, ties=data.ties, limits=data.limits
    )
    return [outcome for outcome in outcomes if np.isfinite(outcome.objective)]
