"""Search for the schedule with the lowest predicted final loss."""

from scaling_laws.search.optimum import Optimum, optimize

__all__ = ["Optimum", "optimize"]
