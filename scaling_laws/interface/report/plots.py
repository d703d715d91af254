"""The figure of predictions: held-out runs, and a schedule found by a search."""

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
    optimum: Prediction | None = None,
    *,
    title: str = "",
    from_step: int = 0,
) -> Figure:
    """Observed and predicted losses of held-out runs, below their schedules.

    Args:
        fitted: the law.
        held_out: runs by name, one colour per run.
        optimum: prediction for a schedule found by a search, drawn in black.
        title: of the figure.
        from_step: omit earlier steps, whose losses would compress the rest of the axis.

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
    shade = max(0.03, 0.25 / len(held_out))  # many overlapping bands must stay light
    for index, (name, run) in enumerate(held_out.items()):
        colour = COLOURS[index % len(COLOURS)]
        line = "-" if index < len(COLOURS) else "--"
        kept = run.from_step(from_step)
        prediction = fitted.predict(run.schedule, facts=run.facts, traces=run.traces)
        steps = np.arange(int(kept.steps[0]), int(kept.steps[-1]) + 1)
        rates.plot(run.schedule.lr, color=colour, linestyle=line, linewidth=1.3)
        losses.plot(
            kept.steps, kept.loss, ".", color=colour, markersize=3.0, alpha=0.55, linewidth=0
        )
        losses.plot(
            steps, prediction.loss[steps], color=colour, linestyle=line, linewidth=1.3, label=name
        )
        if prediction.uncertainty is not None:
            low, high = prediction.interval(0.9)
            losses.fill_between(
                steps, low[steps], high[steps], color=colour, alpha=shade, linewidth=0
            )
        errors.plot(
            kept.steps, prediction.loss[kept.steps] - kept.loss, color=colour, linewidth=0.9
        )
        visible += [kept.loss, prediction.loss[steps]]
    if optimum is not None:
        rates.plot(optimum.schedule.lr, color="black", linewidth=1.3, linestyle=":")
        shown = optimum.steps >= from_step
        losses.plot(
            optimum.steps[shown],
            optimum.loss[shown],
            color="black",
            linewidth=1.3,
            linestyle=":",
            label=f"search: {optimum.final_loss:.4f} predicted",
        )
        visible.append(optimum.loss[shown])
    loss_limits(losses, visible)
    losses.set_ylabel("loss (nats)\ndots measured, lines predicted")
    losses.legend(fontsize=8, frameon=False, ncols=2)
    rates.set_ylabel("learning rate")
    errors.axhline(0.0, color="black", linewidth=0.6)
    errors.set_ylabel("error (nats)\npredicted - measured")
    errors.set_xlabel("step")
    bare((rates, losses, errors))
    return figure
