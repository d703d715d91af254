"""Are predictions accurate, and do the optimised schedules win, in training runs not fitted?

    python -m benchmarks.proof search     # fits to cheap runs, schedules for the plans
    scaling-laws proxy sweep data/proof/plan.toml
    scaling-laws proxy sweep data/proof/peaks.toml
    python -m benchmarks.proof            # docs/proof.md with its figures

The cheap runs are those of data/ladder with at most 2,000 steps, half of the horizon.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

import scaling_laws as sl
from benchmarks.machine import describe
from benchmarks.pages import fill
from scaling_laws.data.runs import Run, read_run
from scaling_laws.inference.results import CurveFit
from scaling_laws.interface.report.figures import bare, new_figure, save_figure
from scaling_laws.models.schedules import write_schedule

ROOT = Path(__file__).resolve().parents[1]
LADDER, PROOF, DOCS = ROOT / "data" / "ladder", ROOT / "data" / "proof", ROOT / "docs"
CHEAP_STEPS, STEPS, PEAK, WARMUP = 2000, 4000, 4e-3, 100
FROM_STEP = 400
LAWS = ("norm_clock", "multi_power", "lr_annealing")
SEARCHED = ("norm_clock", "multi_power")
SEEDS = (0, 1, 2, 3)
ARMS = {  # names of data/proof/*.toml -> labels
    "found_norm_clock": "found by norm_clock",
    "found_multi_power": "found by multi_power",
    "wsd_1sqrt_0.2": "WSD, last 20 %, 1-sqrt",
    "wsd_1sqrt_0.1": "WSD, last 10 %, 1-sqrt",
    "wsd_linear_0.2": "WSD, last 20 %, linear",
    "wsd_linear_0.1": "WSD, last 10 %, linear",
    "linear": "linear to zero",
    "cosine": "cosine to zero",
    "constant": "constant",
}


@dataclass(frozen=True)
class Round:
    """One search and the training with its schedules.

    Attributes:
        folder: of the trained set below data/proof.
        marker: of its table in the page.
        prefix: of the files of the optimised schedules.
        peak: of the search, or the bounds of the searched peak.
        peaks: further peaks whose runs its laws were fitted to.
        top: upper limit of the losses in its figure.
    """

    folder: str
    marker: str
    prefix: str
    peak: float | tuple[float, float]
    peaks: tuple[str, ...] = ()
    top: float = 1.62

    def runs(self) -> list[Run]:
        """The runs to which its laws are fitted."""
        further = [run for peak in self.peaks for run in cheap_runs("nano_peaks", peak)]
        return [*cheap_runs(), *further]

    def figure(self, name: str) -> Path:
        """Path of a figure."""
        return DOCS / f"proof_{name}{self.prefix.removeprefix('found')}.png"


ROUNDS = (
    Round("nano", "proof", "found", PEAK),
    Round("peaks", "peaks", "found_peak", (2e-3, 8e-3), ("0.002", "0.008"), 1.55),
)


def cheap_runs(folder: str = "nano", peak: str = "") -> list[Run]:
    """Every run of a set with at most `CHEAP_STEPS`, and its constant run up to that step."""
    ending = f"_peak_{peak}" if peak else ""
    constant = f"constant_{STEPS}{ending}"
    short = [
        run
        for name, run in sl.load_runs(LADDER / folder).items()
        if name.endswith(f"_{CHEAP_STEPS}{ending}")
    ]
    constant_run = read_run(LADDER / folder / f"{constant}.csv", before=CHEAP_STEPS)
    return [replace(run, name=f"{folder}/{run.name}") for run in (*short, constant_run)]


def runs_of(folder: str, ending: str = "") -> list[Run]:
    """The runs of a set whose names have an ending, renamed to be unique across sets."""
    runs = sl.load_runs(LADDER / folder).items()
    return [replace(run, name=f"{folder}/{name}") for name, run in runs if name.endswith(ending)]


def fitted_to(law: str, runs: Iterable[Run]) -> CurveFit:
    """A law fitted to runs with the settings of this benchmark."""
    return sl.fit(law, list(runs), from_step=FROM_STEP, seed=0)


def search() -> None:
    """Fit the laws to the cheap runs and write their optimised schedules for twice the horizon."""
    for round_ in ROUNDS:
        for name in SEARCHED:
            law = fitted_to(name, round_.runs())
            optimum = sl.optimize(law, steps=STEPS, peak=round_.peak, warmup=WARMUP)
            path = write_schedule(PROOF / f"{round_.prefix}_{name}.csv", optimum.schedule)
            sys.stdout.write(f"{name}: {optimum.final_loss:.4f} -> {path}\n")
            for spec, loss in sorted(optimum.baselines.items(), key=lambda item: item[1]):
                sys.stdout.write(f"  {loss:.4f} {spec}\n")


@dataclass(frozen=True)
class Question:
    """Runs to fit, runs to predict, and the variant of a law."""

    title: str
    fit: tuple[Run, ...]
    test: tuple[Run, ...]
    suffix: str = ""
    laws: tuple[str, ...] = LAWS


def questions() -> list[Question]:
    """The predictions to check; questions whose runs are not trained yet are omitted."""
    ending = f"_{STEPS}"
    matches = [Question("twice the horizon", tuple(cheap_runs()), tuple(runs_of("nano", ending)))]
    if (LADDER / "nano_peaks" / "dataset.toml").exists():
        for fitted_peak, asked_peak in (("0.002", "0.008"), ("0.008", "0.002")):
            fit = (*cheap_runs(), *cheap_runs("nano_peaks", fitted_peak))
            test = tuple(runs_of("nano_peaks", f"{ending}_peak_{asked_peak}"))
            peaks = f"peak {float(asked_peak):g} from {float(fitted_peak):g} and {PEAK:g}"
            matches.append(Question(f"twice the horizon, {peaks}", fit, test))
    if (LADDER / "nano_decays" / "dataset.toml").exists():
        matches.append(
            Question(
                "weight decay 0, 0.4, 1.6 from 0.1",
                tuple(runs_of("nano")),
                tuple(runs_of("nano_decays")),
            )
        )
    if (LADDER / "micro" / "dataset.toml").exists():
        fit = (*runs_of("pico"), *runs_of("nano"))
        matches.append(
            Question("next size up", fit, tuple(runs_of("micro")), suffix="_across_sizes")
        )
    return matches


def prediction_table() -> list[str]:
    """Lines of the table of predictions."""
    lines = [
        "| asked | law | fitted, held out | PredE | mean abs. final error | mean final error | "
        "finals inside 90 % |",
        "|---|---|---|---|---|---|---|",
    ]
    for question in questions():
        for law in question.laws:
            fitted = fitted_to(law + question.suffix, question.fit)
            mean = sl.evaluate(fitted, question.test, from_step=FROM_STEP).mean
            signed = np.mean(
                [
                    fitted.predict(run.schedule, steps=[int(run.steps[-1])], facts=run.facts).loss[
                        0
                    ]
                    - run.loss[-1]
                    for run in question.test
                ]
            )
            inside = mean.get("final_covered_90", float("nan"))
            lines.append(
                f"| {question.title} | `{fitted.law.name}` | {len(question.fit)}, "
                f"{len(question.test)} | {mean['pred_e']:.5f} | {mean['abs_final_error']:.4f} | "
                f"{signed:+.4f} | {inside:.0%} |"
            )
            sys.stdout.write(lines[-1] + "\n")
    return lines


def finals(folder: str) -> dict[str, np.ndarray]:
    """Measured final losses of a round: arm -> (seeds,)."""
    runs = sl.load_runs(PROOF / folder)
    arms = [arm for arm in ARMS if f"{arm}_seed_0" in runs]
    return {arm: np.array([runs[f"{arm}_seed_{seed}"].loss[-1] for seed in SEEDS]) for arm in arms}


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
    """Mean, and half the width of its 95 % interval by Student's t."""
    half_width = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return float(values.mean()), float(half_width)


def proof_table(
    folder: str, measured: dict[str, np.ndarray], laws: dict[str, CurveFit]
) -> list[str]:
    """Lines of the table of a round."""
    runs = sl.load_runs(PROOF / folder)
    reference = measured["found_norm_clock"]
    predicted: dict[str, dict[str, Any]] = {}
    for law, fitted in laws.items():
        predicted[law] = {
            arm: fitted.predict(runs[f"{arm}_seed_0"].schedule, steps=[STEPS - 1])
            for arm in measured
        }
    lines = [
        "| schedule | final loss, mean of 4 seeds | above that of norm_clock, paired, 95 % | "
        "seeds worse | "
        + " | ".join(f"{law}: predicted, 90 % | above that of norm_clock" for law in laws)
        + " |",
        "|---|---|---|---|" + "---|---|" * len(laws),
    ]
    for arm in sorted(measured, key=lambda arm: float(measured[arm].mean())):
        difference, half_width = mean_and_error(measured[arm] - reference)
        cells = [ARMS[arm], f"{measured[arm].mean():.4f}"]
        if arm == "found_norm_clock":
            cells += ["-", "-"]
        else:
            cells += [
                f"{difference:+.4f} ± {half_width:.4f}",
                f"{int((measured[arm] > reference).sum())} of {len(SEEDS)}",
            ]
        for law in laws:
            prediction = predicted[law][arm]
            low, high = prediction.interval(0.9)
            gap = prediction.loss[0] - predicted[law]["found_norm_clock"].loss[0]
            cells += [f"{prediction.loss[0]:.4f} [{low[0]:.3f}, {high[0]:.3f}]", f"{gap:+.4f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def draw(round_: Round, measured: dict[str, np.ndarray], laws: dict[str, CurveFit]) -> None:
    """The figures of a round: schedules and curves; paired differences."""
    runs = sl.load_runs(PROOF / round_.folder)
    arms_shown = ("found_norm_clock", "found_multi_power", "wsd_1sqrt_0.2", "linear", "cosine")
    figure = new_figure(8.0, 6.0)
    rates, losses = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [1, 2]})
    colours = ("#d1495b", "#8d3b72", "#edae49", "#00798c", "#30638e")
    for arm, colour in zip(arms_shown, colours, strict=True):
        seeds = [runs[f"{arm}_seed_{seed}"] for seed in SEEDS]
        mean = np.mean([run.loss for run in seeds], axis=0)
        rates.plot(seeds[0].schedule.lr, color=colour, label=ARMS[arm])
        losses.plot(seeds[0].steps, mean, color=colour, marker=".", label=ARMS[arm])
    losses.set_ylim(min(row.min() for row in measured.values()) - 0.01, round_.top)
    losses.set_ylabel("held-out loss, mean of 4 seeds\n(nats per byte)")
    losses.set_xlabel("step")
    rates.set_ylabel("learning rate")
    losses.legend(frameon=False, fontsize=9)
    bare((rates, losses))
    save_figure(figure, round_.figure("curves"))
    figure = new_figure(8.0, 4.2)
    axes = figure.subplots()
    reference = measured["found_norm_clock"]
    order = sorted((a for a in measured if a != "constant"), key=lambda a: -measured[a].mean())
    for index, arm in enumerate(order):
        gaps = 1e3 * (measured[arm] - reference)
        axes.plot(gaps, np.full(len(gaps), index), "o", color="#00798c", alpha=0.6, markersize=5)
        mean, reach = mean_and_error(gaps)
        axes.errorbar(mean, index, xerr=reach, color="black", capsize=3, marker="|", linewidth=1)
        schedule = runs[f"{arm}_seed_0"].schedule
        reference_schedule = runs["found_norm_clock_seed_0"].schedule
        for law, mark in zip(laws, ("x", "+"), strict=True):
            gap = [
                laws[law].predict(s, steps=[STEPS - 1]).loss[0]
                for s in (schedule, reference_schedule)
            ]
            axes.plot(1e3 * (gap[0] - gap[1]), index + 0.25, mark, color="#d1495b", markersize=7)
    axes.axvline(0.0, color="black", linewidth=0.6)
    axes.set_yticks(range(len(order)), [ARMS[arm] for arm in order])
    axes.set_xlabel(
        "final loss above that of the schedule found by norm_clock (1e-3 nats)\n"
        "dots: seeds, bars: mean and 95 %; x, +: predicted by norm_clock, multi_power"
    )
    bare((axes,))
    save_figure(figure, round_.figure("finals"))


def report() -> None:
    """Refresh the page."""
    page = DOCS / "proof.md"
    fill(page, "machine", [describe() + "."])
    for round_ in ROUNDS:
        laws = {law: fitted_to(law, round_.runs()) for law in SEARCHED}
        measured = finals(round_.folder)
        draw(round_, measured, laws)
        fill(page, round_.marker, proof_table(round_.folder, measured, laws))
    fill(page, "predictions", prediction_table())


if __name__ == "__main__":
    search() if sys.argv[1:] == ["search"] else report()
