"""Fit a law to runs, or to a table."""

from scaling_laws.fitting.driver import fit
from scaling_laws.fitting.folds import HeldOut, HeldOutFit, predict_held_out
from scaling_laws.fitting.objective import (
    HUBER_DELTA,
    Huber,
    LeastSquares,
    Objective,
    StudentT,
    huber_objective,
    read_objective,
)
from scaling_laws.fitting.points import fit_table
from scaling_laws.fitting.priors import Prior
from scaling_laws.fitting.profiles import Profile, profile

__all__ = [
    "HUBER_DELTA",
    "HeldOut",
    "HeldOutFit",
    "Huber",
    "LeastSquares",
    "Objective",
    "Prior",
    "Profile",
    "StudentT",
    "fit",
    "fit_table",
    "huber_objective",
    "predict_held_out",
    "profile",
    "read_objective",
]
