"""`scaling-laws fit`: fit a law to logged loss curves."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling_laws.common import UsageError, to_float
from scaling_laws.interface.cli import common
from scaling_laws.interface.cli.pools import POOL_FLAGS, add_pool_options, given_pool

if TYPE_CHECKING:
    from scaling_laws.data import Run
    from scaling_laws.inference import CurveFit, PointFit
    from scaling_laws.models import Law

__all__ = ["DEFAULT_LAW", "add_parser", "render", "run"]

DEFAULT_LAW = "norm_clock"
PLOTS = {name: f"{name}.png" for name in ("fit", "terms", "profiles", "draws")}
# command-line option per argument of `scaling_laws.fit` that only laws of schedules have
CURVE_OPTIONS = {
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
        description="Fit a law of schedules to runs, or a tabular law (chinchilla, ...) to one CSV "
        "with one row per finished run, e.g. columns model_params, tokens, loss.",
    )
    common.add_run_arguments(parser)
    parser.add_argument(
        "--law",
        default=DEFAULT_LAW,
        help=f"law to fit (default {DEFAULT_LAW}; all: scaling-laws laws)",
    )
    parser.add_argument("--out", required=True, metavar="LAW.json", help="law file to write")
    parser.add_argument(
        "--plots",
        metavar="DIR",
        help=f"folder for figures of the fit: {', '.join(PLOTS.values())}",
    )
    parser.add_argument(
        "--starts",
        type=common.whole,
        default=None,
        help="number of solver starts (default 16; 64 for a table)",
    )
    options = parser.add_argument_group("options for laws of schedules")
    options.add_argument(
        "--objective",
        metavar="TEXT",
        help="loss function of the log residuals: huber:0.001 (default), least-squares or "
        "student-t:0.001,4",
    )
    options.add_argument(
        "--prior", choices=("weak", "none"), help="prior on the nonlinear parameters (default weak)"
    )
    options.add_argument(
        "--fix",
        action="append",
        metavar="NAME=VALUE",
        help="fix a parameter to VALUE, in the units of the logged learning rate; may be repeated",
    )
    options.add_argument(
        "--tie",
        action="append",
        metavar="NAME=OTHER",
        help="set a nonlinear parameter equal to another; may be repeated",
    )
    options.add_argument(
        "--weight",
        dest="weights",
        action="append",
        metavar="RUN=NUMBER",
        help="weight of a run in the objective (default 1); may be repeated",
    )
    options.add_argument(
        "--draws", type=common.whole, help="number of bootstrap refits (default 100)"
    )
    options.add_argument(
        "--solver",
        metavar="NAME",
        help="solver of every solve: varpro (default), scipy (a slow cross-check) or a plug-in's",
    )
    where = parser.add_argument_group("parallel execution (does not affect results)")
    add_pool_options(where, "local unless --workers or --scheduler is given")
    common.add_common(parser)
    parser.set_defaults(run=run, render=render)


def _pairs(flag: str, form: str, texts: list[str], *, number: bool) -> dict[str, Any]:
    """The values of a repeatable option ``NAME=VALUE``, by name."""
    values: dict[str, Any] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.rpartition("="))
        if not (name and equals and value):
            raise UsageError(f"{flag} {text!r}: the form is {form}")
        if name in values:
            raise UsageError(f"{flag} {text!r}: {name} is given twice; give it once")
        if number:
            try:
                values[name] = to_float(value)
            except ValueError:
                raise UsageError(
                    f"{flag} {text!r}: {value!r} is not a number; the form is {form}"
                ) from None
        else:
            values[name] = value
    return values


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options for laws of schedules that were given, as `fit` takes them."""
    values = {name: getattr(arguments, name) for name in CURVE_OPTIONS}
    options = {name: value for name, value in values.items() if value is not None}
    forms = {
        "fix": ("NAME=VALUE, e.g. --fix alpha=0.5", True),
        "tie": ("NAME=OTHER, e.g. --tie beta=gamma", False),
        "weights": ("RUN=NUMBER, e.g. --weight cosine=2", True),
    }
    for name, (form, number) in forms.items():
        if name in options:
            options[name] = _pairs(CURVE_OPTIONS[name], form, options[name], number=number)
    if "objective" in options:
        from scaling_laws.inference import read_objective

        options["objective"] = read_objective(options["objective"])
    return options


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Fit, write the law file and figures, and return the keys of the interface."""
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
    from scaling_laws.inference import fit

    fitted: CurveFit | PointFit
    if isinstance(law, PointLaw):
        for name, flag in {"plots": "--plots", **CURVE_OPTIONS, **POOL_FLAGS}.items():
            if getattr(arguments, name) is not None:
                raise UsageError(
                    f"{flag} applies to laws of schedules, but {law.name} takes a table; omit it"
                )
        source, table = common.read_table(arguments, law)
        fitted = fit(law, table, source=source, **options)
    else:
        assert isinstance(law, Law)
        options |= _options(arguments)
        runs = common.read_runs(arguments)
        pool = given_pool(arguments)
        curves = fit(law, runs, from_step=arguments.from_step, backend=pool, **options)
        if arguments.plots is not None:
            figures = _figures(curves, law, runs, arguments.from_step, options)
        fitted = curves
    fitted.save(arguments.out)
    plots = _write(figures, arguments.plots) if figures else {}
    record = fitted.record
    assert record is not None  # a fit always has one
    report = fitted.report()
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
    fitted: CurveFit, law: Law, runs: dict[str, Run], from_step: int | str, options: dict[str, Any]
) -> dict[str, Any]:
    """The figures of a fit, as far as it has nonlinear parameters and draws."""
    from scaling_laws.inference import profile
    from scaling_laws.interface.report.fit_plots import (
        named_runs,
        plot_draws,
        plot_fit,
        plot_profiles,
        plot_terms,
    )

    title = f"{law.name} fitted to {named_runs(list(runs.values()))}"
    deepest = max(runs.values(), key=_decay_depth)
    figures = {
        "fit": plot_fit(fitted, runs, from_step, title=title),
        "terms": plot_terms(fitted, deepest, from_step),
    }
    profiles = profile(fitted, runs, weights=options.get("weights"))
    if profiles:
        figures["profiles"] = plot_profiles(profiles, fitted)
        if fitted.draw_count > 1:
            figures["draws"] = plot_draws(fitted)
    return figures


def _decay_depth(run: Run) -> float:
    """How far the LR of a run falls, as a fraction of its peak."""
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
