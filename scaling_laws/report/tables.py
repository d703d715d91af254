"""CSV files of schedules and predicted curves, written whole or not at all."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scaling_laws.files import write_text
from scaling_laws.fitted import Prediction
from scaling_laws.schedules import Schedule

__all__ = ["write_predictions", "write_schedule"]


def write_schedule(path: Path | str, plan: Schedule) -> Path:
    """Columns step,lr, one row a step; reads back exactly as ``csv:PATH``."""
    rows = "".join(f"{step},{rate!r}\n" for step, rate in enumerate(plan.lr.tolist()))
    return write_text(path, "step,lr\n" + rows)


def write_predictions(path: Path | str, predictions: Sequence[Prediction]) -> Path:
    """Columns schedule,step,lr,loss and, with an uncertainty, low_90,high_90."""
    banded = all(prediction.uncertainty is not None for prediction in predictions)
    text = io.StringIO()
    text.write("schedule,step,lr,loss" + (",low_90,high_90" if banded else "") + "\n")
    for prediction in predictions:
        spec = '"' + prediction.schedule.spec.replace('"', '""') + '"'
        columns = [prediction.schedule.lr[prediction.steps], prediction.loss]
        if banded:
            columns += prediction.interval(0.9)
        for step, row in zip(prediction.steps, np.stack(columns, axis=1).tolist(), strict=True):
            text.write(f"{spec},{step}," + ",".join(map(repr, row)) + "\n")
    return write_text(path, text.getvalue())
