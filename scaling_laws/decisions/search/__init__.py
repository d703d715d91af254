"""Search for the schedule with the lowest predicted final loss."""

from scaling_laws.decisions.search.branches import Branches, CooldownBranch, optimize_branches
from scaling_laws.decisions.search.evaluator import ScoredSchedule
from scaling_laws.decisions.search.gains import Gain, shared_error
from scaling_laws.decisions.search.optimization import optimize
from scaling_laws.decisions.search.optimum import Optimum

__all__ = [
    "Branches",
    "CooldownBranch",
    "Gain",
    "Optimum",
    "ScoredSchedule",
    "optimize",
    "optimize_branches",
    "shared_error",
]
