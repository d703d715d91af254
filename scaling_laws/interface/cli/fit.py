"""`scaling-laws fit`: fit a law to logged loss curves."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling_laws.common import UsageError
from scaling_laws.interface.cli import common
from scaling_laws.interface.cli.pools import POOL_FLAGS, add_pool_options, given_pool

if TYPE_CHECKING:
    from scaling_laws.data import Run
    from scaling_laws.inference import FittedLaw
    from scaling_laws.models import Law

__all__ = ["DEFAULT_LAW", "add_parser", "render", "run"]

DEFAULT_LAW = "norm_clock"
PLOTS = {name: f"{name}.png" for name in ("fit", "terms", "profiles", "draws")}
# options of fits to runs, by the argument of `scaling_laws.inference.fitting.fit` that they become
OF_RUNS = {
    "objective": "--objective",
    "prior": "--prior",
    "fix": "--fix",
    "tie": "--tie",
    "weights": "--weight",
    "draws": "--draws",
    "solver": "--solver",
}


def add_parser(verbs: common.Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "fit",
        help="fit a law to logged loss curves",
        description="Fit a law to runs; or a law of sizes and data (chinchilla, ...) to one CSV "
        "with a row a finished run, e.g. columns model_params, tokens, loss.",
    )
    common.add_run_arguments(parser)
    parser.add_argument("--law", default=DEFAULT_LAW, help=f"law (default {DEFAULT_LAW})")
    parser.add_argument("--out", required=True, metavar="LAW.json", help="law file to write")
    parser.add_argument(
        "--plots",
        metavar="DIR",
        help=f"folder to write pictures of the fit to: {', '.join(PLOTS.values())}",
    )
    parser.add_argument(
        "--starts",
        type=common.whole,
        default=None,
        help="starts of the solver (default 16; 64 for a table)",
    )
    options = parser.add_argument_group("how to fit a law of schedules")
    options.add_argument(
        "--objective",
        metavar="TEXT",
        help="cost of log residuals: huber:0.001 (default), least-squares or student-t:0.001,4",
    )
    options.add_argument(
        "--prior", choices=("weak", "none"), help="on the shape parameters (default weak)"
    )
    options.add_argument(
        "--fix",
        action="append",
        metavar="NAME=VALUE",
        help="a parameter that is given, in the unit of the logs; may be repeated",
    )
    options.add_argument(
        "--tie",
        action="append",
        metavar="NAME=OTHER",
        help="a shape parameter that equals another; may be repeated",
    )
    options.add_argument(
        "--weight",
        dest="weights",
        action="append",
        metavar="RUN=NUMBER",
        help="how much a run counts (default 1); may be repeated",
    )
    options.add_argument(
        "--draws", type=common.whole, help="refits to reweighted runs (default 100)"
    )
    options.add_argument(
        "--solver",
        metavar="NAME",
        help="solver of every solve: varpro (default), scipy (a slow cross-check) or a plug-in's",
    )
    where = parser.add_argument_group("where refits run; it does not change them")
    add_pool_options(where, "local, unless --workers or --scheduler is given")
    common.add_common(parser)
    parser.set_defaults(run=run, render=render)


def _pairs(flag: str, form: str, texts: list[str], *, number: bool) -> dict[str, Any]:
    """``NAME=VALUE`` of an option that may be repeated, by name."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.rpartition("="))
        if not (name and equals and value):
            raise UsageError(f"{flag} {text!r}: write {form}")
        if name in found:
            raise UsageError(f"{flag} {text!r}: {name} is given twice; keep one")
        if number:
            try:
                found[name] = float(value)
            except ValueError:
                raise UsageError(f"{flag} {text!r}: {value!r} is no number; write {form}") from None
        else:
            found[name] = value
    return found


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options of fits to runs that were given, as `fit` takes them."""
    given = {name: getattr(arguments, name) for name in OF_RUNS}
    found = {name: value for name, value in given.items() if value is not None}
    forms = {
        "fix": ("NAME=VALUE, e.g. --fix alpha=0.5", True),
        "tie": ("NAME=OTHER, e.g. --tie beta=gamma", False),
        "weights": ("RUN=NUMBER, e.g. --weight cosine=2", True),
    }
    for name, (form, number) in forms.items():
        if name in found:
            found[name] = _pairs(OF_RUNS[name], form, found[name], number=number)
    if "objective" in found:
        from scaling_laws.inference import read_objective

        found["objective"] = read_objective(found["objective"])
    return found


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Fit, write the law file and pictures, and return the keys of the interface."""
    from scaling_laws.common import check_folder, check_writable
    from scaling_laws.models import Law, PointLaw, get_law

    check_writable(arguments.out)
    if arguments.plots is not None:
        folder = check_folder(arguments.plots)
        if folder.is_dir():
            for name in PLOTS.values():
                check_writable(folder / name)
    law = get_law(arguments.law)
    options: dict[str, Any] = {"seed": arguments.seed}
    if arguments.starts is not None:
        options["starts"] = arguments.starts
    figures: dict[str, Any] = {}
    if isinstance(law, PointLaw):
        for name, flag in {"plots": "--plots", **OF_RUNS, **POOL_FLAGS}.items():
            if getattr(arguments, name) is not None:
                raise UsageError(
                    f"{flag} is about fits to runs; {law.name} takes a table, so leave it out"
                )
        source, table = common.read_table(arguments, law)
        from scaling_laws.inference import fit_table

        fitted = fit_table(law, table, source=source, **options)
    else:
        assert isinstance(law, Law)
        options |= _options(arguments)
        runs = common.read_runs(arguments)
        from scaling_laws.inference import fit

        where = given_pool(arguments)
        fitted = fit(law, runs, from_step=arguments.from_step, backend=where, **options)
        if arguments.plots is not None:
            figures = _figures(fitted, law, runs, arguments.from_step, options)
    from scaling_laws.inference import report_of, save_law

    save_law(fitted, arguments.out)
    plots = _write(figures, arguments.plots) if figures else {}
    record = fitted.record
    assert record is not None  # a fit always has one
    report = report_of(fitted)
    return {
        "law": law.name,
        "params": dict(fitted.params),
        "objective": record.objective,
        "n_points": record.n_points,
        "starts": record.starts,
        "starts_at_best": record.starts_at_best,
        "seconds": record.seconds,
        "runs": {name: dict(values) for name, values in record.runs.items()},
        "warnings": list(record.warnings),
        "law_file": arguments.out,
        "plots": plots,
        "report": report.as_json(),
        "summary": report.text(),
    }


def _figures(
    fitted: FittedLaw, law: Law, runs: dict[str, Run], from_step: int | str, options: dict[str, Any]
) -> dict[str, Any]:
    """The pictures of a fit; those without a searched shape parameter, or draws, are left out."""
    from scaling_laws.inference import profile
    from scaling_laws.interface.report.fit_plots import (
        plot_draws,
        plot_fit,
        plot_profiles,
        plot_terms,
    )

    title = f"{law.name} fitted to {len(runs)} run" + ("" if len(runs) == 1 else "s")
    deepest = max(runs.values(), key=_decay)
    figures = {
        "fit": plot_fit(fitted, runs, from_step, title=title),
        "terms": plot_terms(fitted, deepest, from_step),
    }
    profiles = profile(law, runs, fitted=fitted, weights=options.get("weights"))
    if profiles:
        figures["profiles"] = plot_profiles(profiles, fitted)
        if fitted.draw_count > 1:
            figures["draws"] = plot_draws(fitted)
    return figures


def _decay(run: Run) -> float:
    """Share of its peak that the LR of a run loses."""
    lr = run.schedule.lr
    return 1.0 - float(lr[int(lr.argmax()) :].min()) / (run.schedule.peak_lr or 1.0)


def _write(figures: dict[str, Any], folder: str) -> dict[str, str]:
    from scaling_laws.common import make_folder
    from scaling_laws.interface.report.figures import save_figure

    make_folder(folder)
    return {
        name: str(save_figure(figure, Path(folder) / PLOTS[name]))
        for name, figure in figures.items()
    }


def render(result: dict[str, Any]) -> str:
    """The fit as text."""
    files = [result["law_file"], *result["plots"].values()]
    return "\n".join([result["summary"], "", *(f"wrote {path}" for path in files)])
