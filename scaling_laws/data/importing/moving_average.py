"""Means over rows of a log, and the number of updates that each of them averages."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import UsageError
from scaling_laws.data.importing.options import Finding

__all__ = ["AveragedCurve", "average_rows"]

Array = NDArray[np.float64]
Whole = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class AveragedCurve:
    """A curve of means.

    Attributes:
        steps: of the last row of each mean, increasing: (means,).
        loss: the means: (means,).
        window: number of updates averaged by each mean, up to and including its own.
        finding: for the report.
    """

    steps: Whole = field(repr=False)
    loss: Array = field(repr=False)
    window: int
    finding: Finding


def average_rows(source: str, steps: Whole, loss: Array, rows: int, window: int) -> AveragedCurve:
    """Mean losses of consecutive blocks of rows without overlap.

    Overlapping means would repeat the same noise in a fit. All means must cover the same
    number of updates, since a run has one window: where rows are missing, blocks start again, and
    blocks with too few rows are omitted, the earliest first.

    Args:
        source: the file, for messages.
        steps: increasing: (points,).
        loss: (points,).
        rows: number of rows per mean.
        window: updates that each row averages already.

    Raises:
        UsageError: if that many consecutive, evenly spaced rows do not exist.
    """
    if rows < 1:
        raise UsageError(f"--average-window {rows} must be >= 1")
    differences = np.diff(steps)
    stride = int(np.median(differences)) if differences.size else 1
    edges = np.concatenate([[0], np.flatnonzero(differences != stride) + 1, [steps.size]])
    # the last rows of blocks, counted backwards from the end of every evenly spaced part
    ends = [
        np.arange(after - 1, begin + rows - 2, -rows)[::-1]
        for begin, after in itertools.pairwise(edges.tolist())
    ]
    index = np.concatenate(ends).astype(np.int64)
    if not index.size:
        longest = int(np.diff(edges).max())
        raise UsageError(
            f"{source}: --average-window {rows}: at most {longest} rows follow each other evenly, "
            f"every {stride} steps; choose {longest} or fewer",
            path=source,
        )
    total = np.concatenate([[0.0], np.cumsum(loss - loss.mean())])
    means = (total[index + 1] - total[index + 1 - rows]) / rows + loss.mean()
    # the middle of the window is the middle of the rows
    mean_window = (rows - 1) * stride + window
    n_omitted = steps.size - rows * index.size
    words = (
        f"each loss is now the mean of {rows} rows, {stride} steps apart, over a window of "
        f"{mean_window} updates: {steps.size} points became {index.size}"
    )
    if n_omitted:
        words += f"; {n_omitted} rows at the start or before gaps, too few for a mean, omitted"
    return AveragedCurve(steps[index], means, mean_window, Finding("average_window", words, True))
