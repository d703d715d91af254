"""A fitted law: its value, its file, and the losses it predicts."""

from scaling_laws.inference.results.fitted_law import FitRecord, FittedLaw, InputRange, Range
from scaling_laws.inference.results.law_file import load_law, save_law
from scaling_laws.inference.results.point_prediction import PointPrediction
from scaling_laws.inference.results.prediction import (
    Prediction,
    final_losses,
    predict,
    predict_losses,
)
from scaling_laws.inference.results.uncertainty import Exposure, Uncertainty

__all__ = [
    "Exposure",
    "FitRecord",
    "FittedLaw",
    "InputRange",
    "PointPrediction",
    "Prediction",
    "Range",
    "Uncertainty",
    "final_losses",
    "load_law",
    "predict",
    "predict_losses",
    "save_law",
]
