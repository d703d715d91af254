"""Common parts of all figures: colours, axes, files. Uses no global state of matplotlib."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib
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
MAX_TICKS = 5
# logarithmic axes: (factors, n), multiples of every n-th power of ten, from fine to coarse
TICKS: tuple[tuple[tuple[float, ...], int], ...] = (
    ((1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9), 1),
    ((1, 2, 3, 4, 6), 1),
    ((1, 2, 5), 1),
    ((1,), 1),
    ((1,), 2),
    ((1,), 4),
    ((1,), 8),
)
MAX_DRAWN = 2000  # steps per line: more than a figure has columns of pixels


def style_of(index: int) -> dict[str, Any]:
    """Colour and line style of curve number `index`: all colours, then the next line style."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "linestyle": LINES[index // len(COLOURS) % len(LINES)],
    }


def ticks_between(low: float, high: float, *, logarithmic: bool) -> list[float]:
    """At most `MAX_TICKS` round numbers from low to high, for a linear or logarithmic axis."""
    if not logarithmic or high < 3.0 * low:
        even = MaxNLocator(3).tick_values(low, high)
        return [float(tick) for tick in even if low <= tick <= high]
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for factors, stride in TICKS:
        numbers = [
            factor * 10.0**exponent
            for exponent in exponents
            if exponent % stride == 0
            for factor in factors
        ]
        ticks = [number for number in numbers if low <= number <= high]
        if len(ticks) <= MAX_TICKS:
            break
    return ticks


def set_range(axes: Any, which: str, low: float, high: float, *, logarithmic: bool) -> None:
    """Set range, scale and plain-number ticks of the axis ``"x"`` or ``"y"``."""
    axis = {"x": axes.xaxis, "y": axes.yaxis}[which]
    axes.set(**{f"{which}scale": "log" if logarithmic else "linear", f"{which}lim": (low, high)})
    ticks = ticks_between(low, high, logarithmic=logarithmic)
    axis.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    axis.set_ticks([], minor=True)


def drawn_steps(first: int, last: int) -> NDArray[np.int64]:
    """Increasing steps from first to last, both included, at most `MAX_DRAWN`."""
    return np.unique(np.linspace(first, last, min(MAX_DRAWN, last - first + 1)).astype(np.int64))


def save_figure(figure: Figure, path: Path | str) -> Path:
    """Write a figure atomically, as PNG, SVG or PDF according to the file name.

    The same figure is written as the same bytes.
    """
    vector = Path(path).suffix.lower() in (".svg", ".pdf")
    metadata = {"Date" if Path(path).suffix.lower() == ".svg" else "CreationDate": None}

    def write(temporary: Path) -> None:
        with matplotlib.rc_context({"svg.hashsalt": "scaling-laws"}):
            figure.savefig(temporary, dpi=150, metadata=metadata if vector else None)

    return write_with(path, write)
