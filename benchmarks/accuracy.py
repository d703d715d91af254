"""Fit every law to a few runs of each set and test it on the others.

Writes `accuracy.md` and, when all sets are at hand, the table of laws in `README.md`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.machine import describe
from scaling_laws import evaluate, fit, load_runs
from scaling_laws.files import write_text
from scaling_laws.laws import SCHEDULE_LAWS
from scaling_laws.search import optimize

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[1] / "shared" / "data"
PUBLISHED_SPLIT = "cosine_24000,constant_24000,wsdcon_9"
# set, runs fitted, first step of the points used
PROTOCOLS = {
    "mpl_25m": (SHARED / "mpl_25m", PUBLISHED_SPLIT, 0),
    "mpl_100m": (SHARED / "mpl_100m", PUBLISHED_SPLIT, 0),
    "proxy_nano": (
        HERE.parent / "data" / "proxy_nano",
        "constant_4000,cosine_4000,drop_to_0.1_4000",
        400,
    ),
}
# laws of schedules that need nothing that these sets lack
LAWS = [law for law in SCHEDULE_LAWS if not law.needs_traces and "transfer_step" not in law.needs]
REFERENCE = {
    "mpl_25m": "the public implementation: objective 2.912e-4, PredE .00110, 27 s for one start",
    "mpl_100m": "the public implementation: objective 2.810e-4, PredE .00142, 28 s",
}


def _cells(values: Mapping[str, float]) -> str:
    keys = ("mae", "rmse", "pred_e", "worst_e", "r2")
    cells = [f"{values[key]:.5f}" for key in keys]
    return " | ".join([*cells, f"{values['final_error']:+.5f}", f"{values['coverage_90']:.2f}"])


def _readme(scores: Mapping[str, Mapping[str, float]]) -> None:
    """Put the table of laws into README.md, between its two markers."""
    path = HERE.parent / "README.md"
    before, _, rest = path.read_text(encoding="utf-8").partition("<!-- laws -->\n")
    _, _, after = rest.partition("<!-- /laws -->")
    sets = list(scores)
    rows = [
        f"| law | loss | parameters | {' | '.join(f'PredE {name}' for name in sets)} |",
        "|---|---|---|" + "---|" * len(sets),
    ]
    for law in LAWS:
        cells = " | ".join(f"{scores[name][law.name]:.5f}" for name in sets)
        formula = law.formula.replace("|", "\\|")
        rows.append(f"| `{law.name}` | {formula} | {len(law.parameters)} | {cells} |")
    table = "\n".join(rows)
    write_text(path, f"{before}<!-- laws -->\n{table}\n<!-- /laws -->{after}")


def main() -> None:
    """Measure and write the tables."""
    scores: dict[str, dict[str, float]] = {}
    lines = [
        "# Accuracy",
        "",
        f"`python -m benchmarks.accuracy` on {describe()}.",
        "",
        "Each law is fitted to three runs (16 starts, seed 0, no priors) and tested on every "
        "other run of the set. Errors in nats; PredE and WorstE relative; final = predicted - "
        "observed at the last logged step; cover = share of held-out points inside the 90 % "
        "intervals that the fit gave.",
    ]
    for name, (folder, chosen, from_step) in PROTOCOLS.items():
        if not folder.is_dir():
            lines += ["", f"## {name}", "", f"left out: {folder.name} is not on this machine"]
            continue
        runs = load_runs(folder)
        fitted_runs = {each: runs[each] for each in chosen.split(",")}
        held_out = {each: run for each, run in runs.items() if each not in fitted_runs}
        lines += ["", f"## {name}", "", f"Fitted: {', '.join(fitted_runs)}"]
        lines[-1] += f", from step {from_step}." if from_step else "."
        if name in REFERENCE:
            lines[-1] += f" For comparison, {REFERENCE[name]}."
        table = [
            "",
            "| law | run | MAE | RMSE | PredE | WorstE | R2 | final | cover |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        fits = [
            "",
            "| law | objective | starts at best | fit, s (hold-out included) | search, s "
            "| found | best baseline |",
            "|---|---|---|---|---|---|---|",
        ]
        for law in LAWS:
            fitted = fit(law, fitted_runs, from_step=from_step, prior="none")
            result = evaluate(fitted, held_out, from_step=from_step)
            for run, values in result.runs.items():
                table.append(f"| {law.name} | {run} | {_cells(values)} |")
            table.append(f"| **{law.name}** | **mean** | {_cells(result.mean)} |")
            longest = max(fitted_runs.values(), key=lambda run: run.schedule.steps).schedule
            start = time.perf_counter()
            best = optimize(
                fitted, steps=longest.steps, peak=longest.peak_lr, warmup=longest.warmup
            )
            searched = time.perf_counter() - start
            record = fitted.record
            assert record is not None
            fits.append(
                f"| {law.name} | {record.objective:.6g} | {record.starts_at_best}/{record.starts} "
                f"| {record.seconds:.1f} | {searched:.1f} | {best.final_loss:.5f} "
                f"| {min(best.baselines.values()):.5f} |"
            )
            scores.setdefault(name, {})[law.name] = result.mean["pred_e"]
            print(name, law.name, f"PredE {result.mean['pred_e']:.5f}", flush=True)
        lines += fits + table
    write_text(HERE / "accuracy.md", "\n".join(lines) + "\n")
    if len(scores) == len(PROTOCOLS):
        _readme(scores)


if __name__ == "__main__":
    main()
