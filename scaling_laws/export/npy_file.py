"""NPY: a float64 array with the rate of every step."""

from __future__ import annotations

import io

import numpy as np

from scaling_laws.export.base import Request, Target
from scaling_laws.export.csv_file import no_error

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
