"""Search for the schedule with the lowest predicted final loss."""

from scaling_laws.search.branches import Branch, Branches, optimize_branches
from scaling_laws.search.driver import optimize
from scaling_laws.search.gains import Gain, shared_error
from scaling_laws.search.measure import Scored
from scaling_laws.search.optimum import Optimum

__all__ = [
    "Branch",
    "Branches",
    "Gain",
    "Optimum",
    "Scored",
    "optimize",
    "optimize_branches",
    "shared_error",
]
