"""A run in progress: what it will reach, and what to do with the steps that are left."""

from scaling_laws.decisions.replanning.replan_result import Cooldown, Now, PlanOutcome, Replan, Stop
from scaling_laws.decisions.replanning.run_replanning import replan

__all__ = ["Cooldown", "Now", "PlanOutcome", "Replan", "Stop", "replan"]
