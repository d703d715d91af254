"""The infinite schedule behind sampled rates: a cooldown to a level, and an annealing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from scaling_laws.data.importing.curve_shapes import SHAPES
from scaling_laws.data.importing.ramps import Ramp
from scaling_laws.data.importing.recognised import FamilyCandidate
from scaling_laws.data.importing.samples import Samples, rounded, roundest
from scaling_laws.data.importing.schedule_candidates import DecayCandidate, decays

__all__ = ["infinite"]

COOLDOWNS = tuple(shape for shape in SHAPES if shape.name in ("cosine", "inverse_sqrt"))
LEVEL, FALLING = 3, 3  # rows that show the constant phase, and the annealing


def infinite(samples: Samples, ramp: Ramp) -> Iterator[FamilyCandidate]:
    """Candidates whose constant phase and annealing are both logged.

    Without an annealing the schedule is a decay to a constant rate, which `decays` covers.
    """
    after = _level_end(samples, ramp)
    if after is None:
        return
    before_annealing = replace(
        samples,
        steps=samples.steps[:after],
        lr=samples.lr[:after],
        slack=samples.slack[:after],
        last=int(samples.steps[after - 1]),
        total=None,
    )
    for shape in COOLDOWNS:
        for cooled in decays(before_annealing, ramp, shape):
            residual = np.abs(cooled.rates(before_annealing.steps) - before_annealing.lr)
            if cooled.decay_start not in (cooled.warmup, cooled.warmup - 1) or not cooled.end > 0:
                continue
            if (residual <= before_annealing.slack).all() and cooled.decay_end <= samples.steps[
                after - 1
            ]:
                for start, end, total in _annealings(samples, after, cooled):
                    values = {
                        "constant_lr": cooled.end,
                        "cooldown": cooled.decay_end - cooled.decay_start,
                        **({"shape": shape.name} if shape.name != "cosine" else {}),
                        "anneal_start": start,
                        "end": end,
                    }
                    member = FamilyCandidate(
                        cooled.warmup,
                        cooled.start,
                        cooled.peak,
                        samples.last,
                        total,
                        "infinite",
                        cooled.decay_start,
                        values,
                        ramp=cooled.ramp,
                    )
                    if member.exists:
                        yield member


def _level_end(samples: Samples, ramp: Ramp) -> int | None:
    """The row after the longest constant phase that is below the peak and above the last row."""
    lr, slack = samples.lr, samples.slack
    flat = np.abs(np.diff(lr)) <= slack[1:] + slack[:-1]
    flat &= lr[1:] < lr.max() - 2 * slack[1:]
    flat[: ramp.rows] = False
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat.astype(int), [0]])))
    if not edges.size:
        return None
    lengths = edges[1::2] - edges[::2]
    longest = int(np.argmax(lengths))
    begin, after = int(edges[2 * longest]), int(edges[2 * longest + 1]) + 1
    falls = after < lr.size - FALLING and lr[-1] < lr[after - 1] - 2 * slack[-1] and lr[-1] > 0
    return after if after - begin >= LEVEL and falls else None


def _annealings(
    samples: Samples, after: int, cooled: DecayCandidate
) -> Iterator[tuple[int, float, int]]:
    """First step, end and last step of exponential falls from the level."""
    level = cooled.end
    steps = samples.steps[after:].astype(np.float64)
    lr, slack = samples.lr[after:], samples.slack[after:]
    if not (lr > 0).all():
        return
    slope, intercept = np.polyfit(steps, np.log(lr / level), 1, w=lr / slack)
    if not slope < 0:
        return
    begins = -intercept / slope
    # the end is before the row that would have been logged next
    following = 2 * samples.last - int(samples.steps[-2])
    totals = {samples.last + 1, roundest(samples.last + 1, following), samples.total or 0}
    for start in range(round(begins) - 2, round(begins) + 3):
        if not cooled.decay_end <= start <= int(samples.steps[after]):
            continue
        fall = np.log(lr / level) * lr / slack
        time = (steps - start) * lr / slack
        rate = float(fall @ time / (time @ time))
        for total in sorted(
            candidate_total for candidate_total in totals if candidate_total > samples.last
        ):
            end = level * float(np.exp(rate * (total - start)))
            for value in dict.fromkeys(rounded(end, digits) for digits in range(1, 15)):
                line = level * (value / level) ** ((steps - start) / (total - start))
                if (np.abs(line - lr) <= slack).all():
                    yield start, value, total
                    break
