"""`scaling-laws inspect`: what a log contains, its anomalies, and the command to import it."""

from __future__ import annotations

import argparse
from typing import Any

from scaling_laws.common import DataError
from scaling_laws.interface.cli import common
from scaling_laws.interface.cli.import_ import wrapped
from scaling_laws.interface.cli.log_options import (
    add_log_options,
    read_option_tables,
    read_options,
)
from scaling_laws.interface.report.text_table import text_table

__all__ = ["add_parser", "render", "run"]

KEYS = 30  # keys listed per run; --json lists all


def add_parser(verbs: common.Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "inspect",
        help="show what a training log contains and how to import it",
        description="Show the format of a log, which keys are step, LR and loss, and its anomalies "
        "(restarts, gaps, NaN, spikes, rounding), and print the command that imports it. Writes "
        "no files. Options of import can be given to see their effect.",
    )
    parser.add_argument("logs", nargs="+", metavar="LOG", help="log file, or folder of a tracker")
    parser.add_argument("--format", metavar="NAME", help="format of the log (default: detected)")
    parser.add_argument(
        "--out", default="runs", metavar="DIR", help="folder in the printed command (default runs)"
    )
    add_log_options(parser)
    common.add_common(parser)
    parser.set_defaults(run=run, render=render, exit_code=exit_code)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Inspect each log; of several, those that cannot be read are listed with the others."""
    from scaling_laws.data import inspect_log, options_of_log

    options = read_options(arguments)
    tables = read_option_tables(arguments)
    runs: list[dict[str, Any]] = []
    refused: list[dict[str, str]] = []
    for log in arguments.logs:
        try:
            own = options_of_log(log, options, tables)
            inspected = inspect_log(log, out=arguments.out, options=own)
        except DataError as error:
            if len(arguments.logs) == 1:
                raise
            # one bad file of many must not hide the others
            refused.append({"source": str(log), "problem": str(error)})
        else:
            runs += [run.as_json() for run in inspected]
    return {"runs": runs, "refused": refused}


def exit_code(result: dict[str, Any]) -> int:
    """2 if a log could not be read."""
    return 2 if result["refused"] else 0


def render(result: dict[str, Any]) -> str:
    """One paragraph per run, then the logs that could not be read."""
    paragraphs = ["\n".join(_describe(run)) for run in result["runs"]]
    if result["refused"]:
        lines = [f"cannot be read ({len(result['refused'])}):"]
        for log in result["refused"]:
            lines += wrapped("problem", log["problem"])
        paragraphs.append("\n".join(lines))
    return "\n\n".join(paragraphs)


def _describe(run: dict[str, Any]) -> list[str]:
    lines = [f"{run['source']}: {run['reader']}, run {run['name']}, {run['rows']} rows"]
    lines += wrapped("format", run["meaning"])
    shown = run["keys"][:KEYS]
    rows = []
    for key in shown:
        ends = ("-" if key[end] is None else format(key[end], ".5g") for end in ("first", "last"))
        rows.append((key["name"], key["role"], str(key["rows"]), *ends))
    lines += text_table(("key", "role", "rows", "first", "last"), rows, left=("key", "role"))
    if len(run["keys"]) > KEYS:
        lines.append(f"  and {len(run['keys']) - KEYS} more keys (--json lists them)")
    for role in dict.fromkeys(key["role"] for key in run["keys"]):
        if role.endswith("?"):
            lines += wrapped("choose", _choice(run["keys"], role.removesuffix("?")))
    if run["schedule"]:
        lines += wrapped("schedule", run["schedule"])
        lines += wrapped("", f"({run['schedule_from']})")
    for finding in run["findings"]:
        lines += wrapped("resolved" if finding["changed"] else "anomaly", finding["words"])
    if run["problem"]:
        lines += wrapped("problem", run["problem"])
    lines.append("")
    if run["ready"]:
        lines.append(f"import it ({run['points']} losses):")
    else:
        lines.append("import it after the problem above is solved:")
    # one line, however long: it must run as it is printed
    lines.append(f"  {run['command']}")
    return lines


def _choice(keys: list[dict[str, Any]], role: str) -> str:
    """Which keys could have a role, and which one the command uses."""
    names = [key["name"] for mark in ("", "?") for key in keys if key["role"] == role + mark]
    word = {"lr": "learning rate"}.get(role, role)
    return (
        f"several keys could be the {word}: {', '.join(names)}; the command uses {names[0]}, "
        f"--{role}-key chooses another"
    )
