"""Figures of a fit: its curves, terms, objective profiles and draws."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import jax
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from scaling_laws.common import LawError
from scaling_laws.data import Run
from scaling_laws.inference import CurveFit, Prediction, Profile, require_curve_fit
from scaling_laws.interface.report.figures import (
    COLOURS,
    bare,
    drawn_steps,
    loss_limits,
    new_figure,
    set_range,
    style_of,
)
from scaling_laws.models import EveryStep, Law, Parameter, Support, bucket, in_float64

__all__ = ["contributions", "named_runs", "plot_draws", "plot_fit", "plot_profiles", "plot_terms"]

Array = NDArray[np.float64]
FEW = 6  # runs that fit into a legend inside the figure
NAMED = 3  # runs whose names fit into a title
BAND = COLOURS[5]
BINS = 16


def plot_fit(
    fitted: CurveFit,
    runs: Iterable[Run] | Mapping[str, Run],
    from_step: int | str = 0,
    *,
    title: str = "",
) -> Figure:
    """Logged and predicted losses of runs, with learning rates above and residuals below.

    Args:
        fitted: the law.
        runs: the runs, or a mapping to them; one colour and line style per run.
        from_step: omit earlier steps, or with ``"warmup"`` those of the warm-up.
        title: of the figure; default: the names of the law and the runs.

    Returns:
        A figure with the learning rates above, the losses with their 90 % bands in the middle and
        the residuals, predicted / logged - 1 in %, below.

    Raises:
        LawError: if the law is not one of schedules, or a run lacks a required fact or trace.
        UsageError: if `from_step` leaves a run empty.
    """
    shown_runs = list(runs.values() if isinstance(runs, Mapping) else runs)
    many = len(shown_runs) > FEW
    figure = new_figure(10.5 if many else 8.0, max(7.0, 0.19 * len(shown_runs) + 1.0))
    rates, losses, residuals = figure.subplots(
        3, 1, sharex=True, gridspec_kw={"height_ratios": [1.0, 2.4, 1.0]}
    )
    figure.suptitle(title or f"{fitted.law.name}: {named_runs(shown_runs)}", fontsize=11, wrap=True)
    shade = max(
        0.02, min(0.3, 0.6 / max(len(shown_runs), 1))
    )  # many overlapping bands must stay light
    marker_size, shown = 3.0 if not many else 2.0, []
    for index, run in enumerate(shown_runs):
        style = style_of(index)
        colour = style["color"]
        kept = run.from_step(from_step)
        prediction = _predict(fitted, run)
        steps = drawn_steps(int(kept.steps[0]), int(kept.steps[-1]))
        whole = drawn_steps(0, int(kept.steps[-1]))
        rates.plot(whole, run.schedule.lr[whole], linewidth=1.2, **style)
        losses.plot(
            kept.steps, kept.loss, ".", color=colour, markersize=marker_size, alpha=0.5, linewidth=0
        )
        losses.plot(steps, prediction.loss[steps], linewidth=1.2, label=run.name, **style)
        if prediction.uncertainty is not None:
            low, high = prediction.interval(0.9)
            losses.fill_between(
                steps, low[steps], high[steps], color=colour, alpha=shade, linewidth=0
            )
        ratio = kept.averaged(prediction.loss) / kept.loss
        residuals.plot(kept.steps, 100.0 * (ratio - 1.0), **{**style, "linewidth": 0.8})
        shown += [kept.loss, prediction.loss[steps]]
    loss_limits(losses, shown)
    rates.set_ylabel("learning rate")
    bands = ", bands 90 %" if fitted.uncertainty is not None else ""
    losses.set_ylabel(f"loss (nats)\ndots logged, lines predicted{bands}")
    residuals.axhline(0.0, color="black", linewidth=0.6)
    residuals.set_ylabel("residual (%)\npredicted - logged")
    residuals.set_xlabel("step")
    bare((rates, losses, residuals))
    figure.align_ylabels()
    legend = {"title": "run, in all panels", "title_fontsize": 8, "frameon": False}
    if many:
        figure.legend(loc="outside right upper", fontsize=7, handlelength=3.5, **legend)
    else:
        losses.legend(fontsize=8, **legend)
    return figure


def named_runs(runs: Sequence[Run]) -> str:
    """The names of a few runs, or the number of many, for a title."""
    if len(runs) > NAMED:
        return f"{len(runs)} runs"
    return ", ".join(run.name for run in runs)


def _predict(fitted: CurveFit, run: Run) -> Prediction:
    return require_curve_fit(fitted).predict(run.schedule, facts=run.facts, traces=run.traces)


@cache
def _compiled_terms(law: Law) -> Any:
    """The design matrix of a law, compiled once per shape of history."""
    return jax.jit(law.design_matrix)


@in_float64
def contributions(fitted: CurveFit, run: Run) -> dict[str, Array]:
    """The contribution of each term to the loss of a run: amplitude times column, by name.

    Args:
        fitted: the law.
        run: the run.

    Returns:
        Nats after every step, each of shape (steps,); their sum is the predicted loss.

    Raises:
        LawError: if the law is not one of schedules.
    """
    law = require_curve_fit(fitted).law
    facts = {**fitted.facts, **run.facts}
    lr = run.schedule.lr
    history = law.history(EveryStep(bucket(len(lr))), lr, facts=facts, traces=run.traces)
    columns = np.asarray(_compiled_terms(law)(dict(fitted.params), history))[: len(lr)]
    return {
        parameter.name: fitted.params[parameter.name] * columns[:, index]
        for index, parameter in enumerate(law.linear_parameters)
    }


def plot_terms(fitted: CurveFit, run: Run, from_step: int | str = 0, *, title: str = "") -> Figure:
    """The contribution of each term of a law to the loss of a run, below its learning rate.

    Args:
        fitted: the law.
        run: the run.
        from_step: omit earlier steps, or with ``"warmup"`` those of the warm-up; the first
            twentieth is always omitted, since a power law diverges at 0.
        title: of the figure; default: the names of the law and the run.

    Returns:
        A figure with the learning rate, the loss with the constant terms, and one panel per
        other term with its last value.

    Raises:
        LawError: if the law is not one of schedules, or the run lacks a required fact or trace.
    """
    law = require_curve_fit(fitted).law
    prediction = _predict(fitted, run)
    terms = contributions(fitted, run)
    warmup, last = run.schedule.warmup, run.schedule.steps - 1
    start = warmup if from_step == "warmup" else int(from_step)
    first = min(max(start, warmup, last // 20), last)
    steps = drawn_steps(first, last)
    constant = {name for name, row in terms.items() if np.ptp(row[steps]) <= 1e-12 * abs(row[-1])}
    changing = [one for one in law.linear_parameters if one.name not in constant]
    figure = new_figure(8.0, 3.6 + 1.5 * len(changing))
    rates, losses, *panels = figure.subplots(
        2 + len(changing),
        1,
        sharex=True,
        gridspec_kw={"height_ratios": [0.8, 1.6, *[1.0] * len(changing)]},
    )
    figure.suptitle(title or f"{law.name}: {run.name}", fontsize=11)
    whole = drawn_steps(0, last)
    rates.plot(whole, run.schedule.lr[whole], color="black", linewidth=1.2)
    shown = run.steps >= first
    losses.plot(
        run.steps[shown], run.loss[shown], ".", color="#999999", markersize=3.0, label="logged"
    )
    losses.plot(
        steps,
        prediction.loss[steps],
        color="black",
        linewidth=1.2,
        label="predicted (sum of the terms)",
    )
    next_panels = iter(panels)
    for index, parameter in enumerate(law.linear_parameters):
        term, colour = terms[parameter.name], COLOURS[index]
        label = f"{parameter.name}: {parameter.meaning}"
        axes = losses if parameter.name in constant else next(next_panels)
        axes.plot(steps, term[steps], linewidth=1.4, label=label, color=colour)
        axes.annotate(
            f"{term[-1]:.3g}",
            (last, term[-1]),
            xytext=(4, 0),
            textcoords="offset points",
            fontsize=8,
            color=colour,
            va="center",
            annotation_clip=False,
        )
        if axes is not losses:
            axes.set_ylabel(f"{parameter.name} term (nats)", fontsize=8)
    for axes in (losses, *panels):
        axes.legend(fontsize=8, frameon=False)
    rates.set_ylabel("learning rate")
    losses.set_ylabel("loss (nats)")
    (panels or [losses])[-1].set_xlabel("step")
    bare((rates, losses, *panels))
    figure.align_ylabels()
    return figure


def plot_profiles(profiles: Mapping[str, Profile], fitted: CurveFit) -> Figure:
    """The objective along each nonlinear parameter, with all others refitted.

    Args:
        profiles: from `scaling_laws.inference.fitting.profile`.
        fitted: the fit.

    Returns:
        A figure with one panel per parameter: the objective as a line, the fit as a dot and the
        central 90 % of the draws as a band; logarithmic for positive parameters.

    Raises:
        LawError: if there is no profile, or one is not of a parameter of the law.
    """
    if not profiles:
        raise LawError(f"{fitted.law.name}: no profile to draw: no nonlinear parameter was fitted")
    parameters = {parameter.name: parameter for parameter in fitted.law.parameters}
    columns = 2 if len(profiles) in (2, 4) else min(len(profiles), 3)
    rows = -(-len(profiles) // columns)
    figure = new_figure(max(3.2 * columns, 4.5), 2.7 * rows + 0.3)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(profiles) :]:
        axes.remove()
    for axes, (name, curve) in zip(grid.flat, profiles.items(), strict=False):
        if name not in parameters:
            raise LawError(f"{fitted.law.name} has no parameter {name!r}")
        finite = np.isfinite(curve.objective)
        low, high = _ends(curve.values, parameters[name])
        set_range(axes, "x", low, high, logarithmic=_positive(parameters[name]))
        if curve.interval_90 is not None:
            axes.axvspan(
                *curve.interval_90, color=BAND, alpha=0.3, linewidth=0, label="90 % of draws"
            )
        axes.plot(
            curve.values[finite], curve.objective[finite], ".-", color=COLOURS[0], markersize=4.0
        )
        at_fit = np.interp(curve.fit, curve.values[finite], curve.objective[finite])
        axes.plot([curve.fit], [at_fit], "o", color=COLOURS[1], markersize=6.0, label="fit")
        axes.set_xlabel(name)
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.ticklabel_format(axis="y", scilimits=(-2, 3))
    for axes in grid[:, 0]:
        axes.set_ylabel("objective")
    figure.legend(
        *grid[0, 0].get_legend_handles_labels(),
        loc="outside upper center",
        ncols=2,
        fontsize=8,
        frameon=False,
    )
    bare(grid.flat[: len(profiles)])
    return figure


def plot_draws(fitted: CurveFit) -> Figure:
    """Draws of the nonlinear parameters: pairs, and histograms on the diagonal.

    Fixed and tied parameters are omitted. Lines mark the fit. The outermost twentieth of the draws
    may lie outside a panel, so that a few outliers do not compress the rest.

    Raises:
        LawError: if there are no draws, or no nonlinear parameter was fitted.
    """
    law = require_curve_fit(fitted).law
    if fitted.draw_count < 2:
        raise LawError(f"{law.name}: there are no draws to show; fit with --draws or draws=")
    record = fitted.record
    constant = set() if record is None else {*record.fixed, *record.ties}
    chosen = [one for one in law.nonlinear_parameters if one.name not in constant]
    if not chosen:
        raise LawError(
            f"{law.name}: no nonlinear parameter was fitted, so there are no draws of any"
        )
    count = len(chosen)
    side = max(1.9 * count, 3.2)
    figure = new_figure(side, side)
    figure.suptitle(f"{law.name}: {fitted.draw_count} draws; lines mark the fit", fontsize=10)
    grid = figure.subplots(count, count, squeeze=False)
    ends = [
        _ends(np.append(_central(fitted.draws[one.name]), fitted.params[one.name]), one)
        for one in chosen
    ]
    for row, vertical in enumerate(chosen):
        for column, horizontal in enumerate(chosen):
            axes = grid[row, column]
            if column > row:
                axes.remove()
                continue
            across = fitted.draws[horizontal.name]
            low, high = ends[column]
            if row == column:
                space = np.geomspace if _positive(horizontal) else np.linspace
                axes.hist(across, bins=space(low, high, BINS + 1), color=BAND)
                axes.set_yticks([])
            else:
                set_range(axes, "y", *ends[row], logarithmic=_positive(vertical))
                upward = fitted.draws[vertical.name]
                inside = _inside(across, ends[column]) & _inside(upward, ends[row])
                axes.plot(across[inside], upward[inside], ".", color=COLOURS[0], markersize=3.5)
                axes.axhline(fitted.params[vertical.name], color=COLOURS[1], linewidth=0.9)
            axes.axvline(fitted.params[horizontal.name], color=COLOURS[1], linewidth=0.9)
            set_range(axes, "x", low, high, logarithmic=_positive(horizontal))
            axes.tick_params(
                labelsize=7, labelbottom=row == count - 1, labelleft=column == 0 and row > 0
            )
            if row == count - 1:
                axes.set_xlabel(horizontal.name)
            if column == 0 and row:
                axes.set_ylabel(vertical.name)
    bare(axes for axes in grid.flat if axes.figure is not None)
    return figure


def _positive(parameter: Parameter) -> bool:
    return parameter.support is Support.POSITIVE


def _central(draws: Array) -> Array:
    """The ends of the central 95 % of draws."""
    return np.quantile(draws, [0.025, 0.975])


def _inside(values: Array, ends: tuple[float, float]) -> NDArray[np.bool_]:
    return (values >= ends[0]) & (values <= ends[1])


def _ends(values: Array, parameter: Parameter) -> tuple[float, float]:
    """A range that contains the values, with a margin."""
    scaled = np.log(values) if _positive(parameter) else values
    low, high = float(np.min(scaled)), float(np.max(scaled))
    margin = 0.12 * (high - low) or 0.1
    ends = np.array([low - margin, high + margin])
    first, last = np.exp(ends) if _positive(parameter) else ends
    return float(first), float(last)
