"""The figures and further measurements of docs/norm_clock.md.

Writes `docs/norm_clock_parity.png`, `docs/norm_clock_decays.png`, `docs/norm_clock_norms.png` and
`norm_clock.md`. Needs the public curves next to the project.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.machine import describe
from scaling_laws import CurveFit, Run, evaluate, fit, load_runs
from scaling_laws.common.files import write_text
from scaling_laws.inference import predict
from scaling_laws.inference.comparison import PRESETS
from scaling_laws.inference.fitting.priors import prior_of
from scaling_laws.interface.report.figures import COLOURS, bare, new_figure, save_figure
from scaling_laws.models.laws import get_schedule_law
from scaling_laws.models.numerics.grids.single_steps import SingleSteps
from scaling_laws.models.numerics.precision import in_float64

HERE = Path(__file__).resolve().parent
DOCS = HERE.parent / "docs"
SHARED = HERE.parents[1] / "shared" / "data"
PEAKS = ("0.0001", "0.0005", "0.001")
LAWS = ("multi_power", "norm_clock")
FROM = 1000
DECAY_SETS = sorted((HERE.parent / "data").glob("proxy_nano_decay_*"))


def _fit(law: str, runs: Mapping[str, Run], names: Sequence[str]) -> CurveFit:
    fit_runs = {name: runs[name] for name in names}
    return fit(law, fit_runs, from_step=FROM, hold_out=False, draws=0, starts=4)


def _ends(fitted: CurveFit, runs: Mapping[str, Run]) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and observed losses at the last logged steps."""
    predicted = [
        predict(fitted, run.schedule, run.steps[-1:], facts=run.facts).final_loss
        for run in runs.values()
    ]
    return np.array(predicted), np.array([run.loss[-1] for run in runs.values()])


def parity(runs: Mapping[str, Run]) -> None:
    """Final losses at the lowest and highest peak, from fits to the other two."""
    figure = new_figure(9.0, 4.6)
    axes = figure.subplots(1, 2, sharex=True, sharey=True)
    losses: list[float] = []
    splits = (("lower-peak", 1e-4), ("higher-peak", 1e-3))
    for axis, (preset, unseen_peak) in zip(axes, splits, strict=True):
        names = PRESETS[preset].fit_runs(list(runs.values()))
        held_out = {name: run for name, run in runs.items() if name not in names}
        for index, law in enumerate(LAWS):
            fitted = _fit(law, runs, names)
            predicted, observed = _ends(fitted, held_out)
            error = np.mean(np.abs(predicted - observed))
            axis.plot(
                observed,
                predicted,
                "o",
                markersize=4,
                alpha=0.8,
                color=COLOURS[index],
                label=f"{law}: {error:.4f} nats off",
            )
            losses += [*predicted, *observed]
        axis.set_title(f"peak {unseen_peak:g}, from runs of the other two", fontsize=10)
        axis.set_xlabel("measured final loss (nats)")
        axis.legend(fontsize=8, frameon=False)
    ends = np.array([min(losses) - 0.02, max(losses) + 0.02])
    for axis in axes:
        axis.plot(ends, ends, color="black", linewidth=0.8)
        axis.set_ylim(*ends)
    axes[0].set_ylabel("predicted final loss (nats)")
    bare(axes)
    save_figure(figure, DOCS / "norm_clock_parity.png")


def decays(runs: Mapping[str, Run]) -> None:
    """Decays to zero LR at one peak, from three runs."""
    preset = PRESETS["three-runs"]
    names = preset.fit_runs(list(runs.values()))
    shown_names = ("wsd_linear_0.6_50000", "cosine_to0_50000", "wsd_1sqrt_0.2_50000")
    figure = new_figure(8.0, 6.0)
    above, below = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [2.0, 1.0]})
    fits = {law: _fit(law, runs, names) for law in LAWS}
    for index, name in enumerate(shown_names):
        run = runs[name].from_step(5000)
        colour = COLOURS[index]
        above.plot(run.steps, run.loss, ".", color=colour, markersize=3, alpha=0.5)
        for law, style in zip(LAWS, (":", "-"), strict=True):
            predicted = predict(fits[law], run.schedule, run.steps, facts=run.facts).loss
            label = f"{name}, {law}"
            above.plot(run.steps, predicted, style, color=colour, linewidth=1.2, label=label)
            below.plot(run.steps, predicted - run.loss, style, color=colour, linewidth=1.0)
    above.legend(fontsize=8, frameon=False)
    above.set_ylabel("loss (nats)\ndots measured, lines predicted")
    below.axhline(0.0, color="black", linewidth=0.6)
    below.set_ylabel("error (nats)")
    below.set_xlabel("step")
    bare((above, below))
    save_figure(figure, DOCS / "norm_clock_decays.png")


@in_float64
def simulated_norms() -> list[str]:
    """Measured norms of proxy runs against the recursion, with two coefficients fitted per run."""
    figure = new_figure(7.0, 4.2)
    axis = figure.subplots()
    lines = [
        "",
        "## Simulated against measured norms",
        "",
        "Proxy runs that differ in weight decay only. The squared norm of all matrices is a·P + "
        "u²·Q with P and Q from schedule and weight decay; a and u² fitted per run.",
        "",
        "| weight decay | u² per parameter | RMS relative error of the norm | final loss |",
        "|---|---|---|---|",
    ]
    for index, folder in enumerate(DECAY_SETS):
        run = next(iter(load_runs(folder).values()))
        decay, lr = run.facts["weight_decay"], run.schedule.lr
        single = SingleSteps.of(lr, decay * lr)
        with_start, without_start = (
            np.asarray(single.squared_norms(start))[0, run.steps] for start in (1.0, 0.0)
        )
        table = np.stack([with_start - without_start, without_start], axis=1)
        measured = np.asarray(run.traces["param_norm"])[run.steps]
        coefficients = np.linalg.lstsq(table, measured**2, rcond=None)[0]
        simulated = np.sqrt(table @ coefficients)
        error = np.sqrt(np.mean((simulated / measured - 1.0) ** 2))
        drive = coefficients[1] / run.facts["model_params"]
        lines.append(f"| {decay:g} | {drive:.2f} | {error:.4f} | {run.loss[-1]:.4f} |")
        colour = COLOURS[index]
        axis.plot(run.steps, measured, color=colour, linewidth=2.5, alpha=0.4)
        axis.plot(
            run.steps, simulated, color=colour, linewidth=1.2, label=f"weight decay {decay:g}"
        )
    axis.set_xlabel("step")
    axis.set_ylabel("norm of all matrices\nthick measured, thin simulated")
    axis.legend(fontsize=8, frameon=False)
    bare((axis,))
    save_figure(figure, DOCS / "norm_clock_norms.png")
    return lines


def wrong_decays(runs: Mapping[str, Run]) -> list[str]:
    """Held-out errors with a wrong weight decay."""
    lines = [
        "",
        "## With a wrong weight decay",
        "",
        "124M, peak 1e-3: three runs, all others predicted.",
        "",
        "| weight decay / true value | PredE | mean \\|final\\| |",
        "|---|---|---|",
    ]
    names = PRESETS["three-runs"].fit_runs(list(runs.values()))
    for factor in (0.25, 0.5, 1.0, 2.0, 4.0):
        wrong = {
            name: replace(run, facts={**run.facts, "weight_decay": 0.1 * factor})
            for name, run in runs.items()
        }
        fitted = _fit("norm_clock", wrong, names)
        held_out = {name: run for name, run in wrong.items() if name not in names}
        mean = evaluate(fitted, held_out, from_step=FROM).mean
        lines.append(f"| {factor:g} | {mean['pred_e']:.5f} | {mean['abs_final_error']:.4f} |")
    return lines


def free_decay(runs: Mapping[str, Run]) -> list[str]:
    """The fitted weight decay, for several prior means."""
    law = get_schedule_law("norm_clock_free_decay")
    shipped = prior_of(law, "weak")
    assert shipped is not None
    lines = [
        "",
        "## The fitted weight decay",
        "",
        f"norm_clock_free_decay fitted to {len(runs)} runs of three peaks; true value: 0.1.",
        "",
        "| prior mean | fitted weight decay |",
        "|---|---|",
    ]
    for mean in (0.02, 0.1, 0.5):
        prior = replace(shipped, mean={**shipped.mean, "weight_decay": float(np.log(mean))})
        fitted = fit(law, runs, from_step=FROM, hold_out=False, draws=0, starts=4, prior=prior)
        lines.append(f"| {mean:g} | {fitted.params['weight_decay']:.4f} |")
    return lines


def main() -> None:
    """Measure, draw, write."""
    all_peaks = load_runs(*[SHARED / f"llama_124m_peak{peak}" for peak in PEAKS])
    highest = load_runs(SHARED / "llama_124m_peak0.001")
    lines = ["# The norm clock", "", f"`python -m benchmarks.norm_clock` on {describe()}."]
    lines += free_decay(all_peaks) + wrong_decays(highest) + simulated_norms()
    parity(all_peaks)
    decays(highest)
    write_text(HERE / "norm_clock.md", "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
