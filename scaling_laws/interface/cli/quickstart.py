"""`scaling-laws quickstart`: the whole workflow on one set of runs.

Fits a law to some runs, predicts the held-out ones, searches for a better schedule, and writes a
law file, a schedule and a figure.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from scaling_laws.interface.cli import common, evaluate, optimize
from scaling_laws.interface.cli.fit import DEFAULT_LAW

if TYPE_CHECKING:
    from scaling_laws.data import Run

__all__ = ["add_parser", "render", "run"]

FILES = {"law": "law.json", "schedule": "schedule.csv", "figure": "figure.png"}


def add_parser(verbs: common.Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "quickstart",
        help="fit, predict held-out runs, search and plot in one command",
        description="Fit a law to some runs of a set, predict the others, search for a better "
        "schedule, and write law.json, schedule.csv and figure.png.",
    )
    parser.add_argument("runs", nargs=1, metavar="SET", help="folder of runs, e.g. data/proxy_nano")
    parser.add_argument(
        "--fit", required=True, metavar="NAMES", help="runs to fit, separated by commas"
    )
    parser.add_argument("--test", metavar="NAMES", help="runs to predict (default: all others)")
    parser.add_argument("--law", default=DEFAULT_LAW, help=f"law (default {DEFAULT_LAW})")
    common.add_run_options(parser)
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write to")
    common.add_common(parser)
    parser.set_defaults(run=run, render=render)


def _choose(runs: dict[str, Run], names: str) -> dict[str, Run]:
    from scaling_laws.common import UsageError, unknown_name

    chosen = common.names_in(names)
    for name in chosen:
        if name not in runs:
            raise UsageError(unknown_name("run", name, runs), value=name)
    return {name: runs[name] for name in chosen}


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Do all of it; the files are written at the end."""
    from scaling_laws.common import UsageError, check_folder, check_writable, make_folder
    from scaling_laws.models import get_schedule_law

    out = check_folder(arguments.out)
    if out.is_dir():
        for name in FILES.values():
            check_writable(out / name)
    law = get_schedule_law(arguments.law)
    runs = common.read_runs(arguments)
    fit_runs = _choose(runs, arguments.fit)
    others = {name: other for name, other in runs.items() if name not in fit_runs}
    held_out = others if arguments.test is None else _choose(runs, arguments.test)
    both = sorted(set(fit_runs) & set(held_out))
    if both:
        raise UsageError(f"run {both[0]!r} is in both --fit and --test; give it once")
    if not fit_runs:
        raise UsageError(f"--fit {arguments.fit!r} names no run; choose from {', '.join(runs)}")
    if not held_out:
        raise UsageError("no run is left to predict; omit at least one from --fit")

    from scaling_laws.decisions import optimize as search
    from scaling_laws.inference import evaluate as measure
    from scaling_laws.inference import fit, predict
    from scaling_laws.interface.report.plots import plot_predictions, save_figure
    from scaling_laws.models import write_schedule

    fitted = fit(law, fit_runs, seed=arguments.seed, from_step=arguments.from_step)
    result = measure(fitted, held_out, from_step=arguments.from_step)
    longest = max(fit_runs.values(), key=lambda run: run.schedule.steps).schedule
    best = search(
        fitted,
        steps=longest.steps,
        peak=longest.peak_lr,
        warmup=longest.warmup,
        seed=arguments.seed,
    )
    start = longest.warmup if arguments.from_step == "warmup" else arguments.from_step
    from_step = max(start, longest.steps // 20)
    figure = plot_predictions(
        fitted,
        held_out,
        predict(fitted, best.schedule),
        title=f"{law.name} fitted to {len(fit_runs)} runs, {len(held_out)} held-out runs: "
        f"mean error {result.mean['mae']:.4f} nats, final {result.mean['abs_final_error']:.4f}",
        from_step=from_step,
    )
    make_folder(out)
    files = {
        "law": str(fitted.save(out / FILES["law"])),
        "schedule": str(write_schedule(out / FILES["schedule"], best.schedule)),
        "figure": str(save_figure(figure, out / FILES["figure"])),
    }
    return {
        "law": law.name,
        "params": dict(fitted.params),
        "fitted": sorted(fit_runs),
        "held_out": result.as_json(),
        "optimum": optimize.describe(best, files["schedule"]),
        "files": files,
        "summary": fitted.summary(),
    }


def render(result: dict[str, Any]) -> str:
    """The four parts, one after the other."""
    held_out = {"law": "", **result["held_out"]}
    return "\n".join(
        [
            "1. Fit to " + ", ".join(result["fitted"]),
            result["summary"],
            "",
            "2. Held-out runs",
            evaluate.render(held_out).lstrip("\n"),
            "",
            "3. A better schedule",
            optimize.render(result["optimum"]),
            "",
            "4. Files",
            *(f"  {kind:<9} {path}" for kind, path in result["files"].items()),
        ]
    )
