"""`scaling-laws import`: convert logs of trainers and trackers to a set of loss curves."""

from __future__ import annotations

import argparse
import textwrap
from typing import Any

from scaling_laws.interface.cli import common
from scaling_laws.interface.cli.log_options import (
    add_log_options,
    read_option_tables,
    read_options,
)

__all__ = ["add_parser", "render", "run"]

WIDTH = 80
ABOUT = ("title", "source", "license", "optimizer")


def add_parser(verbs: common.Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "import",
        help="read training logs into a set of loss curves",
        description="Read logs of trainers and trackers and write them as runs of a set: one CSV "
        "or Parquet file per run, and dataset.toml. Restarts, repeated steps and NaN are resolved "
        "and recorded; the schedule is recognised from the logged LR and checked to its printed "
        "digits. scaling-laws inspect shows what a log contains.",
    )
    parser.add_argument("logs", nargs="+", metavar="LOG", help="log file, or folder of a tracker")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the set")
    parser.add_argument("--format", metavar="NAME", help="format of the log (default: detected)")
    parser.add_argument("--name", help="name of the run")
    parser.add_argument(
        "--run",
        dest="only",
        action="append",
        default=[],
        metavar="NAME",
        help="import only this run; may be repeated",
    )
    parser.add_argument(
        "--join", action="store_true", help="the logs are parts of one run, in this order"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace runs of the same name")
    parser.add_argument(
        "--parquet",
        action="store_true",
        help="write Parquet in place of CSV (needs pyarrow, also for reading)",
    )
    for name in ABOUT:
        parser.add_argument(f"--{name}", metavar="TEXT", help=f"{name} of the set")
    add_log_options(parser)
    common.add_common(parser)
    parser.set_defaults(run=run, render=render)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Import and return the report."""
    from scaling_laws.data import import_logs

    about = {name: getattr(arguments, name) for name in ABOUT}
    result = import_logs(
        arguments.logs,
        arguments.out,
        options=read_options(arguments),
        options_by_log=read_option_tables(arguments),
        runs=arguments.only,
        name=arguments.name,
        join=arguments.join,
        about={name: text for name, text in about.items() if text is not None},
        parquet=arguments.parquet,
        overwrite=arguments.overwrite,
    )
    return {
        "out": arguments.out,
        "files": [str(path) for path in result.files],
        "runs": {report.name: report.as_json() for report in result.reports},
    }


def render(result: dict[str, Any]) -> str:
    """One paragraph per run, and the next command."""
    lines: list[str] = []
    for name, report in result["runs"].items():
        lines.append(
            f"{name}: {report['reader']}, {report['points']} losses at steps "
            f"{report['first_step']} to {report['last_step']}, from {report['rows']} rows"
        )
        keys = ", ".join(f"{role} {key}" for role, key in report["keys"].items())
        lines += wrapped("keys", keys)
        lines += wrapped("schedule", report["schedule"])
        lines += wrapped("", f"({report['schedule_from']})")
        if report["window"] > 1:
            lines += wrapped("window", f"each loss is the mean of {report['window']} updates")
        if report["facts"]:
            facts = ", ".join(f"{key} {value:.12g}" for key, value in report["facts"].items())
            lines += wrapped("facts", facts)
        for finding in report["findings"]:
            lines += wrapped("changed" if finding["changed"] else "found", finding["words"])
        lines.append("")
    lines.append(f"wrote {', '.join(result['files'])}")
    lines.append(f"next: scaling-laws fit {result['out']} --out law.json")
    return "\n".join(lines)


def wrapped(label: str, text: str) -> list[str]:
    """Text in a column next to its label."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=f"  {label:<9} ",
        subsequent_indent=" " * 12,
        break_long_words=False,
        break_on_hyphens=False,
    )
