"""NPY: a float64 array with the rate of every step."""

from __future__ import annotations

import io

import numpy as np

from scaling_laws.decisions.export.csv_file import no_error
from scaling_laws.decisions.export.target import Request, Target

__all__ = ["NPY_FILE"]


def write(request: Request) -> bytes:
    """An array of shape (steps,)."""
    stream = io.BytesIO()
    np.save(stream, request.plan.lr / request.scale, allow_pickle=False)
    return stream.getvalue()


NPY_FILE = Target(
    name="npy",
    meaning="NumPy float64 array of every step (needs --out)",
    suffix=".npy",
    forms=("absolute", "multiplier"),
    units=("steps",),
    exact=write,
    max_error=no_error,
)
