"""What all pictures share: colours, bare figures, axes, files. No global state of matplotlib."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from scaling_laws.common import write_with
from scaling_laws.inference import COLOURS, bare, loss_limits, new_figure

__all__ = [
    "COLOURS",
    "LINES",
    "bare",
    "drawn_steps",
    "loss_limits",
    "new_figure",
    "save_figure",
    "set_range",
    "style_of",
    "ticks_between",
]

LINES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)))
MOST_TICKS = 5
# on a logarithmic axis: multiples of every so manieth power of ten, from fine to coarse
TICKS: tuple[tuple[tuple[float, ...], int], ...] = (
    ((1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9), 1),
    ((1, 2, 3, 4, 6), 1),
    ((1, 2, 5), 1),
    ((1,), 1),
    ((1,), 2),
    ((1,), 4),
    ((1,), 8),
)
DRAWN = 2000  # steps of a line: more than a picture has columns of pixels


def style_of(place: int) -> dict[str, Any]:
    """Colour and line of the `place`-th of many curves: all colours, then the next line style."""
    return {
        "color": COLOURS[place % len(COLOURS)],
        "linestyle": LINES[place // len(COLOURS) % len(LINES)],
    }


def ticks_between(low: float, high: float, *, logarithmic: bool) -> list[float]:
    """A few round numbers from low to high, for a linear or a logarithmic axis."""
    if not logarithmic or high < 3.0 * low:
        even = MaxNLocator(3).tick_values(low, high)
        return [float(number) for number in even if low <= number <= high]
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found: list[float] = []
    for factors, stride in TICKS:
        numbers = [
            factor * 10.0**exponent
            for exponent in exponents
            if exponent % stride == 0
            for factor in factors
        ]
        found = [number for number in numbers if low <= number <= high]
        if len(found) <= MOST_TICKS:
            break
    return found


def set_range(axes: Any, which: str, low: float, high: float, *, logarithmic: bool) -> None:
    """Range, scale and ticks, as plain numbers, of the axis ``"x"`` or ``"y"``."""
    axis = {"x": axes.xaxis, "y": axes.yaxis}[which]
    axes.set(**{f"{which}scale": "log" if logarithmic else "linear", f"{which}lim": (low, high)})
    ticks = ticks_between(low, high, logarithmic=logarithmic)
    axis.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    axis.set_ticks([], minor=True)


def drawn_steps(first: int, last: int) -> NDArray[np.int64]:
    """Steps from first to last, both included, as many as a line needs: increasing."""
    return np.unique(np.linspace(first, last, min(DRAWN, last - first + 1)).astype(np.int64))


def save_figure(figure: Figure, path: Path | str) -> Path:
    """Write a figure as PNG, SVG or PDF by the file's ending, whole or not at all."""
    return write_with(path, lambda temporary: figure.savefig(temporary, dpi=150))
