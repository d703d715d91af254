"""Screening: evaluate a very large number of schedules on all devices and keep the best."""

from scaling_laws.decisions.screening.cluster import Cluster
from scaling_laws.decisions.screening.schedule_screening import LostProcess, screen
from scaling_laws.decisions.screening.screening_result import Ranked, Screening

__all__ = ["Cluster", "LostProcess", "Ranked", "Screening", "screen"]
