"""Fit a law to runs, or to a table."""

from scaling_laws.inference.fitting.cross_validation import HeldOut, HeldOutFit, predict_held_out
from scaling_laws.inference.fitting.curve_fitting import fit_curves
from scaling_laws.inference.fitting.entry import fit
from scaling_laws.inference.fitting.objective import (
    HUBER_DELTA,
    Huber,
    LeastSquares,
    Objective,
    StudentT,
    huber_objective,
    read_objective,
)
from scaling_laws.inference.fitting.priors import Prior
from scaling_laws.inference.fitting.profiles import Profile, profile
from scaling_laws.inference.fitting.table_fitting import fit_points

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
    "fit_curves",
    "fit_points",
    "huber_objective",
    "predict_held_out",
    "profile",
    "read_objective",
]
