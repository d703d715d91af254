"""The figure of a replan: the log, the forecasts, and the loss of stopping at each step."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from scaling_laws.decisions import Replan
from scaling_laws.interface.report.figures import COLOURS, bare, drawn_steps, new_figure

__all__ = ["plot_replan"]

LOGGED, PLAN, BEST, STOP = "#555555", COLOURS[0], COLOURS[1], COLOURS[2]
OMITTED = 0.12  # fraction of the logged steps whose steep losses are not drawn


def plot_replan(outcome: Replan, *, title: str = "") -> Figure:
    """Losses above, learning rates below; the forecasts begin at the dotted line.

    Args:
        outcome: the replan.
        title: of the figure; default the name of the run.

    Returns:
        A figure with the logged losses, the forecast of the current plan with its 90 % band, the
        best schedule, and, per step, the loss if a cooldown ended there.
    """
    now, run = outcome.now.step, outcome.run
    plan, best = outcome.plan.schedule, outcome.best.schedule
    figure = new_figure(8.5, 6.6)
    losses, rates = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [2.6, 1.0]})
    figure.suptitle(title or _short(run.name), fontsize=11)
    first = max(run.schedule.warmup, int(OMITTED * now))
    drawn = run.steps >= first
    losses.plot(
        run.steps[drawn], run.loss[drawn], ".", color=LOGGED, markersize=3.0, label="logged so far"
    )
    forecast = outcome.plan.curve
    losses.plot(
        forecast.steps,
        forecast.loss,
        color=PLAN,
        linewidth=1.6,
        label=f"current plan: {outcome.plan.final_loss:.4f} at the end",
    )
    losses.fill_between(
        forecast.steps,
        forecast.low,
        forecast.high,
        color=PLAN,
        alpha=0.18,
        linewidth=0,
        label="its 90 % interval",
    )
    other = outcome.best is not outcome.plan
    if other:
        losses.plot(
            outcome.best.curve.steps,
            outcome.best.curve.loss,
            color=BEST,
            linewidth=1.6,
            linestyle="--",
            label=f"best schedule: {outcome.best.final_loss:.4f}",
        )
    stops = np.array([stop.step - 1 for stop in outcome.stopping])
    cooled = np.array([stop.cooled_down for stop in outcome.stopping])
    ends = np.array([stop.interval_90 for stop in outcome.stopping])
    losses.errorbar(
        stops,
        cooled,
        yerr=np.stack([cooled - ends[:, 0], ends[:, 1] - cooled]),
        fmt="o-",
        color=STOP,
        markersize=3.5,
        linewidth=0.9,
        elinewidth=0.8,
        label="if a cooldown ended here",
    )
    whole = drawn_steps(0, plan.steps - 1)
    rates.plot(whole, plan.lr[whole], color=PLAN, linewidth=1.5)
    done = drawn_steps(0, now - 1)
    rates.plot(done, plan.lr[done], color=LOGGED, linewidth=1.8)
    if other:
        ahead = drawn_steps(now - 1, best.steps - 1)
        rates.plot(ahead, best.lr[ahead], color=BEST, linewidth=1.5, linestyle="--")
    for axes in (losses, rates):
        axes.axvline(now, color="black", linewidth=0.8, linestyle=":")
    losses.annotate(
        f"now: {now}",
        (now, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(4, -10),
        textcoords="offset points",
        fontsize=8,
    )
    shown = np.concatenate([run.loss[drawn], forecast.loss, ends[:, 0]])
    bottom, top = float(shown.min()), float(np.quantile(shown, 0.98))
    margin = 0.06 * (top - bottom)
    losses.set_ylim(bottom - margin, top + margin)
    losses.set_ylabel("loss (nats)")
    losses.legend(fontsize=8, frameon=False, loc="upper right")
    rates.set_ylabel("learning rate")
    rates.set_xlabel("step")
    bare((losses, rates))
    figure.align_ylabels()
    return figure


def _short(name: str) -> str:
    return name if len(name) <= 70 else f"{name[:67]}..."
