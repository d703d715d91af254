"""What the runs leave open about the parameters: refits to reweighted runs.

Each refit has random numbers of its own, of the seed, a stream and its index; and refits are
solved in pieces that do not depend on who solves them. So they are the same wherever they run,
and the first hundred of a thousand are those of a hundred. (Not to the last bit: a piece cut off
solves some of them in other lanes.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import HERE, Pool, collect
from scaling_laws.inference.fitting.fit_data import Data
from scaling_laws.inference.fitting.multistart import BLOCKS, Settings
from scaling_laws.inference.fitting.serialization import Sent, received, sent
from scaling_laws.inference.fitting.varpro import Outcome, solve_jobs
from scaling_laws.models import in_float64

__all__ = ["PIECE", "Refits", "block_weights", "resample"]

Array = NDArray[np.float64]
PIECE = 64  # refits that are solved together, wherever that is


@dataclass(frozen=True, eq=False)
class Refits:
    """Refits to ask for.

    Attributes:
        centre: the fit to start from.
        count: how many.
        stream: of random numbers; another one gives other weights and centres.
        base: weights of the losses before they are drawn, (losses,); default those of the fit.
    """

    centre: Outcome
    count: int
    stream: int = 0
    base: Array | None = None


def block_weights(data: Data, base: Array, generators: Sequence[np.random.Generator]) -> Array:
    """Random weights of mean one: of each run, and of each block of its points.

    The Bayesian bootstrap (Rubin 1981) of blocks within runs: like drawing blocks and runs with
    replacement, but no refit ever lacks a run altogether, which three runs could not bear.

    Args:
        data: the runs.
        base: weights before they are drawn: (losses,).
        generators: of random numbers, one a row of weights.

    Returns:
        (generators, losses).
    """
    block, before = np.empty(len(data.observed), dtype=np.int64), 0
    for place in range(len(data.runs)):
        mine = np.flatnonzero(data.run == place)
        count = min(BLOCKS, len(mine))
        block[mine] = before + np.arange(len(mine)) * count // len(mine)
        before += count
    rows = []
    for generator in generators:
        of_block = generator.exponential(size=before)
        of_run = generator.exponential(size=len(data.runs))
        weight = base * of_block[block] * of_run[data.run]
        rows.append(weight * (np.sum(base) / np.sum(weight)))
    return np.array(rows)


def resample(
    data: Data,
    settings: Settings,
    asked: Sequence[Refits],
    pool: Pool = HERE,
    report: Callable[[int, int], None] | None = None,
) -> list[list[Outcome]]:
    """Refits to reweighted runs, with the prior's centre drawn from the prior.

    Where the runs say nothing, refits then spread as the prior does (randomise, then optimise;
    Bardsley et al. 2014).

    Args:
        data: the runs.
        settings: of the fit.
        asked: which refits.
        pool: where to refit, `PIECE` at a time.
        report: called with the pieces done and how many there are.

    Returns:
        For each of `asked`, the refits that succeeded.

    Raises:
        PoolError: if processes of the pool keep dying.
    """
    given = sent(data, pool)
    cut = [
        (place, first) for place, each in enumerate(asked) for first in range(0, each.count, PIECE)
    ]
    pieces = [
        (given, settings, asked[place], first, min(first + PIECE, asked[place].count))
        for place, first in cut
    ]
    solved = collect(pool, _refit, pieces, f"{data.law.name}: refits to reweighted runs", report)
    found: list[list[Outcome]] = [[] for _ in asked]
    for (place, _), outcomes in zip(cut, solved, strict=True):
        found[place] += [each for each in outcomes if np.isfinite(each.objective)]
    return found


@in_float64
def _refit(
    given: Data | Sent, settings: Settings, asked: Refits, first: int, stop: int
) -> list[Outcome]:
    """One piece of `resample`: the refits from index `first` up to `stop`."""
    data = received(given)
    generators = [
        np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=(asked.stream, each)))
        for each in range(first, stop)
    ]
    base = data.weight if asked.base is None else asked.base
    weight = block_weights(data, base, generators)
    shift = np.array(
        [each.standard_normal(len(data.law.nonlinear_parameters)) for each in generators]
    )
    jobs = data.jobs(
        asked.centre.free,
        weight=weight,
        prior=settings.prior,
        strength=settings.strength(data, base),
        shift=shift,
    )
    return solve_jobs(
        data.law, data.problem, jobs, settings.objective, ties=data.ties, limits=data.limits
    )
