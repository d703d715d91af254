"""Screening: very many schedules evaluated on all devices, and the best of them."""

from scaling_laws.screening.cluster import Cluster
from scaling_laws.screening.driver import LostProcess, screen
from scaling_laws.screening.value import Ranked, Screening

__all__ = ["Cluster", "LostProcess", "Ranked", "Screening", "screen"]
