"""Fitted laws: their data, their files, their predictions and reports.

From the bottom to the top: `ranges`, `record`, `uncertainty`; `state`, plain data; `prediction`,
`point_prediction`, `evaluation`, `law_file`, `summary`, functions of a state; `fit_result`,
`curve_fit`, `point_fit`, the classes whose methods compose these; `fits`, functions for both kinds.
"""

from scaling_laws.inference.results.curve_fit import CurveFit
from scaling_laws.inference.results.evaluation import Evaluation
from scaling_laws.inference.results.fit_result import FitResult
from scaling_laws.inference.results.fits import (
    evaluate,
    from_params,
    load_law,
    published,
    require_curve_fit,
)
from scaling_laws.inference.results.point_fit import PointFit
from scaling_laws.inference.results.point_prediction import PointPrediction
from scaling_laws.inference.results.prediction import (
    Prediction,
    final_losses,
    predict,
    predict_losses,
)
from scaling_laws.inference.results.ranges import InputRange, Range
from scaling_laws.inference.results.record import FitRecord
from scaling_laws.inference.results.state import FittedPoints
from scaling_laws.inference.results.uncertainty import Uncertainty, VarianceInputs

__all__ = [
    "CurveFit",
    "Evaluation",
    "FitRecord",
    "FitResult",
    "FittedPoints",
    "InputRange",
    "PointFit",
    "PointPrediction",
    "Prediction",
    "Range",
    "Uncertainty",
    "VarianceInputs",
    "evaluate",
    "final_losses",
    "from_params",
    "load_law",
    "predict",
    "predict_losses",
    "published",
    "require_curve_fit",
]
