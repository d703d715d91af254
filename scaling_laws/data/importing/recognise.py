"""The schedule family behind a sampled learning rate: fitted, and confirmed to the printed digits.

A candidate is a warm-up, a constant phase and a decay of one of `SHAPES` or stages; or a member of
a family that returns to its peak or decays twice. It is accepted only if it agrees with every
logged rate to its printed precision. Of several, the one with the shortest description in digits is
used, and the largest difference to the others at steps that were not logged is reported.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import threadpoolctl
from numpy.typing import NDArray

from scaling_laws.data.importing.curve_shapes import SHAPES
from scaling_laws.data.importing.infinite_candidates import infinite
from scaling_laws.data.importing.printed_precision import DOUBLE
from scaling_laws.data.importing.ramps import ramps
from scaling_laws.data.importing.recognised import FamilyCandidate
from scaling_laws.data.importing.repeating import repeating
from scaling_laws.data.importing.samples import digits_of
from scaling_laws.data.importing.schedule_candidates import (
    DecayCandidate,
    Samples,
    decays,
    level,
    stages,
)

__all__ = ["Explanation", "Recognition", "ShapeTrial", "recognise"]

Explanation = DecayCandidate | FamilyCandidate
Array = NDArray[np.float64]
EXACT_ROWS = 6  # distinct rates below the peak that an exact decay must match
PEAK_DIGITS = 2  # digits of a peak that is not a coincidence
UNLIKELY = 6.0  # digits by which a description is longer by coincidence
MAX_COMPARED = 60  # candidates that are compared step by step


@dataclass(frozen=True)
class ShapeTrial:
    """How well the best candidate of a shape fits the logged rates.

    Attributes:
        shape: its name.
        accepted: whether it agrees with every row to the printed precision.
        worst: largest difference, as a fraction of the peak.
        step: of that difference.
    """

    shape: str
    accepted: bool
    worst: float
    step: int


@dataclass(frozen=True, eq=False)
class Recognition:
    """The result of recognising a schedule.

    Attributes:
        best: the simplest candidate; None if none agrees with every row.
        disagreement: largest difference to other accepted candidates at any step up to the last
            logged one, as a fraction of the peak.
        at_step: step of that difference.
        rival: description of that candidate.
        tried: the best candidate of each shape.
    """

    best: Explanation | None
    disagreement: float = 0.0
    at_step: int = 0
    rival: str = ""
    tried: tuple[ShapeTrial, ...] = field(default=(), repr=False)


def recognise(samples: Samples) -> Recognition:
    """The simplest schedule that agrees with sampled rates, if any.

    Args:
        samples: logged rates with their precision, and warm-up and length if known.
    """
    best_trials: dict[str, ShapeTrial] = {}
    accepted: list[tuple[float, Explanation]] = []
    # on a busy machine the threads of the linear algebra library block one another
    with threadpoolctl.threadpool_limits(limits=1):
        candidates = list(_candidates(samples))
    for candidate in candidates:
        residual = np.abs(candidate.rates(samples.steps) - samples.lr)
        ratio = residual / samples.slack
        index = int(np.argmax(ratio))
        agrees = bool(ratio[index] <= 1.0)
        tried = ShapeTrial(
            candidate.shape,
            agrees,
            float(residual[index] / samples.peak),
            int(samples.steps[index]),
        )
        previous = best_trials.get(candidate.shape)
        if previous is None or (agrees, -tried.worst) > (previous.accepted, -previous.worst):
            best_trials[candidate.shape] = tried
        if agrees:
            accepted.append((candidate.cost, candidate))
    tried_all = tuple(
        sorted(best_trials.values(), key=lambda trial: (not trial.accepted, trial.worst))
    )
    if not accepted:
        return Recognition(None, tried=tried_all)
    accepted = _exact(samples, accepted) or accepted
    accepted.sort(key=lambda pair: pair[0])
    best = accepted[0][1]
    others = [candidate for _, candidate in accepted[1:] if not _later_start(best, candidate)]
    difference, step, rival = _disagreement(samples, best, others)
    return Recognition(best, difference, step, rival, tried_all)


def _exact(
    samples: Samples, accepted: list[tuple[float, Explanation]]
) -> list[tuple[float, Explanation]]:
    """Decays that match every logged rate exactly, although the rates have few digits.

    Rates such as 0.00095 may be exact rather than rounded: a decay with few parameters that gives
    many distinct rates without any rounding is not a coincidence.
    """
    low = np.unique(samples.lr[samples.lr < samples.lr.max() - samples.slack])
    if low.size < EXACT_ROWS:
        return []
    return [
        (cost, candidate)
        for cost, candidate in accepted
        if candidate.smooth
        and np.abs(candidate.rates(samples.steps) - samples.lr).max() <= 2 * DOUBLE * samples.peak
    ]


def _later_start(best: Explanation, other: Explanation) -> bool:
    """Whether another candidate is a decay after a constant phase that would be a coincidence.

    A straight line fits from any step before the first row. Where one from step 0 has a peak of one
    or two digits, a constant phase before it that takes many more digits is not credible.
    """
    if not (isinstance(best, DecayCandidate) and isinstance(other, DecayCandidate)):
        return False
    if best.decay is None or other.decay is None or best.warmup or other.warmup:
        return False
    return digits_of(best.peak) <= PEAK_DIGITS and other.cost >= best.cost + UNLIKELY


def _candidates(samples: Samples) -> Iterator[Explanation]:
    yield from repeating(samples)
    for ramp in ramps(samples):
        constant = list(level(samples, ramp))
        yield from constant
        if constant:  # rows that never fall contain no decay
            continue
        yield from stages(samples, ramp)
        for shape in SHAPES:
            yield from decays(samples, ramp, shape)
        yield from infinite(samples, ramp)


def _disagreement(
    samples: Samples, best: Explanation, candidates: list[Explanation]
) -> tuple[float, int, str]:
    """Largest difference to the best, over all steps up to the last required one."""
    all_steps = np.arange(samples.last + 1)
    best_rates = best.rates(all_steps)
    worst, step, rival = 0.0, 0, ""
    # the most complex candidates differ most: compare both ends of a long list
    compared = (
        candidates
        if len(candidates) <= MAX_COMPARED
        else candidates[: MAX_COMPARED // 2] + candidates[-MAX_COMPARED // 2 :]
    )
    for candidate in compared:
        difference = np.abs(candidate.rates(all_steps) - best_rates)
        index = int(np.argmax(difference))
        if difference[index] > worst:
            worst, step, rival = float(difference[index]), index, candidate.words
    return worst / samples.peak, step, rival
