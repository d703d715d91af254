"""Which runs to train next, so that the final loss of a target schedule is known best."""

from scaling_laws.planning.candidates import default_candidates
from scaling_laws.planning.driver import plan
from scaling_laws.planning.value import Choice, Plan

__all__ = ["Choice", "Plan", "default_candidates", "plan"]
