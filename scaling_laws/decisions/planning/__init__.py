"""Optimal experimental design: which runs to train next to predict a target's final loss best."""

from scaling_laws.decisions.planning.candidate_runs import default_candidates
from scaling_laws.decisions.planning.plan_result import DesignChoice, Plan
from scaling_laws.decisions.planning.run_planning import plan

__all__ = ["DesignChoice", "Plan", "default_candidates", "plan"]
