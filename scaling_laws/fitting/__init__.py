"""Fit a law to runs."""

from scaling_laws.fitting.driver import fit
from scaling_laws.fitting.objective import HUBER_DELTA, huber_objective

__all__ = ["HUBER_DELTA", "fit", "huber_objective"]
