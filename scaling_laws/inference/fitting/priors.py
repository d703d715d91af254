"""Priors on shape parameters: weak, shipped as numbers, and for schedules scaled to a peak of 1.

Two or three runs do not say how a memory fades; other runs did. A prior is a normal distribution
of the free number (the logarithm of a positive parameter).

`LEARNT` holds what `python -m benchmarks.priors` printed: for each law with parameters in the
literature, the mean over those fits and our own proxy data, and twice their spread. Other laws
have one in their start ranges: the middle, and half the range as standard deviation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import UsageError
from scaling_laws.models import SUFFIX, Law

__all__ = ["LEARNT", "Prior", "prior_of"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Prior:
    """A normal prior on some shape parameters.

    Attributes:
        centre: mean of the free number, by parameter.
        spread: its standard deviation, by parameter.
        source: where the numbers come from.
        most_runs: as how many runs the data count against it at most. Runs of one model share what
            a law gets wrong, and a fit that follows it predicts other runs worse.
    """

    centre: Mapping[str, float]
    spread: Mapping[str, float]
    source: str
    most_runs: float = float("inf")

    def arrays(self, law: Law) -> tuple[Array, Array]:
        """Centre and precision of each shape parameter: (shape,) each; 0 where it says nothing."""
        centre = [self.centre.get(parameter.name, 0.0) for parameter in law.nonlinear_parameters]
        spread = [self.spread.get(parameter.name, np.inf) for parameter in law.nonlinear_parameters]
        return np.array(centre), 1.0 / np.array(spread) ** 2


# chosen for what fits of a few runs predict, by gradient steps on centres and spreads at once;
# docs/norm_clock.md
NORM_CLOCK = Prior(
    centre={
        "alpha": -0.52,
        "C": 5.98,
        "beta": -2.14,
        "initial_norm": -2.41,
        "clock_exponent": 0.31,
        "gain_exponent": -0.43,
        "gain_progress": 1.29,
        "early": 0.085,
        "data": -2.3,
        "gain_growth": 0.1,
    },
    spread={
        "alpha": 0.43,
        "C": 0.83,
        "beta": 0.27,
        "initial_norm": 0.54,
        "clock_exponent": 0.11,
        "gain_exponent": 0.48,
        "gain_progress": 0.69,
        "early": 0.24,
        "data": 0.2,
        "gain_growth": 0.04,
    },
    source="random splits of public sets and our proxy runs",
    most_runs=3,
)
LEARNT: Mapping[str, Prior] = {
    "multi_power": Prior(
        centre={"alpha": -0.77, "C": -1.97, "beta": -0.66, "gamma": -0.58},
        spread={"alpha": 0.14, "C": 0.77, "beta": 0.52, "gamma": 0.56},
        source="published 25M, 100M, 400M and data/proxy_nano",
    ),
    "norm_clock": NORM_CLOCK,
    "norm_clock_free_decay": NORM_CLOCK,
    "norm_clock_measured": NORM_CLOCK,
}


def from_start_ranges(law: Law) -> Prior:
    """The middle of each start range, half the range as standard deviation."""
    centre, spread = {}, {}
    for parameter in law.nonlinear_parameters:
        low, high = (parameter.transform.inverse(end) for end in parameter.start)
        centre[parameter.name] = 0.5 * (low + high)
        spread[parameter.name] = 0.5 * (high - low)
    return Prior(centre, spread, "the law's start ranges")


def prior_of(law: Law, choice: str | Prior | None) -> Prior | None:
    """The prior that a choice means for a law.

    Args:
        law: the law.
        choice: ``"weak"`` for the shipped one, ``"none"`` or None for none, or a prior.

    Raises:
        UsageError: for another word, or a prior on what is no shape parameter of the law.
    """
    if choice is None or choice == "none":
        return None
    if isinstance(choice, Prior):
        names = [parameter.name for parameter in law.nonlinear_parameters]
        for name in choice.centre:
            if name not in names:
                raise UsageError(f"{law.name} has no shape parameter {name!r}; it has {names}")
        return choice
    if choice != "weak":
        raise UsageError(f"prior={choice!r}: known are 'weak' and 'none'")
    weak, learnt = from_start_ranges(law), LEARNT.get(law.name.removesuffix(SUFFIX))
    if learnt is None:
        return weak
    centre, spread = (
        {name: values.get(name, start) for name, start in starts.items()}
        for values, starts in ((learnt.centre, weak.centre), (learnt.spread, weak.spread))
    )
    return Prior(centre, spread, learnt.source, learnt.most_runs)
