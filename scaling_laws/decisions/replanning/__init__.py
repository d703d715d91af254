"""A run in progress: its predicted loss, and the best schedule for the remaining steps."""

from scaling_laws.decisions.replanning.replan_result import Cooldown, Now, PlanOutcome, Replan, Stop
from scaling_laws.decisions.replanning.run_replanning import replan

__all__ = ["Cooldown", "Now", "PlanOutcome", "Replan", "Stop", "replan"]
