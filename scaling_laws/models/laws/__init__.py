"""Loss laws, one per file; see README.md in this folder for how to add one.

`LAWS` contains the laws shipped here, those of plug-ins (entry-point group
``scaling_laws.laws``) and those added by `register_law`.
"""

from __future__ import annotations

from scaling_laws.common import LawError, Registry
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
    "AnyLaw",
    "Input",
    "Law",
    "PointLaw",
    "across_sizes",
    "get_law",
    "get_schedule_law",
    "point_laws",
    "register_law",
    "schedule_laws",
]

SHIPPED: tuple[AnyLaw, ...] = (
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
LAWS: Registry[AnyLaw] = Registry(
    "law", SHIPPED, group="scaling_laws.laws", record_type=AnyLaw, error=LawError
)


def register_law(law: AnyLaw, *, replace: bool = False) -> AnyLaw:
    """Register a law, so that its name is accepted wherever names of laws are.

    Args:
        law: the law, a `Law` or a `PointLaw`.
        replace: whether it may replace a law of the same name.

    Returns:
        The law.

    Raises:
        LawError: if it is not a law, or its name is taken.
    """
    return LAWS.register(law, replace=replace)


def schedule_laws() -> tuple[Law, ...]:
    """All registered laws of schedules."""
    return tuple(law for law in LAWS.values() if isinstance(law, Law))


def point_laws() -> tuple[PointLaw, ...]:
    """All registered laws of single numbers."""
    return tuple(law for law in LAWS.values() if isinstance(law, PointLaw))


def get_law(name: str) -> AnyLaw:
    """The registered law of that name; ``NAME_across_sizes`` extends a law of schedules to sizes.

    Raises:
        LawError: listing the near matches if there is none.
    """
    if name.endswith(SUFFIX) and name not in LAWS:
        return across_sizes(get_schedule_law(name.removesuffix(SUFFIX)))
    return LAWS.find(name)


def get_schedule_law(name: str) -> Law:
    """The registered law of that name, if it is one of schedules.

    Raises:
        LawError: if there is none, or it is a law of single numbers.
    """
    law = get_law(name)
    if not isinstance(law, Law):
        names = ", ".join(schedule_law.name for schedule_law in schedule_laws())
        raise LawError(f"{name} does not take a schedule; laws that do: {names}", value=name)
    return law
