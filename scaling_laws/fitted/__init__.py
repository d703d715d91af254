"""A fitted law: its value, its file, and the losses it predicts."""

from scaling_laws.fitted.lawfile import load_law, save_law
from scaling_laws.fitted.points import PointPrediction
from scaling_laws.fitted.predict import Prediction, final_losses, predict, predict_losses
from scaling_laws.fitted.uncertainty import Exposure, Uncertainty
from scaling_laws.fitted.value import FitRecord, FittedLaw, InputRange, Range

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
