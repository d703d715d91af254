"""Forecasts of finished runs from their first part: errors and coverage.

Runs are cut at a share of their steps; a law that was fitted to other runs is adapted to the part
before the cut in several ways, and the last logged loss is forecast. Runs whose log begins late
continue the constant run of their set, whose log is prepended. Writes `replan.md`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.machine import describe
from scaling_laws import CurveFit, FitResult, Law, Run, fit, get_law, load_runs
from scaling_laws.common.files import write_text
from scaling_laws.decisions.replanning.binned_log import gather, settled_step
from scaling_laws.decisions.replanning.posterior import condition_on_log

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[1] / "shared" / "data"
LAW = "norm_clock"
CUTS = (0.3, 0.5, 0.7)
LATE = 2500  # a log that begins later continues another
L10, L05, L01 = (f"llama_124m_peak0.{digits}" for digits in ("001", "0005", "0001"))
# set -> the runs to which its law is fitted; below, those that are forecast
FITTED = {
    **dict.fromkeys((L10, L05, L01), ("cosine_to0_25000", "cosine_to10_25000")),
    **dict.fromkeys(("mpl_25m", "mpl_100m"), ("cosine_24000", "constant_24000", "wsdcon_9")),
}
DECAYED = "wsd_linear_0.4_25000"  # the third of the 124M sets
FORECAST = {
    L10: (
        "cosine_to0_50000",
        "cosine_to10_35000",
        "wsd_linear_0.2_50000",
        "wsd_linear_0.6_50000",
        "wsd_1sqrt_0.2_50000",
        "wsd_linear_0.1_25000",
        "constant_50000",
    ),
    L05: (
        "cosine_to0_50000",
        "wsd_linear_0.2_50000",
        "wsd_linear_0.6_35000",
        "wsd_1sqrt_0.2_25000",
        "constant_50000",
    ),
    L01: ("cosine_to0_50000", "wsd_linear_0.2_50000", "wsd_1sqrt_0.2_25000"),
    **dict.fromkeys(
        ("mpl_25m", "mpl_100m"),
        ("cosine_72000", "wsd_20000_24000", "wsdld_20000_24000", "wsdcon_3", "constant_72000"),
    ),
}
# question -> (set of the law, set of the runs)
PAIRS = {
    "same set": [(name, name) for name in FORECAST],
    "another peak": [(L10, L05), (L05, L10), (L05, L01), (L01, L05)],
    "another size": [
        ("mpl_25m", "mpl_100m"),
        ("mpl_100m", "mpl_25m"),
        (L10, "mpl_100m"),
        ("mpl_25m", L10),
        ("mpl_100m", L05),
    ],
}
# labels of `published` that were fitted to a set; excluded, so that the test set stays unseen
OWN = {L10: "124M", L05: "124M", L01: "124M", "mpl_25m": "25M", "mpl_100m": "100M"}


def whole_log(name: str, runs: Mapping[str, Run]) -> Run:
    """A run, preceded by the log of the constant run that it continues."""
    run = runs[name]
    if run.steps[0] <= LATE:
        return run
    parent = next(runs[name_] for name_ in ("constant_50000", "constant_72000") if name_ in runs)
    early = parent.steps < run.steps[0]
    steps = np.concatenate([parent.steps[early], run.steps])
    return replace(
        run, steps=steps, loss=np.concatenate([parent.loss[early], run.loss]), weight=None
    )


def law_of(folder: str, runs: Mapping[str, Run]) -> CurveFit:
    """The law of a set."""
    names = FITTED[folder] + ((DECAYED,) if folder.startswith("llama") else ())
    fit_runs = [whole_log(name, runs) for name in names]
    return fit(LAW, fit_runs, from_step=1000 if folder.startswith("llama") else "warmup")


def shipped(folder: str) -> Law:
    """The law without the published fit of a set."""
    law = get_law(LAW)
    assert isinstance(law, Law)
    published = {label: params for label, params in law.published.items() if label != OWN[folder]}
    return replace(law, published=published)


def simple_ways(fitted: CurveFit, run: Run, from_step: int, now: int) -> dict[str, float]:
    """Final losses by methods that change no nonlinear parameter."""
    last = int(run.steps[-1])
    losses = fitted.predict(run.schedule, facts=run.facts).loss
    used_points = (run.steps >= from_step) & (run.steps < now)
    observed, law = run.loss[used_points], losses[run.steps[used_points]]
    floor = fitted.params["L0"]
    table = np.stack([np.ones(len(law)), law - floor], axis=1)
    (shift, scale), *_ = np.linalg.lstsq(table, observed, rcond=None)
    late = slice(len(law) // 2, None)
    return {
        "law as it is": float(losses[last]),
        "offset": float(losses[last] + np.mean(observed - law)),
        "offset, later half": float(losses[last] + np.mean(observed[late] - law[late])),
        "offset and scale": float(shift + scale * (losses[last] - floor)),
    }


def forecasts(
    law: CurveFit | Law, folder: str, runs: Mapping[str, Run]
) -> Iterator[tuple[float, str, float, float | None]]:
    """Per run and cut: the cut, the method, the error, and the half width of the interval."""
    for name in FORECAST[folder]:
        run = whole_log(name, runs)
        for cut in CUTS:
            now = int(cut * run.schedule.steps)
            from_step = settled_step(run, now)
            if np.sum((run.steps >= from_step) & (run.steps < now)) < 10:
                continue
            final = float(run.loss[-1])
            if isinstance(law, FitResult):
                for way, value in simple_ways(law, run, from_step, now).items():
                    yield cut, way, value - final, None
            posterior = condition_on_log(run, gather(run, from_step, now), now, law, 0)
            lr = run.schedule.lr[: int(run.steps[-1]) + 1]
            value, draws = posterior.end(lr)
            low, high = posterior.interval(value, lr, draws)
            half = 0.5 * (high - low)
            way = "**replan**" if isinstance(law, FitResult) else "**replan, shipped prior**"
            yield cut, way, value - final, half


def table(rows: list[tuple[str, float, str, float, float | None]]) -> list[str]:
    """Mean absolute errors by question, method and cut; coverage and half width over the cuts."""
    lines = [
        f"| law of | way | {' | '.join(f'{cut:.0%}' for cut in CUTS)} | n | inside | half width |",
        "|---" * (5 + len(CUTS)) + "|",
    ]
    for question, way in dict.fromkeys((row[0], row[2]) for row in rows):
        question_rows = [row for row in rows if (row[0], row[2]) == (question, way)]
        cells = [
            f"{1e3 * np.mean([abs(row[3]) for row in question_rows if row[1] == cut]):.1f}"
            for cut in CUTS
        ]
        halves = [(abs(row[3]), row[4]) for row in question_rows if row[4] is not None]
        inside, width = "", ""
        if halves:
            inside = f"{np.mean([error <= half for error, half in halves]):.3f}"
            width = f"{1e3 * np.mean([half for _, half in halves]):.1f}"
        cells += [str(len(question_rows)), inside, width]
        lines.append(f"| {question} | {way} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Measure and write the table."""
    lines = ["# Replan", "", f"`python -m benchmarks.replan` on {describe()}.", ""]
    if not SHARED.is_dir():
        print("the public sets are not on this machine; nothing measured")
        return
    runs = {folder: load_runs(SHARED / folder) for folder in FORECAST}
    laws = {folder: law_of(folder, runs[folder]) for folder in FORECAST}
    rows: list[tuple[str, float, str, float, float | None]] = []
    for question, pairs in PAIRS.items():
        for source, target in pairs:
            rows += [(question, *row) for row in forecasts(laws[source], target, runs[target])]
            print(question, source, target, flush=True)
    for folder in FORECAST:
        shipped_rows = forecasts(shipped(folder), folder, runs[folder])
        rows += [("no set", *row) for row in shipped_rows]
        print("shipped", folder, flush=True)
    lines += [
        f"Law {LAW}, fitted to three runs of a set (default fit). Runs are cut at a share of their "
        "steps and their last logged loss is forecast: mean |error| in 1e-3 nats at each cut, the "
        "number of forecasts, the share of 90 % intervals that contain the truth, their mean half "
        "width in 1e-3 nats. Forecasts of one run from three cuts, and of runs that share their "
        "beginning, are not independent: the table is based on five sets of two laboratories. "
        "The shipped prior was chosen with the help of these sets; only the ratio of amplitudes "
        "excludes the fit of the test set.",
        "",
        *table(rows),
    ]
    write_text(HERE / "replan.md", "\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
