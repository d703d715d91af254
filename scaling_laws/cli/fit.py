"""`scaling-laws fit`: fit a law to logged loss curves."""

from __future__ import annotations

import argparse
from typing import Any

from scaling_laws.cli import common

__all__ = ["DEFAULT_LAW", "add_parser", "render", "run"]

DEFAULT_LAW = "multi_power"


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
        "--starts",
        type=common.whole,
        default=None,
        help="starts of the solver (default 16; 64 for a table)",
    )
    common.add_common(parser)
    parser.set_defaults(run=run, render=render)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Fit, write the law file, and return the keys of the interface."""
    from scaling_laws.files import check_writable
    from scaling_laws.laws import Law, PointLaw, get_law

    check_writable(arguments.out)
    law = get_law(arguments.law)
    options: dict[str, Any] = {"seed": arguments.seed, "report": common.progress()}
    if arguments.starts is not None:
        options["starts"] = arguments.starts
    if isinstance(law, PointLaw):
        source, table = common.read_table(arguments, law)
        from scaling_laws.fitting import fit_table

        fitted = fit_table(law, table, source=source, **options)
    else:
        assert isinstance(law, Law)
        runs = common.read_runs(arguments)
        from scaling_laws.fitting import fit

        fitted = fit(law, runs, from_step=arguments.from_step, **options)
    from scaling_laws.fitted import save_law

    save_law(fitted, arguments.out)
    record = fitted.record
    assert record is not None  # a fit always has one
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
        "summary": fitted.summary(),
    }


def render(result: dict[str, Any]) -> str:
    """The fit as text."""
    return f"{result['summary']}\n\nwrote {result['law_file']}"
