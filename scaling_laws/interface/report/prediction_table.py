"""CSV files of predicted curves, written atomically."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scaling_laws.common import write_text
from scaling_laws.inference import Prediction

__all__ = ["write_predictions"]


def write_predictions(path: Path | str, predictions: Sequence[Prediction]) -> Path:
    """Write columns schedule,step,lr,loss and, with an uncertainty, low_90,high_90."""
    with_interval = all(prediction.uncertainty is not None for prediction in predictions)
    text = io.StringIO()
    text.write("schedule,step,lr,loss" + (",low_90,high_90" if with_interval else "") + "\n")
    for prediction in predictions:
        spec = '"' + prediction.schedule.spec.replace('"', '""') + '"'
        columns = [prediction.schedule.lr[prediction.steps], prediction.loss]
        if with_interval:
            columns += prediction.interval(0.9)
        for step, row in zip(prediction.steps, np.stack(columns, axis=1).tolist(), strict=True):
            text.write(f"{spec},{step}," + ",".join(map(repr, row)) + "\n")
    return write_text(path, text.getvalue())
