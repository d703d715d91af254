"""A run in progress: what it will reach, and what to do with the steps that are left."""

from scaling_laws.replanning.driver import replan
from scaling_laws.replanning.value import Cooldown, Ending, Now, Replan, Stop

__all__ = ["Cooldown", "Ending", "Now", "Replan", "Stop", "replan"]
