"""Loss laws. To add one: write a file that ends in a `Law`, and add it to `LAWS`."""

from __future__ import annotations

from scaling_laws.errors import LawError, find_by_name
from scaling_laws.laws.base import Law
from scaling_laws.laws.linear_drop import LINEAR_DROP
from scaling_laws.laws.lr_annealing import LR_ANNEALING
from scaling_laws.laws.multi_power import MULTI_POWER
from scaling_laws.laws.power import POWER

__all__ = ["LAWS", "Law", "get_law"]

LAWS: tuple[Law, ...] = (POWER, LINEAR_DROP, LR_ANNEALING, MULTI_POWER)


def get_law(name: str) -> Law:
    """The registered law of that name.

    Raises:
        LawError: listing the near matches if there is none.
    """
    return find_by_name("law", name, LAWS, LawError)
