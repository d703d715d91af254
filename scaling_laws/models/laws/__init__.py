"""Loss laws. To add one: write a file that ends in a `Law` or `PointLaw`, and add it to `LAWS`."""

from __future__ import annotations

from scaling_laws.common import LawError, find_by_name
from scaling_laws.models.laws.across_sizes import SUFFIX, across_sizes
from scaling_laws.models.laws.chinchilla import CHINCHILLA
from scaling_laws.models.laws.collapse_noise import COLLAPSE_NOISE
from scaling_laws.models.laws.continual import CONTINUAL
from scaling_laws.models.laws.convex_bound import CONVEX_BOUND
from scaling_laws.models.laws.critical_mixture import CRITICAL_MIXTURE
from scaling_laws.models.laws.data_constrained import DATA_CONSTRAINED
from scaling_laws.models.laws.data_mixing import DATA_MIXING
from scaling_laws.models.laws.domain_continual import DOMAIN_CONTINUAL
from scaling_laws.models.laws.exponential_forecast import EXPONENTIAL_FORECAST
from scaling_laws.models.laws.forward_momentum import FORWARD_MOMENTUM
from scaling_laws.models.laws.functional import FUNCTIONAL
from scaling_laws.models.laws.functional_noise import FUNCTIONAL_NOISE, FUNCTIONAL_NOISE_NORMS
from scaling_laws.models.laws.kaplan import KAPLAN
from scaling_laws.models.laws.law import AnyLaw, Input, Law, PointLaw
from scaling_laws.models.laws.linear_drop import LINEAR_DROP
from scaling_laws.models.laws.lr_annealing import LR_ANNEALING
from scaling_laws.models.laws.lr_annealing_size import LR_ANNEALING_SIZE
from scaling_laws.models.laws.multi_power import MULTI_POWER
from scaling_laws.models.laws.norm_clock import (
    NORM_CLOCK,
    NORM_CLOCK_FREE_DECAY,
    NORM_CLOCK_MEASURED,
)
from scaling_laws.models.laws.peak_lr import PEAK_LR
from scaling_laws.models.laws.power import POWER

__all__ = [
    "LAWS",
    "POINT_LAWS",
    "SCHEDULE_LAWS",
    "AnyLaw",
    "Input",
    "Law",
    "PointLaw",
    "across_sizes",
    "get_law",
    "get_schedule_law",
]

LAWS: tuple[AnyLaw, ...] = (
    POWER,
    LINEAR_DROP,
    LR_ANNEALING,
    LR_ANNEALING_SIZE,
    MULTI_POWER,
    FUNCTIONAL,
    FUNCTIONAL_NOISE,
    FUNCTIONAL_NOISE_NORMS,
    NORM_CLOCK,
    NORM_CLOCK_FREE_DECAY,
    NORM_CLOCK_MEASURED,
    FORWARD_MOMENTUM,
    COLLAPSE_NOISE,
    CONVEX_BOUND,
    CONTINUAL,
    EXPONENTIAL_FORECAST,
    KAPLAN,
    CHINCHILLA,
    DATA_CONSTRAINED,
    DATA_MIXING,
    DOMAIN_CONTINUAL,
    CRITICAL_MIXTURE,
    PEAK_LR,
)
SCHEDULE_LAWS = tuple(law for law in LAWS if isinstance(law, Law))
POINT_LAWS = tuple(law for law in LAWS if isinstance(law, PointLaw))


def get_law(name: str) -> AnyLaw:
    """The registered law of that name; ``NAME_across_sizes`` extends a law of schedules to sizes.

    Raises:
        LawError: listing the near matches if there is none.
    """
    if name.endswith(SUFFIX):
        return across_sizes(get_schedule_law(name.removesuffix(SUFFIX)))
    return find_by_name("law", name, LAWS, LawError)


def get_schedule_law(name: str) -> Law:
    """The registered law of that name, if it is one of schedules.

    Raises:
        LawError: if there is none, or it is a law of single numbers.
    """
    law = get_law(name)
    if not isinstance(law, Law):
        known = ", ".join(each.name for each in SCHEDULE_LAWS)
        raise LawError(f"{name} knows no schedule; laws that do: {known}")
    return law
