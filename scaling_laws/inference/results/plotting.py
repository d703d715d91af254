"""Figures of one prediction and of one fit, and the elements that all figures share.

No global state of matplotlib is used, and it is imported when a figure is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scaling_laws.inference.results.state import FittedPoints
from scaling_laws.models import Schedule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["COLOURS", "bare", "loss_limits", "new_figure", "plot_points", "plot_prediction"]

Array = NDArray[np.float64]
# Okabe and Ito's palette, distinguishable with any colour vision
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999")
STEEP = 0.93  # quantile of the losses that the axis shows; the first losses of a run are far above


def plot_prediction(
    schedule: Schedule, steps: NDArray[np.int64], loss: Array, band: tuple[Array, Array] | None
) -> Figure:
    """A matplotlib Figure: the learning rate above, the loss with its interval below.

    Args:
        schedule: the schedule.
        steps: the steps predicted: (points,).
        loss: predicted losses in nats: (points,).
        band: lower and upper ends of intervals, each (points,), if there are any.
    """
    figure, (rates, losses) = _figure((1.0, 2.4))
    rates.plot(schedule.lr, color=COLOURS[0])
    rates.set_ylabel("learning rate")
    losses.plot(steps, loss, color=COLOURS[0])
    loss_limits(losses, [loss])
    if band is not None:
        # the first steps lie far above the axis; their wide intervals would cross it
        losses.fill_between(
            steps,
            *band,
            where=loss <= losses.get_ylim()[1],
            color=COLOURS[0],
            alpha=0.25,
            linewidth=0,
        )
    losses.set(xlabel="step", ylabel="loss (nats)")
    return figure


def plot_points(points: FittedPoints, unit: str = "nats") -> Figure:
    """A matplotlib Figure: measured and fitted losses above, relative residuals below.

    Args:
        points: of the fit.
        unit: of the losses.
    """
    figure, (losses, residuals) = _figure((2.4, 1.0))
    for number, name in enumerate(dict.fromkeys(points.run.tolist())):
        rows, colour = points.run == name, COLOURS[number % len(COLOURS)]
        step, observed, fitted = points.step[rows], points.observed[rows], points.fitted[rows]
        losses.plot(step, observed, ".", color=colour, markersize=3.0, alpha=0.5)
        losses.plot(step, fitted, color=colour, linewidth=1.2, label=name)
        residuals.plot(step, 100.0 * (observed / fitted - 1.0), color=colour, linewidth=0.8)
    loss_limits(losses, [points.observed])
    losses.set_ylabel(f"loss ({unit})\ndots measured, lines fitted")
    losses.legend(fontsize=8, frameon=False)
    residuals.axhline(0.0, color="black", linewidth=0.6)
    residuals.set(xlabel="step", ylabel="residual (%)\nmeasured - fitted")
    return figure


def _figure(heights: tuple[float, float]) -> tuple[Figure, Any]:
    """An empty figure with two axes above each other."""
    figure = new_figure(7.0, 5.0)
    axes = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": heights})
    bare(axes)
    return figure, axes


def new_figure(width: float, height: float) -> Figure:
    """An empty matplotlib Figure of a size in inches, with a canvas of its own."""
    # here: matplotlib takes a quarter of a second to import
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def bare(axes: Iterable[Any]) -> None:
    """Remove the box of some axes and add a light grid."""
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(alpha=0.2, linewidth=0.6)


def loss_limits(axes: Any, losses: Sequence[Array]) -> None:
    """Limits of a loss axis that the first, steep losses of runs do not stretch."""
    values = np.concatenate(losses)
    low, high = float(values.min()), float(np.quantile(values, STEEP))
    margin = 0.05 * (high - low) or 0.01 * abs(high)
    axes.set_ylim(low - margin, high + margin)
