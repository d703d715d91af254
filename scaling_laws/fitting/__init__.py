"""Fit a law to runs, or to a table."""

from scaling_laws.fitting.driver import fit
from scaling_laws.fitting.objective import HUBER_DELTA, huber_objective
from scaling_laws.fitting.points import fit_table

__all__ = ["HUBER_DELTA", "fit", "fit_table", "huber_objective"]
