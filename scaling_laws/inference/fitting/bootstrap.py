"""Uncertainty of the parameters: refits to reweighted runs (Bayesian bootstrap).

The random numbers of a refit are determined by the seed, a stream and its index, and refits are
solved in chunks that do not depend on the backend. Results are therefore the same everywhere, and
the first 100 of 1,000 refits equal those of a bootstrap of 100 (not to the last bit: a shorter last
chunk solves some of them in other slots of the batch).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import HERE, Pool, collect
from scaling_laws.inference.constants import BLOCKS
from scaling_laws.inference.fitting.fit_data import Data
from scaling_laws.inference.fitting.multistart import Settings, solve_requests
from scaling_laws.inference.fitting.problem import Solution, SolveRequest
from scaling_laws.inference.fitting.serialization import (
    SerializedData,
    data_from_picklable,
    data_to_picklable,
)
from scaling_laws.models import in_float64

__all__ = ["CHUNK_SIZE", "BootstrapRequest", "block_weights", "resample"]

Array = NDArray[np.float64]
CHUNK_SIZE = 128  # refits per task, in every backend


@dataclass(frozen=True, eq=False)
class BootstrapRequest:
    """Request for the refits of one bootstrap.

    Attributes:
        best: the fit to start from.
        count: how many.
        stream: of random numbers; another one gives other weights and prior means.
        base: weights that the random ones multiply, (losses,); default those of the fit.
    """

    best: Solution
    count: int
    stream: int = 0
    base: Array | None = None


def block_weights(data: Data, base: Array, generators: Sequence[np.random.Generator]) -> Array:
    """Random weights of mean one: of each run, and of each block of its points.

    The Bayesian bootstrap (Rubin 1981) of blocks within runs: like resampling blocks and runs with
    replacement, except that no refit lacks a run entirely, which would leave too few of three runs.

    Args:
        data: the runs.
        base: weights that the random ones multiply: (losses,).
        generators: of random numbers, one per row of weights.

    Returns:
        (generators, losses).
    """
    block, before = np.empty(len(data.observed), dtype=np.int64), 0
    for index in range(len(data.runs)):
        of_run = np.flatnonzero(data.run == index)
        count = min(BLOCKS, len(of_run))
        block[of_run] = before + np.arange(len(of_run)) * count // len(of_run)
        before += count
    rows = []
    for generator in generators:
        block_weight = generator.exponential(size=before)
        run_weight = generator.exponential(size=len(data.runs))
        weight = base * block_weight[block] * run_weight[data.run]
        rows.append(weight * (np.sum(base) / np.sum(weight)))
    return np.array(rows)


def resample(
    data: Data,
    settings: Settings,
    bootstraps: Sequence[BootstrapRequest],
    pool: Pool = HERE,
    stage: str = "bootstrap refits",
) -> list[list[Solution]]:
    """Refit to reweighted runs, with the prior's mean drawn from the prior.

    Where the runs carry no information, refits then vary as much as the prior (randomise-then-
    optimise; Bardsley et al. 2014).

    Args:
        data: the runs.
        settings: of the fit.
        bootstraps: which refits.
        pool: where to refit, `CHUNK_SIZE` at a time.
        stage: label of the progress reports.

    Returns:
        For each of `bootstraps`, the refits that succeeded.

    Raises:
        PoolError: if processes of the pool keep dying.
    """
    picklable = data_to_picklable(data, pool)
    refits = [
        (number, index)
        for number, bootstrap in enumerate(bootstraps)
        for index in range(bootstrap.count)
    ]
    chunks = [refits[begin : begin + CHUNK_SIZE] for begin in range(0, len(refits), CHUNK_SIZE)]
    arguments = [(picklable, settings, list(bootstraps), chunk) for chunk in chunks]
    solved = collect(pool, _refit, arguments, f"{data.law.name}: {stage}")
    succeeded: list[list[Solution]] = [[] for _ in bootstraps]
    for chunk, solutions in zip(chunks, solved, strict=True):
        for (number, _), solution in zip(chunk, solutions, strict=True):
            if np.isfinite(solution.objective):
                succeeded[number].append(solution)
    return succeeded


@in_float64
def _refit(
    picklable: Data | SerializedData,
    settings: Settings,
    bootstraps: Sequence[BootstrapRequest],
    refits: Sequence[tuple[int, int]],
) -> list[Solution]:
    """One task of `resample`: refits by number of their bootstrap and index in it."""
    data = data_from_picklable(picklable)
    size = len(data.law.nonlinear_parameters)
    rows = []
    for number, bootstrap in enumerate(bootstraps):
        indices = [index for of_bootstrap, index in refits if of_bootstrap == number]
        if not indices:
            continue
        generators = [
            np.random.default_rng(
                np.random.SeedSequence(settings.seed, spawn_key=(bootstrap.stream, index))
            )
            for index in indices
        ]
        base = data.weight if bootstrap.base is None else bootstrap.base
        weight = block_weights(data, base, generators)
        shift = np.array([generator.standard_normal(size) for generator in generators])
        rows.append(
            data.requests(
                bootstrap.best.unconstrained,
                weight=weight,
                prior=settings.prior,
                strength=settings.strength(data, base),
                shift=shift,
            )
        )
    requests: SolveRequest = jax.tree.map(lambda *parts: np.concatenate(parts), *rows)
    return solve_requests(data, settings, requests, settings.negligible(data))
