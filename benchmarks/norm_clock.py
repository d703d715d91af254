"""The figures and further numbers of docs/norm_clock.md.

Writes `docs/norm_clock_parity.png`, `docs/norm_clock_decays.png`, `docs/norm_clock_norms.png` and
`norm_clock.md`. Needs the public curves beside the project.
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
from scaling_laws.models.numerics.precision import in_float64
from scaling_laws.models.numerics.quadratic_cells import norms, single_steps

HERE = Path(__file__).resolve().parent
DOCS = HERE.parent / "docs"
SHARED = HERE.parents[1] / "shared" / "data"
PEAKS = ("0.0001", "0.0005", "0.001")
LAWS = ("multi_power", "norm_clock")
FROM = 1000
DECAY_SETS = sorted((HERE.parent / "data").glob("proxy_nano_decay_*"))


def _fit(law: str, runs: Mapping[str, Run], names: Sequence[str]) -> CurveFit:
    chosen = {name: runs[name] for name in names}
    return fit(law, chosen, from_step=FROM, hold_out=False, draws=0, starts=4)


def _ends(fitted: CurveFit, runs: Mapping[str, Run]) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and observed losses at the last logged steps."""
    found = [
        predict(fitted, run.schedule, run.steps[-1:], facts=run.facts).final_loss
        for run in runs.values()
    ]
    return np.array(found), np.array([run.loss[-1] for run in runs.values()])


def parity(runs: Mapping[str, Run]) -> None:
    """Final losses of all peaks, from fits that left one peak out."""
    figure = new_figure(9.0, 4.6)
    axes = figure.subplots(1, 2, sharex=True, sharey=True)
    reached: list[float] = []
    splits = (("lower-peak", 1e-4), ("higher-peak", 1e-3))
    for axis, (preset, unseen) in zip(axes, splits, strict=True):
        names = PRESETS[preset].fit_runs(list(runs.values()))
        held = {name: run for name, run in runs.items() if name not in names}
        for place, law in enumerate(LAWS):
            fitted = _fit(law, runs, names)
            found, seen = _ends(fitted, held)
            error = np.mean(np.abs(found - seen))
            axis.plot(
                seen,
                found,
                "o",
                markersize=4,
                alpha=0.8,
                color=COLOURS[place],
                label=f"{law}: {error:.4f} nats off",
            )
            reached += [*found, *seen]
        axis.set_title(f"peak {unseen:g}, from runs of the other two", fontsize=10)
        axis.set_xlabel("measured final loss (nats)")
        axis.legend(fontsize=8, frameon=False)
    ends = np.array([min(reached) - 0.02, max(reached) + 0.02])
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
    shown = ("wsd_linear_0.6_50000", "cosine_to0_50000", "wsd_1sqrt_0.2_50000")
    figure = new_figure(8.0, 6.0)
    above, below = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [2.0, 1.0]})
    fits = {law: _fit(law, runs, names) for law in LAWS}
    for place, name in enumerate(shown):
        run = runs[name].from_step(5000)
        colour = COLOURS[place]
        above.plot(run.steps, run.loss, ".", color=colour, markersize=3, alpha=0.5)
        for law, style in zip(LAWS, (":", "-"), strict=True):
            found = predict(fits[law], run.schedule, run.steps, facts=run.facts).loss
            label = f"{name}, {law}"
            above.plot(run.steps, found, style, color=colour, linewidth=1.2, label=label)
            below.plot(run.steps, found - run.loss, style, color=colour, linewidth=1.0)
    above.legend(fontsize=8, frameon=False)
    above.set_ylabel("loss (nats)\ndots measured, lines predicted")
    below.axhline(0.0, color="black", linewidth=0.6)
    below.set_ylabel("error (nats)")
    below.set_xlabel("step")
    bare((above, below))
    save_figure(figure, DOCS / "norm_clock_decays.png")


@in_float64
def simulated_norms() -> list[str]:
    """Measured norms of proxy runs against the recursion, one number fitted for each run."""
    figure = new_figure(7.0, 4.2)
    axis = figure.subplots()
    lines = [
        "",
        "## Simulated against measured norms",
        "",
        "Proxy runs that differ in weight decay only. The squared norm of all matrices is a·P + "
        "u²·Q with P and Q from schedule and weight decay; a and u² fitted for each run.",
        "",
        "| weight decay | u² a parameter | RMS relative error of the norm | final loss |",
        "|---|---|---|---|",
    ]
    for place, folder in enumerate(DECAY_SETS):
        run = next(iter(load_runs(folder).values()))
        decay, lr = run.facts["weight_decay"], run.schedule.lr
        single = single_steps(lr, decay * lr)
        with_start, pushed = (
            np.asarray(norms(single, start))[run.steps, 0] for start in (1.0, 0.0)
        )
        table = np.stack([with_start - pushed, pushed], axis=1)
        measured = np.asarray(run.traces["param_norm"])[run.steps]
        numbers = np.linalg.lstsq(table, measured**2, rcond=None)[0]
        simulated = np.sqrt(table @ numbers)
        error = np.sqrt(np.mean((simulated / measured - 1.0) ** 2))
        push = numbers[1] / run.facts["model_params"]
        lines.append(f"| {decay:g} | {push:.2f} | {error:.4f} | {run.loss[-1]:.4f} |")
        colour = COLOURS[place]
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
    """Held-out errors with the weight decay mis-stated."""
    lines = [
        "",
        "## With a wrong weight decay",
        "",
        "124M, peak 1e-3: three runs, all others predicted.",
        "",
        "| weight decay over the true one | PredE | mean \\|final\\| |",
        "|---|---|---|",
    ]
    names = PRESETS["three-runs"].fit_runs(list(runs.values()))
    for factor in (0.25, 0.5, 1.0, 2.0, 4.0):
        wrong = {
            name: replace(run, facts={**run.facts, "weight_decay": 0.1 * factor})
            for name, run in runs.items()
        }
        fitted = _fit("norm_clock", wrong, names)
        held = {name: run for name, run in wrong.items() if name not in names}
        mean = evaluate(fitted, held, from_step=FROM).mean
        lines.append(f"| {factor:g} | {mean['pred_e']:.5f} | {mean['abs_final_error']:.4f} |")
    return lines


def free_decay(runs: Mapping[str, Run]) -> list[str]:
    """What a fit makes of the weight decay when it is not told, wherever its prior sits."""
    law = get_schedule_law("norm_clock_free_decay")
    shipped = prior_of(law, "weak")
    assert shipped is not None
    lines = [
        "",
        "## The weight decay that curves ask for",
        "",
        f"norm_clock_free_decay fitted to {len(runs)} runs of three peaks; stated with the data: "
        "0.1.",
        "",
        "| centre of the prior | weight decay found |",
        "|---|---|",
    ]
    for centre in (0.02, 0.1, 0.5):
        moved = replace(shipped, centre={**shipped.centre, "weight_decay": float(np.log(centre))})
        fitted = fit(law, runs, from_step=FROM, hold_out=False, draws=0, starts=4, prior=moved)
        lines.append(f"| {centre:g} | {fitted.params['weight_decay']:.4f} |")
    return lines


def main() -> None:
    """Measure, draw, write."""
    every = load_runs(*[SHARED / f"llama_124m_peak{peak}" for peak in PEAKS])
    highest = load_runs(SHARED / "llama_124m_peak0.001")
    lines = ["# The norm clock", "", f"`python -m benchmarks.norm_clock` on {describe()}."]
    lines += free_decay(every) + wrong_decays(highest) + simulated_norms()
    parity(every)
    decays(highest)
    write_text(HERE / "norm_clock.md", "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
