"""Slow, obvious NumPy twins of the laws, one file a law, written from the paper's equation."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray


def reference_loss(
    law: str,
    values: Mapping[str, float],
    lr: NDArray[np.float64],
    steps: NDArray[np.int64],
    facts: Mapping[str, float] | None = None,
    traces: Mapping[str, NDArray[np.float64]] | None = None,
) -> NDArray[np.float64]:
    """Losses at `steps` under the twin of a law."""
    twin = importlib.import_module(f"tests.reference.{law}")
    return np.array([twin.loss(values, lr, int(step), facts or {}, traces or {}) for step in steps])
