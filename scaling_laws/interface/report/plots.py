"""The picture of predictions: runs that a fit never saw, and a schedule that a search found."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from scaling_laws.data import Run
from scaling_laws.inference import CurveFit, Prediction
from scaling_laws.interface.report.figures import (
    COLOURS,
    bare,
    loss_limits,
    new_figure,
    save_figure,
)

__all__ = ["plot_predictions", "save_figure"]


def plot_predictions(
    fitted: CurveFit,
    held_out: Mapping[str, Run],
    found: Prediction | None = None,
    *,
    title: str = "",
    from_step: int = 0,
) -> Figure:
    """Observed and predicted losses of runs that a fit never saw, over their schedules.

    Args:
        fitted: the law.
        held_out: runs by name; each gets a colour.
        found: a schedule found by a search, drawn in black.
        title: of the figure.
        from_step: leave out steps before it; the first losses of a run would squeeze the rest.

    Returns:
        A figure with the learning rates above, the losses in the middle and the errors below.
    """
    figure = new_figure(8.0, 7.0)
    rates, losses, errors = figure.subplots(
        3, 1, sharex=True, gridspec_kw={"height_ratios": [1.0, 2.4, 1.0]}
    )
    if title:
        figure.suptitle(title, fontsize=11)
    visible = []
    shade = max(0.03, 0.25 / len(held_out))  # bands overlap: many of them must stay light
    for place, (name, run) in enumerate(held_out.items()):
        colour = COLOURS[place % len(COLOURS)]
        line = "-" if place < len(COLOURS) else "--"
        kept = run.from_step(from_step)
        prediction = fitted.predict(run.schedule, facts=run.facts, traces=run.traces)
        every = np.arange(int(kept.steps[0]), int(kept.steps[-1]) + 1)
        rates.plot(run.schedule.lr, color=colour, linestyle=line, linewidth=1.3)
        losses.plot(
            kept.steps, kept.loss, ".", color=colour, markersize=3.0, alpha=0.55, linewidth=0
        )
        losses.plot(
            every, prediction.loss[every], color=colour, linestyle=line, linewidth=1.3, label=name
        )
        if prediction.uncertainty is not None:
            low, high = prediction.interval(0.9)
            losses.fill_between(
                every, low[every], high[every], color=colour, alpha=shade, linewidth=0
            )
        errors.plot(
            kept.steps, prediction.loss[kept.steps] - kept.loss, color=colour, linewidth=0.9
        )
        visible += [kept.loss, prediction.loss[every]]
    if found is not None:
        rates.plot(found.schedule.lr, color="black", linewidth=1.3, linestyle=":")
        shown = found.steps >= from_step
        losses.plot(
            found.steps[shown],
            found.loss[shown],
            color="black",
            linewidth=1.3,
            linestyle=":",
            label=f"found: {found.final_loss:.4f} predicted",
        )
        visible.append(found.loss[shown])
    loss_limits(losses, visible)
    losses.set_ylabel("loss (nats)\ndots measured, lines predicted")
    losses.legend(fontsize=8, frameon=False, ncols=2)
    rates.set_ylabel("learning rate")
    errors.axhline(0.0, color="black", linewidth=0.6)
    errors.set_ylabel("error (nats)\npredicted - measured")
    errors.set_xlabel("step")
    bare((rates, losses, errors))
    return figure
